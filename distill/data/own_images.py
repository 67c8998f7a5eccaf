"""Molecules and slabs that are near their own periodic images, with nothing but vacuum between.

Their energy is that of a layer or a crystal of them, not of the molecule or slab alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distill.core.progress import listed, say
from distill.data.neighbour_pairs import has_flown_apart, neighbour_pairs

if TYPE_CHECKING:
    from ase import Atoms

# How far most models see in one step, Å.
REACH = 6.0
# Atoms whose distance exceeds the sum of their covalent radii by less touch each other, Å: layers
# of graphite and of Bi2Te3, molecules in their crystals, noble gases.
_TOUCHING = 2.0
_ZERO = 1e-6
Array = npt.NDArray[Any]


class OwnImage(NamedTuple):
    """A piece of a structure that is near its own periodic image.

    Attributes
    ----------
    distance
        Shortest between an atom of the piece and one of its image, Å.
    formula
        Of the piece.
    """

    distance: float
    formula: str


def own_image(atoms: Atoms, reach: float = REACH) -> OwnImage | None:
    """The nearest image of a piece of a structure that is not connected to it, within a distance.

    A piece is atoms that touch each other, and it may go on for ever. What counts are images along
    directions in which the whole structure has vacuum: of a molecule those along all three, of a
    slab along one, whatever is above it, of a crystal none.

    Parameters
    ----------
    atoms
        Structure.
    reach
        How far a model sees, Å.
    """
    from ase.data import covalent_radii

    if not atoms.pbc.any() or has_flown_apart(atoms):
        return None
    i, j, shifts, distances = neighbour_pairs(atoms, reach)
    radii = covalent_radii[atoms.numbers]
    touching = distances < radii[i] + radii[j] + _TOUCHING
    piece, cells = _pieces(len(atoms), i[touching], j[touching], shifts[touching])
    translations = cells[i] + shifts - cells[j]
    bound = np.unique(translations[touching], axis=0)
    # What is left of a translation along directions in which no piece goes on.
    beyond = np.eye(3) - np.linalg.pinv(bound) @ bound
    apart = (piece[i] == piece[j]) & (np.abs(translations @ beyond).max(axis=1) > _ZERO)
    if not apart.any():
        return None
    pair = int(np.argmin(np.where(apart, distances, np.inf)))
    formula = atoms[piece == piece[i[pair]]].get_chemical_formula()
    return OwnImage(float(distances[pair]), formula)


def _pieces(n: int, i: Array, j: Array, shifts: Array) -> tuple[Array, Array]:
    """Piece of each atom, and cells by which it is away from its place in the one unbroken piece.

    Edges go from atom `i` in the cell to atom `j` in the cell at `shifts`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    edges: Any = coo_array((np.ones(len(i)), (i, j)), (n, n)).tocsr()
    count, piece = connected_components(edges, directed=False)
    names, one_of_each = np.unique(n * i + j, return_index=True)
    cells = np.zeros((n, 3), dtype=int)
    for number in range(count):
        order, before = breadth_first_order(edges, int(np.argmax(piece == number)))
        for atom in order[1:]:
            edge = one_of_each[np.searchsorted(names, n * before[atom] + atom)]
            cells[atom] = cells[before[atom]] + shifts[edge]
    return piece, cells


def say_own_images(structures: Sequence[Atoms], origin: str, reach: float = REACH) -> None:
    """Say which structures hold a molecule or slab that a model sees together with its image.

    Parameters
    ----------
    structures
        The set.
    origin
        Its name.
    reach
        How far the model sees, Å.
    """
    found = {k: image for k, atoms in enumerate(structures) if (image := own_image(atoms, reach))}
    if not found:
        return
    nearest = min(found.values())
    say(
        f"{origin}: {len(found)} structures hold a molecule or slab that is nearer to its own "
        f"periodic image than a model sees ({reach:g} Å), with vacuum between: "
        f"{listed(list(found))}; nearest {nearest.formula}, {nearest.distance:.2f} Å. Its energy "
        "is not that of one alone: give it a wider cell, or none (pbc F), unless that is meant"
    )
