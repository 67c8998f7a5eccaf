"""Structures that are the same up to translation, wrapping and the order of like atoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

T = TypeVar("T")

# Positions and cell vectors of equal structures agree to this, Å: files round to less.
_TOLERANCE = 1e-4
# Wave vectors in units of the reciprocal cell; along open directions, of a period of 10 Å.
_WAVES = np.array(
    [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, -1, 0], [0, 1, -1],
        [1, 0, -1], [1, 1, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2], [1, 2, 3],
    ]
)  # fmt: skip
_OPEN_PERIOD = 10.0
# The marks that candidates are looked up by.
_GRID = [3, 9, 13, 14]


class Repetition(NamedTuple):
    """A structure that equals an earlier one.

    Attributes
    ----------
    first, later
        Indices of the two.
    order
        Atom `order[i]` of the later one is atom `i` of the earlier one, shape (N,).
    """

    first: int
    later: int
    order: np.ndarray


def repetitions(structures: Sequence[Atoms]) -> list[Repetition]:
    """Structures that equal an earlier one, each with the first that it equals.

    Equal are structures with the same elements and periodicity whose periodic cell vectors and
    atoms agree within 1e-4 Å after a common translation, lattice vectors added to single atoms,
    and an exchange of like atoms. Rotations and other cells are the business of `congruence`.

    Candidates are those whose absolute structure factors agree, which none of these operations
    changes, looked up in a grid.
    """
    groups: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(structures):
        key = np.sort(atoms.numbers).tobytes() + atoms.pbc.tobytes()
        groups.setdefault(key, []).append(index)
    found = []
    for members in groups.values():
        if len(members) > 1:
            found += _within(structures, members)
    return sorted(found, key=lambda same: same.later)


def _within(structures: Sequence[Atoms], members: list[int]) -> list[Repetition]:
    """Repetitions among structures of one composition and periodicity."""
    vectors = [_frame_vectors(structures[index]) for index in members]
    marks = np.array([_marks(structures[i], own) for i, own in zip(members, vectors, strict=True)])
    size = len(structures[members[0]])
    reach = np.max([_reach(size, own) for own in vectors], axis=0)
    alike = first_alike(
        marks,
        reach,
        _GRID,
        lambda one, other: _matched(structures[members[one]], structures[members[other]]),
    )
    return [Repetition(members[one], members[other], order) for one, other, order in alike]


def first_alike(
    marks: np.ndarray, reach: np.ndarray, grid: Sequence[int], match: Callable[[int, int], T | None]
) -> list[tuple[int, int, T]]:
    """Things that match an earlier one, each with the first that it matches and the match.

    Parameters
    ----------
    marks
        Numbers of each thing that differ by no more than the reach where two match, shape (n, m).
    reach
        Shape (m,).
    grid
        The marks that candidates are looked up by.
    match
        What makes the second of two indices the first one; None or False where nothing does.
    """
    # Things that differ lie in a grid of some marks; equal ones in the same or the next place.
    scaled = marks[:, grid] / (2 * reach[grid])
    kept: dict[bytes, list[int]] = {}
    found = []
    for k in range(len(marks)):
        others = [other for place in _places(scaled[k]) for other in kept.get(place, [])]
        near = np.all(np.abs(marks[k] - marks[others]) <= reach, axis=1)
        candidates = [other for other, is_near in zip(others, near, strict=True) if is_near]
        for other in candidates:
            matched = match(other, k)
            if matched is not None and matched is not False:
                found.append((other, k, matched))
                break
        else:
            kept.setdefault(np.floor(scaled[k]).astype(np.int64).tobytes(), []).append(k)
    return found


def _places(scaled: np.ndarray) -> list[bytes]:
    """Places of the grid in which a structure can be that equals one with these marks."""
    ends = zip(np.floor(scaled - 0.5), np.floor(scaled + 0.5), strict=True)
    places = np.array(list(product(*(sorted(set(pair)) for pair in ends))), dtype=np.int64)
    return [place.tobytes() for place in places]


def _frame_vectors(atoms: Atoms) -> np.ndarray:
    """Periodic cell vectors, completed by orthogonal ones of a fixed length, shape (3, 3)."""
    vectors = np.where(atoms.pbc[:, None], atoms.cell[:], 0.0)
    periodic, open_ = vectors[atoms.pbc], np.flatnonzero(~atoms.pbc)
    if len(periodic) == 0:
        return _OPEN_PERIOD * np.eye(3)
    if len(periodic) == 2:
        normals = [np.cross(*periodic)]
    elif len(periodic) == 1:
        # The axis that the vector is least along, whatever the last digits are.
        axis = np.eye(3)[int(np.argmin(np.abs(periodic[0]).round(2)))]
        normals = [np.cross(periodic[0], axis)]
        normals.append(np.cross(periodic[0], normals[0]))
    else:
        normals = []
    for place, normal in zip(open_, normals, strict=True):
        vectors[place] = _OPEN_PERIOD * normal / np.linalg.norm(normal)
    return vectors


def _factors(atoms: Atoms, vectors: np.ndarray) -> np.ndarray:
    """Structure factors, with a scattering strength that differs between elements, shape (14,)."""
    scaled = atoms.positions @ np.linalg.inv(vectors)
    strength = 0.6 + 0.4 * np.mod(atoms.numbers * 0.6180339887498949, 1.0)
    return strength @ np.exp(2j * np.pi * scaled @ _WAVES.T)


def _waves(vectors: np.ndarray) -> np.ndarray:
    """Wave vectors of the structure factors, 1/Å, shape (14, 3)."""
    return 2 * np.pi * _WAVES @ np.linalg.inv(vectors).T


def _marks(atoms: Atoms, vectors: np.ndarray) -> np.ndarray:
    """Numbers that translations and exchanges of like atoms leave as they are, shape (17,).

    The absolute structure factors and the lengths of the periodic cell vectors.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    return np.concatenate([np.abs(_factors(atoms, vectors)), lengths])


