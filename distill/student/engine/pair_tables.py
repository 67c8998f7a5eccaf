"""The quadratic form of coupled pairs as the index tables that kernels read, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.angular_coupling import real_coupling
from distill.student.engine.coupled_pairs import INDEPENDENT, QuadraticForm, Value
from distill.student.engine.kernels.kernel_arguments import Indices, Layout, PairForm

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from distill.student.basis.coupling import Coupling
    from distill.student.engine.products import ProductPlan

Array = NDArray[np.float64]

# Nanoseconds for eight atoms. Guessed from the instructions of each, then scaled to the times of
# `benchmarks/products.py` by least squares, one factor for nodes and one for pairs.
_NODE, _LEAF, _GROUP = 8.0, 5.0, 8.0
_COMPONENT, _ENTRY, _ROW, _TERM, _PRODUCT = 3.2, 3.2, 10.5, 5.6, 14.0


class PairTables(NamedTuple):
    """A `PairForm`, and how the coefficients of its entries come from those of the products.

    Attributes
    ----------
    form
        The tables of the kernels.
    entries
        Sparse matrix (entries, products).
    """

    form: PairForm
    entries: csr_array


def no_pairs(n_nodes: int) -> PairForm:
    """The tables of a basis whose products are all nodes."""
    none = np.zeros(0, np.int32)
    zero = np.zeros(1, np.int32)
    indices = dict.fromkeys(PairForm._fields, none)
    indices |= dict.fromkeys(
        ("pattern_product", "pattern_target", "target_term", "product_term", "row_first"), zero
    )
    numbers = dict.fromkeys(("term_number", "back_number"), np.zeros(0))
    return PairForm(**{**indices, **numbers, "n_values": n_nodes})  # type: ignore[arg-type]


def pair_tables(coupling: Coupling, quadratic: QuadraticForm, n_nodes: int) -> PairTables | None:
    """Index tables; None where the one-particle functions of a shell do not follow each other.

    Parameters
    ----------
    coupling
        The basis' coupling.
    quadratic
        Its quadratic form.
    n_nodes
        Number of values before those of the pairs.
    """
    first_of = _shells(coupling)
    if first_of is None:
        return None
    place: dict[Value, int] = {}
    at = n_nodes
    for value in quadratic.values:
        place[value] = at
        at += 2 * value[2] + 1
    rows, entries = _rows(quadratic, first_of | place)
    blocks = _blocks(quadratic.values, coupling, first_of, place)
    tables: dict[str, Any] = blocks | rows
    form = PairForm(n_values=at, **tables)
    return PairTables(form, entries)


def node_cost(plan: ProductPlan | Layout) -> float:
    """Time of the products as nodes and leaves."""
    n_nodes, n_leaves = len(plan.node_parent), len(plan.leaf_factor)
    return _NODE * n_nodes + _LEAF * n_leaves + _GROUP * len(plan.group_parent)


def pair_cost(form: PairForm) -> float:
    """Time of the products as pairs."""
    counts = np.diff(form.row_first)
    pattern = form.block_pattern
    products = np.diff(form.pattern_product)[pattern].sum()
    terms = np.diff(form.product_term[form.pattern_product])[pattern].sum()
    return float(
        _COMPONENT * counts @ form.row_size
        + _ENTRY * counts.sum()
        + _ROW * len(counts)
        + _TERM * terms
        + _PRODUCT * products
    )


def _shells(coupling: Coupling) -> dict[Value, int] | None:
    """First one-particle function of each shell."""
    functions: dict[int, list[tuple[int, int]]] = defaultdict(list)
    pairs = zip(coupling.radial_index.tolist(), coupling.angular_index.tolist(), strict=True)
    for index, (radial, angular) in enumerate(pairs):
        functions[radial].append((angular, index))
    found = {}
    for radial, members in functions.items():
        angular, first = members[0]
        ell = int(np.sqrt(angular))
        if members != [(ell**2 + k, first + k) for k in range(2 * ell + 1)]:
            return None
        found[radial, -1, ell] = first
    return found


def _rows(quadratic: QuadraticForm, place: dict[Value, int]) -> tuple[dict[str, Any], csr_array]:
    """Rows, those of one size and length together, and the coefficients of their entries."""
    from scipy.sparse import csr_array

    entries: dict[Value, list[tuple[int, int, float]]] = defaultdict(list)
    for term, (one, other) in enumerate(quadratic.terms):
        if one == other:
            entries[one].append((place[one], term, 2.0))
        else:
            entries[one].append((place[other], term, 1.0))
            entries[other].append((place[one], term, 1.0))
    values = sorted(entries, key=lambda each: (each[2], len(entries[each]), place[each]))
    listed = [entry for value in values for entry in sorted(entries[value])]
    rows = {
        "row_value": _indices([place[value] for value in values]),
        "row_size": _indices([2 * value[2] + 1 for value in values]),
        "row_first": _indices(np.cumsum([0, *(len(entries[value]) for value in values)])),
        "entry_value": _indices([at for at, _, _ in listed]),
    }
    chosen = csr_array(
        (
            [factor for _, _, factor in listed],
            [term for _, term, _ in listed],
            np.arange(len(listed) + 1),
        ),
        shape=(len(listed), len(quadratic.terms)),
    )
    return rows, chosen @ quadratic.coefficients


def _blocks(
    values: list[Value], coupling: Coupling, first_of: dict[Value, int], place: dict[Value, int]
) -> dict[str, Any]:
    """Blocks of two shells, those of one pattern together."""
    ell_of = {radial: ell for radial, _, ell in first_of}
    coupled: dict[tuple[int, int], list[int]] = defaultdict(list)
    for first, second, total in values:
        coupled[first, second].append(total)
    blocks = sorted(
        ((ell_of[a], ell_of[b], a == b, tuple(sorted(totals))), a, b)
        for (a, b), totals in coupled.items()
    )
    patterns = list(dict.fromkeys(pattern for pattern, _, _ in blocks))
    number = {pattern: k for k, pattern in enumerate(patterns)}
    targets: list[int] = []
    starts = []
    for (_, _, _, totals), a, b in blocks:
        starts.append(len(targets))
        for total in totals:
            first = place[a, b, total]
            targets.extend(range(first, first + 2 * total + 1))
    return {
        "block_first": _indices([first_of[a, -1, ell_of[a]] for _, a, _ in blocks]),
        "block_second": _indices([first_of[b, -1, ell_of[b]] for _, _, b in blocks]),
        "block_pattern": _indices([number[pattern] for pattern, _, _ in blocks]),
        "block_target": _indices(starts),
        "target_value": _indices(targets),
    } | _patterns(patterns)


def _patterns(
    patterns: list[tuple[int, int, bool, tuple[int, ...]]],
) -> dict[str, Any]:
    """How the components of each pattern are made of products, and the same turned."""
    product_ends, target_ends = [0], [0]
    first, second = [], []
    target_term, product_term = [0], [0]
    term_product, back_target = [], []
    term_number, back_number = [], []
    for l1, l2, same, totals in patterns:
        matrix = np.concatenate([real_coupling(l1, l2, total) for total in totals])
        if same:
            # a b and b a are one product.
            diagonal = np.einsum("tii->ti", matrix).copy()
            matrix = np.triu(matrix + matrix.transpose(0, 2, 1))
            np.einsum("tii->ti", matrix)[:] = diagonal
        matrix[np.abs(matrix) < INDEPENDENT] = 0.0
        used = np.argwhere(matrix.any(axis=0))
        table = matrix[:, used[:, 0], used[:, 1]]
        first += used[:, 0].tolist()
        second += used[:, 1].tolist()
        for row in table:
            term_product += np.flatnonzero(row).tolist()
            term_number += row[row != 0].tolist()
            target_term.append(len(term_product))
        for column in table.T:
            back_target += np.flatnonzero(column).tolist()
            back_number += column[column != 0].tolist()
            product_term.append(len(back_target))
        product_ends.append(len(first))
        target_ends.append(len(target_term) - 1)
    return {
        "pattern_product": _indices(product_ends),
        "pattern_target": _indices(target_ends),
        "product_first": _indices(first),
        "product_second": _indices(second),
        "target_term": _indices(target_term),
        "term_product": _indices(term_product),
        "term_number": np.array(term_number, float),
        "product_term": _indices(product_term),
        "back_target": _indices(back_target),
        "back_number": np.array(back_number, float),
    }


def _indices(values: object) -> Indices:
    return np.array(values, dtype=np.int32)
