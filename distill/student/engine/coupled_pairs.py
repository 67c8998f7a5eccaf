"""Products of up to four one-particle functions, as products of two coupled values.

An invariant of four shells (a shell: all m of one n and l) is a sum over L and M of two pairs of
shells coupled to L: few thousand pair values and a quadratic form stand for tens of thousands of
products. One of three shells is a pair times the third, one of two a shell times the other. The
change is exact: the coefficients of the quadratic form are a linear function of the products'.
Coupling angular momenta by pairs: Varshalovich et al., Quantum Theory of Angular Momentum (1988),
chapter 10.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.angular_coupling import real_coupling

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from distill.student.basis.coupling import Coupling

Array = NDArray[np.float64]

# Two shells, numbered within an invariant, coupled to L; or one shell, with itself and its l.
Factor = tuple[int, int, int]
# The same with the radial functions of the shells.
Value = tuple[int, int, int]
Monomial = tuple[tuple[int, int], ...]

LARGEST_ORDER = 4
# Below this a channel is a combination of those before it, or vanishes.
INDEPENDENT = 1e-9
# Largest error of an invariant that is written by pairs, relative to its coefficients.
EXACT = 1e-12


class Channel(NamedTuple):
    """A product of two factors summed over M."""

    first: Factor
    second: Factor


class Split(NamedTuple):
    """One way to deal the shells of an invariant to two factors.

    Attributes
    ----------
    channels
        Independent products of two factors.
    solution
        Coefficients of the channels from those of the monomials, (channels, monomials).
    monomials
        Products of one-particle functions, as (shell, m).
    back
        Coefficients of the monomials from those of the channels, (monomials, channels).
    """

    channels: tuple[Channel, ...]
    solution: Array
    monomials: dict[Monomial, int]
    back: Array


class QuadraticForm(NamedTuple):
    """All products up to order four by pairs.

    Attributes
    ----------
    values
        Pairs of shells, by radial function, and the L they are coupled to.
    terms
        Two factors each of a product that is summed over M: shells or pairs.
    coefficients
        Of the terms, from those of the products; a sparse matrix (terms, products).
    left
        Products that are no part of it, because they are of order one or above four.
    """

    values: list[Value]
    terms: list[tuple[Value, Value]]
    coefficients: csr_array
    left: NDArray[np.bool_]


def quadratic_form(coupling: Coupling) -> QuadraticForm | None:
    """Write the products of a basis by pairs; None where its invariants are no sums of such terms.

    Of the ways to pair the shells of an invariant the one with fewest multiplications is taken;
    pairs that others use cost nothing more.
    """
    angular = coupling.angular_index
    ell = np.sqrt(angular).astype(int)
    radial, m = coupling.radial_index.tolist(), (angular - ell**2 - ell).tolist()
    bodies, left = _bodies(coupling)
    chosen, uses = _chosen(bodies, dict(zip(radial, ell.tolist(), strict=True)))
    terms: list[tuple[Value, Value]] = []
    # Of the change from products to terms, and back: term, product, number.
    forth: list[tuple[int, int, float]] = []
    back: list[tuple[int, int, float]] = []
    for shells, split in chosen.items():
        place = {shell: k for k, shell in enumerate(dict.fromkeys(shells))}
        # A coupling may list products whose coefficients are rounding errors: no monomials here.
        found = {
            column: row
            for column, factors in bodies[shells]
            if (row := split.monomials.get(_monomial(factors, radial, m, place))) is not None
        }
        if len(found) < len(split.monomials):
            return None
        first, distinct = len(terms), list(place)
        for k, channel in enumerate(split.channels):
            terms.append((_value(channel.first, distinct), _value(channel.second, distinct)))
            for column, row in found.items():
                forth.append((first + k, column, split.solution[k, row]))
                back.append((first + k, column, split.back[row, k]))
    coefficients = _sparse(forth, (len(terms), len(left)))
    if not _is_exact(coupling, coefficients, _sparse(back, coefficients.shape), left):
        return None
    return QuadraticForm(sorted(uses, key=_order), terms, coefficients, left)


def _chosen(
    bodies: Mapping[tuple[int, ...], object], radial_l: dict[int, int]
) -> tuple[dict[tuple[int, ...], Split], dict[Value, int]]:
    """The way to pair each set of shells, and how often each pair is used.

    The second of two rounds knows the pairs that the first one used.
    """
    chosen: dict[tuple[int, ...], Split] = {}
    uses: dict[Value, int] = defaultdict(int)
    for _ in range(2):
        before, uses = uses, defaultdict(int)
        for shells in sorted(bodies, key=lambda each: (-len(each), each)):
            options = _splits(*_pattern(shells, radial_l))
            costs = [_cost(split, shells, radial_l, before, uses) for split in options]
            chosen[shells] = split = options[costs.index(min(costs))]
            for value in _pair_values(split, shells):
                uses[value] += 1
    return chosen, uses


def _sparse(entries: list[tuple[int, int, float]], shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import coo_array

    rows, columns, numbers = zip(*entries, strict=True) if entries else ((), (), ())
    return coo_array((np.array(numbers, float), (rows, columns)), shape=shape).tocsr()


def _is_exact(
    coupling: Coupling, coefficients: csr_array, back: csr_array, left: NDArray[np.bool_]
) -> bool:
    """Whether all invariants are what their terms say."""
    triples = zip(
        coupling.rows.tolist(), coupling.columns.tolist(), coupling.values.tolist(), strict=True
    )
    invariants = _sparse(list(triples), (int(coupling.rows.max(initial=0)) + 1, len(left)))
    lost = (invariants - (invariants @ coefficients.T) @ back)[:, ~left]
    return bool(abs(lost).max() <= EXACT * abs(invariants).max())


def _order(value: Value) -> tuple[int, int, int]:
    return value[2], value[0], value[1]


def _bodies(
    coupling: Coupling,
) -> tuple[dict[tuple[int, ...], list[tuple[int, list[int]]]], NDArray[np.bool_]]:
    """Products of each set of shells, by column, and which products are left out."""
    bodies: dict[tuple[int, ...], list[tuple[int, list[int]]]] = defaultdict(list)
    left = []
    column = 0
    for block in coupling.products:
        shells = np.sort(coupling.radial_index[block], axis=1).tolist()
        taken = 2 <= block.shape[1] <= LARGEST_ORDER
        left += [not taken] * len(block)
        if taken:
            for key, factors in zip(shells, block.tolist(), strict=True):
                bodies[tuple(key)].append((column, factors))
                column += 1
        else:
            column += len(block)
    return bodies, np.array(left, bool)


def _pattern(
    shells: Sequence[int], radial_l: dict[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which shells are the same, and the l of each that differs."""
    place = {shell: k for k, shell in enumerate(dict.fromkeys(shells))}
    return tuple(place[shell] for shell in shells), tuple(radial_l[shell] for shell in place)