def _reach(size: int, vectors: np.ndarray) -> np.ndarray:
    """How far the marks of equal structures are apart at most, shape (17,).

    Rounding moves N atoms by δ each, independently, and a structure factor of the wave vector k
    by about √N k δ.
    """
    waves = np.linalg.norm(_waves(vectors), axis=1)
    return _TOLERANCE * np.concatenate([3 * np.sqrt(size) * waves, np.full(3, 2.0)])


def _matched(first: Atoms, later: Atoms) -> np.ndarray | None:
    """Order of the later structure's atoms that makes it the first one, or None."""
    periodic = first.pbc
    if np.abs(first.cell[:][periodic] - later.cell[:][periodic]).max(initial=0) > _TOLERANCE:
        return None
    if len(first) == 1:
        return np.zeros(1, dtype=int)
    kinds, counts = np.unique(first.numbers, return_counts=True)
    rare = kinds[np.argmin(counts)]
    start = int(np.flatnonzero(first.numbers == rare)[0])
    # The atom of the same index first: most copies keep the order.
    others = np.flatnonzero(later.numbers == rare)
    others = others[np.argsort(others != start, kind="stable")]
    shifts = first.positions[start] - later.positions[others]
    vectors = _frame_vectors(first)
    waves = _waves(vectors)
    ours, theirs = _factors(first, vectors), _factors(later, vectors)
    apart = np.abs(ours - theirs * np.exp(1j * shifts @ waves.T))
    # An error of the shift turns all phases.
    reach = _reach(len(first), vectors)[: len(_WAVES)]
    reach = reach + 2 * _TOLERANCE * np.linalg.norm(waves, axis=1) * np.abs(ours)
    for shift in shifts[np.all(apart <= reach, axis=1)]:
        order = _order_after(first, later, vectors, shift)
        if order is not None:
            return order
    return None


def _order_after(
    first: Atoms, later: Atoms, vectors: np.ndarray, shift: np.ndarray
) -> np.ndarray | None:
    """Order of the later structure's atoms if this shift brings each onto one of the first."""
    from scipy.spatial import cKDTree

    inverse = np.linalg.inv(vectors)
    ours, theirs = first.positions @ inverse, (later.positions + shift) @ inverse
    # Open directions get a box that nothing in them can reach across.
    both = np.vstack([ours, theirs])
    box = np.where(first.pbc, 1.0, 4 * (np.ptp(both, axis=0) + 1))
    ours, theirs = (
        np.mod(part - np.where(first.pbc, 0, both.min(axis=0)), box) for part in (ours, theirs)
    )
    # A remainder of a tiny negative number is rounded to the divisor itself.
    ours, theirs = np.where(ours < box, ours, 0.0), np.where(theirs < box, theirs, 0.0)
    _, order = cKDTree(theirs, boxsize=box).query(ours)
    apart = ours - theirs[order]
    apart -= box * np.round(apart / box)
    if np.linalg.norm(apart @ vectors, axis=1).max() > 2 * _TOLERANCE:
        return None
    if len(set(order.tolist())) != len(order):
        return None
    return order if np.array_equal(first.numbers, later.numbers[order]) else None
