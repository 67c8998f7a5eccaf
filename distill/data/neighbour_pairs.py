"""Pairs of atoms within a distance, periodic images included, by vesin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ase import Atoms

# Wider structures have flown apart, and a search through their cells would not end, Å.
_WIDEST = 1e4


class Pairs(NamedTuple):
    """Neighbours, each pair twice.

    Attributes
    ----------
    first, second
        Indices of the atoms, shape (P,).
    shifts
        Cells by which the second atom is moved, shape (P, 3).
    distances
        Å, shape (P,).
    """

    first: npt.NDArray[Any]
    second: npt.NDArray[Any]
    shifts: npt.NDArray[Any]
    distances: npt.NDArray[Any]


def has_flown_apart(atoms: Atoms) -> bool:
    """Whether a structure is too wide for a search of neighbours."""
    return bool(np.ptp(atoms.positions, axis=0).max() > _WIDEST)


def neighbour_pairs(atoms: Atoms, reach: float) -> Pairs:
    """Pairs within a distance (Å) of a structure that has not flown apart."""
    from vesin import NeighborList

    search = NeighborList(cutoff=reach, full_list=True, n_threads=1)
    i, j, shifts, distances = search.compute(
        points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc, quantities="ijSd"
    )
    return Pairs(i.astype(int), j.astype(int), shifts.astype(int), distances)