def _monomial(
    factors: list[int], radial: list[int], m: list[int], place: dict[int, int]
) -> Monomial:
    return tuple(sorted((place[radial[factor]], m[factor]) for factor in factors))


def _value(factor: Factor, shells: Sequence[int]) -> Value:
    """The factor with radial functions; one shell has the second -1."""
    first, second, total = factor
    if second < 0:
        return shells[first], -1, total
    one, other = sorted((shells[first], shells[second]))
    return one, other, total


def _pair_values(split: Split, shells: Sequence[int]) -> Iterator[Value]:
    distinct = list(dict.fromkeys(shells))
    for channel in split.channels:
        for factor in channel:
            if factor[1] >= 0:
                yield _value(factor, distinct)


def _cost(
    split: Split,
    shells: Sequence[int],
    radial_l: dict[int, int],
    before: dict[Value, int],
    uses: dict[Value, int],
) -> float:
    """Multiplications, about; a pair's own are shared among those that use it."""
    cost = sum(2.0 * (2 * channel.first[2] + 1) + 2.0 for channel in split.channels)
    for value in set(_pair_values(split, shells)):
        if not uses.get(value):
            smaller = min(radial_l[value[0]], radial_l[value[1]])
            own = 4.0 * (2 * value[2] + 1) * (smaller + 1) + 4.0
            cost += own / max(1, before.get(value, 0))
    return cost


