"""Structures that are the same to any model that sees distances: rotated, mirrored, other cells.

A model's energy is invariant under rotations, reflections and translations and does not know which
cell a crystal is written in. Structures are compared by what is as invariant: for each atom the
sorted distances to its neighbours of each element, with multiplicities relative to the number of
atoms. These pointwise distance distributions tell generic periodic structures apart (Widdowson and
Kurlin, NeurIPS 35, 24625, 2022) and change by no more than twice what atoms move.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distill.data.neighbour_pairs import has_flown_apart, neighbour_pairs
from distill.data.repeated_structures import first_alike

if TYPE_CHECKING:
    from ase import Atoms

Array = npt.NDArray[Any]

# Distances of equal structures agree to this, Å: files round to less.
_TOLERANCE = 2e-4
# Independent runs of a molecule with a single distance often come as near as that.
_ONE_DISTANCE = 1e-7
# Distances up to here are compared, Å; candidates are looked up by those up to the smaller one.
_REACH, _NEAR = 10.0, 5.0
_ORDERS = 6
# The marks that candidates are looked up by.
_GRID = [0, 2, 4, 6]


class _Sketch(NamedTuple):
    """What candidates are found by.

    Attributes
    ----------
    marks
        Numbers that no isometry and no choice of the cell changes, shape (_ORDERS + 6,).
    reach
        How far the marks of equal structures are apart at most, same shape.
    """

    marks: Array
    reach: Array


def congruent(structures: Sequence[Atoms]) -> list[tuple[int, int]]:
    """Pairs of structures of which the later one equals the earlier one up to an isometry.

    Equal are structures whose composition is the same but for a factor and in which all distances
    up to 10 Å agree within 2e-4 Å, atom by atom. So rotations and mirror images of a whole
    structure, other vectors of the same lattice, supercells, and vacuum of 10 Å or more in place
    of an open direction make no difference. Molecules in which each atom sees one other have a
    single number, and count as equal where that agrees within 1e-7 Å.

    Returns
    -------
    list of (int, int)
        Each structure that equals an earlier one, with the first that it equals; ascending in the
        second.
    """
    groups: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(structures):
        if not has_flown_apart(atoms):
            groups.setdefault(_composition(atoms), []).append(index)
    found = []
    for members in groups.values():
        if len(members) == 1:
            continue
        chosen = [structures[index] for index in members]
        sketches = [_sketch(atoms) for atoms in chosen]
        alike = first_alike(
            np.array([sketch.marks for sketch in sketches]),
            np.max([sketch.reach for sketch in sketches], axis=0),
            _GRID,
            partial(_equal, chosen),
        )
        found += [(members[one], members[other]) for one, other, _ in alike]
    return sorted(found, key=lambda pair: pair[1])


def _composition(atoms: Atoms) -> bytes:
    """Elements and their counts without common factor."""
    kinds, counts = np.unique(atoms.numbers, return_counts=True)
    return np.concatenate([kinds, counts // np.gcd.reduce(counts)]).tobytes()


def _sketch(atoms: Atoms) -> _Sketch:
    """Means over the atoms of sums over their neighbours: Chebyshev polynomials of distances."""
    size = len(atoms)
    i, j, _, distances = neighbour_pairs(atoms, _NEAR)
    strength = 0.6 + 0.4 * np.mod(atoms.numbers * 0.6180339887498949, 1.0)
    square = (distances / _NEAR) ** 2
    smooth = strength[i] * strength[j] * (1 - square) ** 2
    terms, before = np.empty((_ORDERS, len(distances))), np.ones(len(distances))
    last = 2 * square - 1
    for order in range(_ORDERS):
        terms[order] = smooth * before
        before, last = last, 2 * (2 * square - 1) * last - before
    of_atoms = np.array([np.bincount(i, term, minlength=size) for term in terms[:2]])
    extremes = np.concatenate([of_atoms.min(axis=1), of_atoms.max(axis=1)])
    marks = np.concatenate([terms.sum(axis=1) / size, (of_atoms**2).mean(axis=1), extremes])
    # Slopes of the terms in the distance, 1/Å, that are exceeded nowhere.
    slopes = smooth.max(initial=0.0) * (1.6 + 1.2 * np.arange(_ORDERS) ** 2) / _NEAR
    # Rounding moves atoms independently, and all atoms together where it is the cell's.
    pairs, most = max(len(distances), 1), max(int(np.bincount(i, minlength=1).max()), 1)
    shift = _TOLERANCE * slopes * (1.5 * np.sqrt(pairs) + 0.02 * pairs) / size
    single = _TOLERANCE * slopes[:2] * (2 * np.sqrt(most) + 0.02 * most)
    squares = shift[:2] * 2 * np.abs(of_atoms).max(axis=1)
    return _Sketch(marks, np.concatenate([shift, squares, single, single]) + 1e-9)


def _equal(structures: Sequence[Atoms], first: int, later: int) -> bool:
    """Whether the atoms of two structures of one composition see the same distances."""
    one, other = structures[first], structures[later]
    if _copied(one, other):
        return True
    numbers = np.concatenate([one.numbers, other.numbers])
    owner = np.repeat([0, 1], [len(one), len(other)])
    seen = [_distances(atoms) for atoms in (one, other)]
    width = max(rows.shape[2] for rows in seen)
    padded = [
        np.pad(rows, ((0, 0), (0, 0), (0, width - rows.shape[2])), constant_values=_REACH)
        for rows in seen
    ]
    rows = np.concatenate(padded).reshape(len(numbers), -1)
    lonely = np.count_nonzero(rows < _REACH, axis=1).max() <= 1
    tolerance = _ONE_DISTANCE if lonely else _TOLERANCE
    return all(
        _same_shares(rows[numbers == z], owner[numbers == z], len(one), len(other), tolerance)
        for z in np.unique(numbers)
    )


def _copied(one: Atoms, other: Atoms) -> bool:
    """Whether two structures are the same as they lie, which most copies are."""
    return (
        np.array_equal(one.numbers, other.numbers)
        and np.array_equal(one.pbc, other.pbc)
        and np.array_equal(one.positions, other.positions)
        and np.array_equal(one.cell[:], other.cell[:])
    )


def _distances(atoms: Atoms) -> Array:
    """Sorted distances to the neighbours of each element, Å, shape (N, elements, most of them).

    Those beyond 10 Å, and what fills the rows, count as 10 Å, so that nothing jumps there.
    """
    i, j, _, distances = neighbour_pairs(atoms, _REACH)
    kinds = np.unique(atoms.numbers)
    row = i * len(kinds) + np.searchsorted(kinds, atoms.numbers[j])
    order = np.lexsort((distances, row))
    row, distances = row[order], distances[order]
    counts = np.bincount(row, minlength=len(atoms) * len(kinds))
    rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((len(counts), int(counts.max(initial=0))), _REACH)
    rows[row, rank] = distances
    return rows.reshape(len(atoms), len(kinds), -1)


def _same_shares(rows: Array, owner: Array, first: int, second: int, tolerance: float) -> bool:
    """Whether each kind of row is as frequent, per atom, among those of both owners.

    Rows are sorted by their mean, so that like ones lie near each other.
    """
    means = rows.mean(axis=1) if rows.shape[1] else np.zeros(len(rows))
    order = np.argsort(means, kind="stable")
    rows, owner, means = rows[order], owner[order], means[order]
    left = np.ones(len(rows), dtype=bool)
    for place in range(len(rows)):
        if not left[place]:
            continue
        stop = int(np.searchsorted(means, means[place] + tolerance, side="right"))
        window = place + np.flatnonzero(left[place:stop])
        like = window[np.abs(rows[window] - rows[place]).max(axis=1, initial=0.0) <= tolerance]
        ours = np.count_nonzero(owner[like] == 0)
        if ours * second != (len(like) - ours) * first:
            return False
        left[like] = False
    return True
