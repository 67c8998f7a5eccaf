"""The arrays that the kernels read: index tables of a basis, and coefficients folded into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.coupled_pairs import quadratic_form
from distill.student.engine.kernels.kernel_arguments import LANES, Layout, Weights
from distill.student.engine.kernels.zbl import core_parameters
from distill.student.engine.pair_tables import no_pairs, node_cost, pair_cost, pair_tables
from distill.student.engine.products import plan_products

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from distill.student.basis.basis import Basis
    from distill.student.basis.coupling import Coupling

# Largest share of the time as nodes at which pairs are taken; the estimate is as good as this.
WORTHWHILE = 0.9

Array = NDArray[np.float64]
Indices = NDArray[np.int32]
Made = TypeVar("Made")


def once_per_basis(make: Callable[[Basis], Made]) -> Callable[[Basis], Made]:
    """Keep what `make` derives from a basis for as long as the basis lives."""
    kept: WeakKeyDictionary[Basis, Made] = WeakKeyDictionary()

    @wraps(make)
    def once(basis: Basis) -> Made:
        found = kept.get(basis)
        if found is None:
            found = kept[basis] = make(basis)
        return found

    return once


@once_per_basis
def layout_of(basis: Basis) -> Layout:
    """Index tables of a basis."""
    coupling = basis.coupling
    n_species, pairs = basis.n_species, basis.n_species**2
    n_one = len(coupling.radial_index)
    plan = plan_products(coupling.products, n_one)
    blocks, counts = [], []
    shell_first = [0]
    harmonics: list[int] = []
    rows: list[int] = []
    starts: list[int] = []
    members: list[int] = []
    for centre in range(n_species):
        for neighbour in range(n_species):
            columns = basis.splines[centre, neighbour]
            row_of, kept = _distinct_rows(columns, coupling.radial_index)
            padded = LANES * math.ceil(max(len(kept), 1) / LANES)
            block = np.zeros((columns.shape[0], padded))
            block[:, : len(kept)] = columns[:, kept]
            blocks.append(block.ravel())
            counts.append(padded)
            for harmonic, row, indices in _shells(coupling, row_of):
                harmonics.append(harmonic)
                rows.append(row)
                starts.append(len(members))
                members.extend(indices)
            shell_first.append(len(harmonics))
    starts.append(len(members))
    lengths = [len(block) for block in blocks]
    return Layout(
        n_species=n_species,
        n_one_particle=n_one,
        n_nodes=n_one + len(plan.node_parent),
        largest_l=basis.largest_l,
        n_rows=max(counts),
        cutoff=basis.rcut.reshape(pairs).copy(),
        transform=basis.transform.reshape(pairs, 7).copy(),
        envelope=basis.envelope.reshape(pairs, 5).copy(),
        grid=np.array(basis.grid, float),
        splines=np.concatenate(blocks),
        spline_first=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        row_count=np.array(counts, np.int32),
        shell_first=np.array(shell_first, np.int32),
        shell_harmonic=np.array(harmonics, np.int32),
        shell_row=np.array(rows, np.int32),
        shell_start=np.array(starts, np.int32),
        one_particle=np.array(members, np.int32),
        harmonic_norm=harmonic_norms(basis.largest_l),
        pair_transform=basis.pair_transform.reshape(pairs, 7).copy(),
        pair_envelope=basis.pair_envelope.reshape(pairs, 3).copy(),
        pair_grid=np.array(basis.pair_grid, float),
        node_parent=plan.node_parent,
        node_factor=plan.node_factor,
        group_parent=plan.group_parent,
        group_first=plan.group_first,
        leaf_factor=plan.leaf_factor,
        node_column=plan.node_column,
        leaf_column=plan.leaf_column,
        pairs=no_pairs(n_one + len(plan.node_parent)),
    )


class Evaluator(NamedTuple):
    """The tables that evaluate a basis.

    Attributes
    ----------
    layout
        Index tables.
    entries
        Sparse matrix from coefficients of products to `Weights.entry`; None without pairs.
    """

    layout: Layout
    entries: csr_array | None


def all_as_nodes(basis: Basis) -> Evaluator:
    """Tables for evaluating a model with all its products as nodes and leaves."""
    return Evaluator(layout_of(basis), None)


@once_per_basis
def evaluator_of(basis: Basis) -> Evaluator:
    """Tables for evaluating a model: products of orders two to four as nodes or as coupled pairs.

    The form is chosen by its estimated time, so it is the same for a basis on any machine.
    """
    nodes, pairs = all_as_nodes(basis), pair_evaluator_of(basis)
    if pairs is None:
        return nodes
    cost = pair_cost(pairs.layout.pairs) + node_cost(pairs.layout)
    return pairs if cost < WORTHWHILE * node_cost(nodes.layout) else nodes


def pair_evaluator_of(basis: Basis) -> Evaluator | None:
    """Tables with products of orders two to four by coupled pairs.

    None for a basis without an order of three or more, and where `quadratic_form` gives none.
    """
    coupling, layout = basis.coupling, layout_of(basis)
    quadratic = quadratic_form(coupling) if len(coupling.products) > 2 else None
    if quadratic is None:
        return None
    ends = np.cumsum([len(block) for block in coupling.products])[:-1]
    left = np.split(quadratic.left, ends)
    kept = [block[mask] for block, mask in zip(coupling.products, left, strict=True)]
    plan = plan_products(kept, layout.n_one_particle)
    n_nodes = layout.n_one_particle + len(plan.node_parent)
    tables = pair_tables(coupling, quadratic, n_nodes)
    if tables is None:
        return None
    # Columns of the products that are left, and of none.
    numbered = np.append(np.flatnonzero(quadratic.left), -1).astype(np.int32)
    plan = plan._replace(
        node_column=numbered[plan.node_column], leaf_column=numbered[plan.leaf_column]
    )
    return Evaluator(
        layout._replace(n_nodes=n_nodes, pairs=tables.form, **plan._asdict()), tables.entries
    )


def fold_weights(
    basis: Basis, coefficients: Array, e0: Mapping[str, float], evaluator: Evaluator
) -> Weights:
    """Fold a coefficient vector into the tables of a basis.

    Parameters
    ----------
    basis
        The basis.
    coefficients
        Shape (n_functions,), eV.
    e0
        One-body energy of each element, eV.
    evaluator
        Whose tables: `evaluator_of(basis)` or `all_as_nodes(basis)`.
    """
    layout, n_species = evaluator.layout, basis.n_species
    split = n_species * basis.n_many_body
    pair = coefficients[split:].reshape(n_species, basis.n_pair)
    of_products = product_coefficients(basis, coefficients[:split])
    products = np.pad(of_products, ((0, 0), (0, 1)))
    entry = np.zeros((n_species, 0))
    if evaluator.entries is not None:
        entry = np.ascontiguousarray((evaluator.entries @ of_products.T).T)
    has_core = basis.spec is not None and basis.spec.zbl
    pair_splines = np.einsum("znkf,zf->znk", basis.pair_splines, pair)
    return Weights(
        one_body=np.array([float(e0.get(symbol, 0.0)) for symbol in basis.elements]),
        node=np.ascontiguousarray(products[:, layout.node_column]),
        leaf=np.ascontiguousarray(products[:, layout.leaf_column]),
        pair=np.ascontiguousarray(pair_splines.reshape(n_species**2, -1)),
        core=core_parameters(basis.elements) if has_core else np.zeros((n_species**2, 3)),
        entry=entry,
    )


def product_coefficients(basis: Basis, coefficients: Array) -> Array:
    """Coefficients of the products of one-particle functions, (species, products), eV.

    Parameters
    ----------
    basis
        The basis.
    coefficients
        Many-body part of a coefficient vector, (n_species * n_many_body,), eV.
    """
    coupling = basis.coupling
    n_products = sum(len(block) for block in coupling.products)
    return np.stack(
        [
            np.bincount(coupling.columns, coupling.values * mine[coupling.rows], n_products)
            for mine in coefficients.reshape(basis.n_species, basis.n_many_body)
        ]
    )


def harmonic_norms(largest_l: int) -> Array:
    """Norms of the orthonormal real spherical harmonics, by l² + l + m.

    sqrt((2 l + 1) / (4 pi) (l - |m|)! / (l + |m|)!), times sqrt(2) for m other than 0, without
    the Condon-Shortley phase: the convention of SpheriCart (Bigi et al., J. Chem. Phys. 159,
    064802 (2023)).
    """
    norms = []
    for ell in range(largest_l + 1):
        for m in range(-ell, ell + 1):
            ratio = math.factorial(ell - abs(m)) / math.factorial(ell + abs(m))
            norms.append(math.sqrt((2 * ell + 1) / (4 * math.pi) * ratio * (2 if m else 1)))
    return np.array(norms)


def _distinct_rows(columns: Array, used: Indices) -> tuple[dict[int, int], list[int]]:
    """Row of each used, nonzero radial function, and the function kept for each row."""
    row_of: dict[int, int] = {}
    seen: dict[bytes, int] = {}
    kept: list[int] = []
    for function in np.unique(used).tolist():
        column = columns[:, function]
        if not column.any():
            continue
        row = seen.setdefault(column.tobytes(), len(kept))
        if row == len(kept):
            kept.append(function)
        row_of[function] = row
    return row_of, kept


def _shells(coupling: Coupling, row_of: dict[int, int]) -> list[tuple[int, int, list[int]]]:
    """Runs of one-particle functions with one harmonic and consecutive rows."""
    entries = sorted(
        (int(harmonic), row_of[int(function)], index)
        for index, (function, harmonic) in enumerate(
            zip(coupling.radial_index, coupling.angular_index, strict=True)
        )
        if int(function) in row_of
    )
    shells: list[tuple[int, int, list[int]]] = []
    for harmonic, row, index in entries:
        if shells:
            last_harmonic, first_row, indices = shells[-1]
            if last_harmonic == harmonic and first_row + len(indices) == row:
                indices.append(index)
                continue
        shells.append((harmonic, row, [index]))
    return shells