@cache
def _splits(pattern: tuple[int, ...], ells: tuple[int, ...]) -> tuple[Split, ...]:
    """The ways to pair shells of which `pattern` says which are the same."""
    dealt: set[tuple[tuple[int, ...], ...]]
    if len(pattern) == 2:
        dealt = {((pattern[0],), (pattern[1],))}
    elif len(pattern) == 3:
        dealt = {(_without(pattern, k), (pattern[k],)) for k in range(3)}
    else:
        dealt = {
            tuple(sorted(((pattern[0], pattern[k]), _without(pattern[1:], k - 1))))
            for k in range(1, 4)
        }
    found = [_split(first, second, ells) for first, second in sorted(dealt)]
    most = max(len(split.channels) for split in found)
    return tuple(split for split in found if len(split.channels) == most)


def _without(pattern: tuple[int, ...], k: int) -> tuple[int, ...]:
    return pattern[:k] + pattern[k + 1 :]


def _split(first: tuple[int, ...], second: tuple[int, ...], ells: tuple[int, ...]) -> Split:
    monomials: dict[Monomial, int] = {}
    channels, vectors = [], []
    for one, other in zip(_factors(first, ells), _factors(second, ells), strict=True):
        if one is None or other is None:
            continue
        vector: dict[int, float] = defaultdict(float)
        for left, right in zip(_components(one, ells), _components(other, ells), strict=True):
            for a, x in left.items():
                for b, y in right.items():
                    key = tuple(sorted(a + b))
                    vector[monomials.setdefault(key, len(monomials))] += x * y
        channels.append(Channel(one, other))
        vectors.append(vector)
    back = np.zeros((len(monomials), len(channels)))
    for k, vector in enumerate(vectors):
        for row, number in vector.items():
            back[row, k] = number
    kept = _independent(back)
    back = back[:, kept]
    present = np.flatnonzero(np.abs(back).max(axis=1, initial=0.0) > INDEPENDENT)
    listed = list(monomials)
    monomials = {listed[row]: k for k, row in enumerate(present.tolist())}
    back = back[present]
    solution: Array = np.linalg.pinv(back).astype(np.float64)
    return Split(tuple(channels[k] for k in kept), solution, monomials, back)


def _factors(shells: tuple[int, ...], ells: tuple[int, ...]) -> list[Factor | None]:
    """The factor of each L up to the largest there can be; None where there is none."""
    largest = 2 * max(ells)
    found: list[Factor | None] = [None] * (largest + 1)
    if len(shells) == 1:
        found[ells[shells[0]]] = (shells[0], -1, ells[shells[0]])
        return found
    first, second = shells
    for total in range(abs(ells[first] - ells[second]), ells[first] + ells[second] + 1):
        # A shell coupled with itself to an odd L vanishes.
        if first != second or total % 2 == 0:
            found[total] = (first, second, total)
    return found


def _components(factor: Factor, ells: tuple[int, ...]) -> list[dict[Monomial, float]]:
    """Each M of a factor, as a polynomial."""
    first, second, total = factor
    if second < 0:
        return [{((first, m),): 1.0} for m in range(-total, total + 1)]
    coupled = real_coupling(ells[first], ells[second], total)
    return [
        {
            ((first, int(a) - ells[first]), (second, int(b) - ells[second])): float(each[a, b])
            for a, b in np.argwhere(np.abs(each) > INDEPENDENT)
        }
        for each in coupled
    ]


def _independent(columns: Array) -> list[int]:
    """Columns that are no combinations of those before them."""
    kept: list[int] = []
    basis: list[Array] = []
    for k in range(columns.shape[1]):
        rest = columns[:, k].copy()
        for _ in range(2):
            for vector in basis:
                rest -= (vector @ rest) * vector
        length = math.sqrt(rest @ rest)
        if length > 1e-6 * math.sqrt(columns[:, k] @ columns[:, k]):
            kept.append(k)
            basis.append(rest / length)
    return kept
