"""Neighbour lists in the form the kernels read, from vesin, with a Verlet skin where wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.engine.kernels.kernel_arguments import ListedPairs

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class Neighbours(NamedTuple):
    """Neighbours of every atom within a distance, periodic images included.

    Attributes
    ----------
    first
        Neighbours of atom i are entries first[i] to first[i + 1], (N + 1,).
    neighbour
        Index of each neighbour, (pairs,).
    vectors
        From atom to neighbour, (pairs, 3), Å.
    """

    first: Integers
    neighbour: Integers
    vectors: Array


def list_neighbours(atoms: Atoms, cutoff: float) -> Neighbours:
    """All neighbours of the atoms within `cutoff`, Å; cells may be smaller than it.

    Raises
    ------
    UserError
        If positions or cell are not finite, or two atoms coincide.
    """
    first, index, vectors = _compute(atoms, cutoff, "D")
    return Neighbours(first, index, vectors)


# Å: images of a flatter cell would be without number.
_FLATTEST = 0.1
# Cells of a search: more would take memory without end.
_MOST_CELLS = 1e7


class VerletList:
    """Neighbours of a structure that moves, searched again only after half the skin.

    Parameters
    ----------
    cutoff
        Distance that must be covered, Å.
    skin
        What the search reaches beyond it, Å.

    Attributes
    ----------
    pairs, reference
        What the last search found, and the positions at which it was made, (N, 3), Å.
    limit
        Square of the distance that an atom may move from there, Å².
    """

    pairs: ListedPairs
    reference: Array

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.limit = (skin / 2) ** 2
        self._atoms: Atoms | None = None

    def update(self, atoms: Atoms) -> Neighbours:
        """Neighbours of `atoms`; vectors may be longer than the cutoff.

        Raises
        ------
        UserError
            As `list_neighbours`.
        """
        from distill.student.engine.kernels.evaluation_kernels import pair_vectors

        check_finite(atoms)
        if not self._still_covers(atoms):
            first, neighbours, images = _compute(atoms, self.cutoff + self.skin, "S")
            shifts = np.ascontiguousarray(images @ atoms.cell.array)
            self.pairs = ListedPairs(first, neighbours, shifts, np.empty_like(shifts))
            self._atoms = atoms.copy()
            self.reference = self._atoms.positions
        pair_vectors(np.ascontiguousarray(atoms.positions), *self.pairs)
        return Neighbours(self.pairs.first, self.pairs.neighbours, self.pairs.vectors)

    def _still_covers(self, atoms: Atoms) -> bool:
        old = self._atoms
        if old is None or len(old) != len(atoms):
            return False
        same = (old.cell.array == atoms.cell.array).all() and (old.pbc == atoms.pbc).all()
        if not same or not (old.numbers == atoms.numbers).all():
            return False
        moved = atoms.positions - old.positions
        return bool(np.einsum("ij,ij->i", moved, moved).max(initial=0.0) < self.limit)


def check_finite(atoms: Atoms) -> None:
    """Refuse positions that are not finite.

    Raises
    ------
    UserError
        Naming the first such atom.
    """
    finite = np.isfinite(atoms.positions)
    if not finite.all():
        atom = int(np.argmin(finite.all(axis=1)))
        raise UserError(
            f"atom {atom} ({atoms.symbols[atom]}) has position {atoms.positions[atom]}; "
            "expected finite numbers. A simulation that blew up leaves such positions: use a "
            "shorter time step or a better model"
        )


def _compute(atoms: Atoms, cutoff: float, quantity: str) -> tuple[Integers, Integers, Array]:
    from vesin import NeighborList

    check_finite(atoms)
    cell = atoms.cell.array
    if not np.isfinite(cell).all():
        raise UserError("the cell has entries that are not finite numbers; set the cell")
    if atoms.pbc.any() and np.linalg.matrix_rank(cell[atoms.pbc]) < atoms.pbc.sum():
        raise UserError(
            "the structure is periodic along a direction without a cell vector; set the cell or "
            "pbc=False"
        )
    if atoms.pbc.any():
        # Distances between the planes of the cell over its periodic vectors.
        heights = 1 / np.linalg.norm(np.linalg.pinv(cell[atoms.pbc]), axis=0)
        if heights.min() < _FLATTEST:
            raise UserError(
                f"the periodic cell is only {heights.min():.2g} Å thick: a simulation that "
                "collapsed, or a cell in another unit than Å"
            )
    n_atoms = len(atoms)
    if n_atoms == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    i, j, wanted, distances = search.compute(
        points=_gathered(atoms, cutoff), box=cell, periodic=atoms.pbc, quantities=f"ij{quantity}d"
    )
    if not distances.min(initial=np.inf) > 0.0:
        pair = int(np.argmin(distances))
        raise UserError(f"atoms {i[pair]} and {j[pair]} lie on the same place; remove one of them")
    first = np.zeros(n_atoms + 1, np.int64)
    np.cumsum(np.bincount(i.astype(np.int64), minlength=n_atoms), out=first[1:])
    return first, j.astype(np.int64), np.ascontiguousarray(wanted, dtype=float)


def _gathered(atoms: Atoms, cutoff: float) -> Array:
    """Positions with the same pairs within a cutoff, without the empty space between far atoms.

    The search divides the space that the atoms take up into cells of the cutoff's size. Along
    directions that are not periodic, gaps wider than two cutoffs are narrowed to that; atoms on
    both sides of one are no neighbours before or after.

    Raises
    ------
    UserError
        If the atoms are scattered too widely all the same.
    """
    positions = atoms.positions
    if not len(positions) or atoms.pbc.all():
        return positions
    periodic = atoms.cell.array[atoms.pbc]
    # Directions at right angles to the periodic ones.
    directions = np.linalg.svd(periodic)[2][len(periodic) :] if len(periodic) else np.eye(3)
    cells = 1.0
    for direction in directions:
        along = positions @ direction
        order = np.argsort(along)
        gaps = np.diff(along[order])
        excess = np.where(gaps > 2 * cutoff, gaps - 2 * cutoff, 0.0)
        if excess.any():
            shift = np.zeros(len(along))
            shift[order[1:]] = np.cumsum(excess)
            positions = positions - shift[:, None] * direction
        cells *= np.ptp(positions @ direction) / cutoff + 1
    if cells > _MOST_CELLS:
        extent = float(np.ptp(atoms.positions, axis=0).max())
        raise UserError(
            f"the atoms are scattered over {extent:.3g} Å with empty space between them: a "
            "simulation that blew up, or positions in another unit than Å"
        )
    return positions
