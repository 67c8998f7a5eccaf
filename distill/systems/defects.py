"""Point defects in any crystal: interstitial, vacancy and dumbbell, with a LiF preset."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

# Room-temperature lattice constant of LiF, Å (CRC Handbook of Chemistry and Physics).
LIF_LATTICE_CONSTANT = 4.026
# Atoms closer than this are on top of each other, Å.
_OVERLAP = 0.5
# Separation of a split interstitial over the nearest-neighbour distance of its own species.
_DUMBBELL_SEPARATION = 0.7
_TIE = 1e-4


def with_defect(atoms: Atoms, kind: str, symbol: str | None = None) -> Atoms:
    """A copy of a crystal with one point defect of the named kind.

    Parameters
    ----------
    atoms
        Perfect crystal, periodic in all directions.
    kind
        none, interstitial, vacancy or dumbbell.
    symbol
        Element of the defect; the structure's first element if None.

    Raises
    ------
    UserError
        If the kind is unknown or the defect does not fit.
    """
    makers: dict[str, Callable[[Atoms, str], Atoms]] = {
        "interstitial": interstitial,
        "vacancy": vacancy,
        "dumbbell": dumbbell,
    }
    if kind == "none":
        return atoms.copy()
    if kind not in makers:
        raise UserError(f"defect: expected none, {', '.join(makers)}, found '{kind}'")
    return makers[kind](atoms, symbol or atoms.get_chemical_symbols()[0])


def interstitial(
    atoms: Atoms, symbol: str, position: tuple[float, float, float] | None = None
) -> Atoms:
    """A copy with one more atom, the last, in the largest void or at a given place.

    Parameters
    ----------
    atoms
        Crystal, periodic in all directions.
    symbol
        Element of the added atom.
    position
        Cartesian, Å. If None: the vertex of the Voronoi cells that is farthest from every atom,
        and of equal ones the nearest to the middle of the cell.

    Raises
    ------
    UserError
        If the crystal is not periodic, the element is unknown, or the place is taken.
    """
    from ase import Atom

    _check(atoms, symbol, present=False)
    place = _largest_void(atoms) if position is None else np.asarray(position, dtype=float)
    distance = _distances(atoms, place).min()
    if distance < _OVERLAP:
        raise UserError(
            f"interstitial {symbol} at {np.round(place, 3).tolist()} Å: an atom is "
            f"{distance:.3g} Å away; choose an empty place, or leave the position out"
        )
    crowded = atoms.copy()
    crowded.append(Atom(symbol, place))
    return crowded


def vacancy(atoms: Atoms, symbol: str, index: int | None = None) -> Atoms:
    """A copy without one atom of an element.

    Parameters
    ----------
    atoms
        Crystal, periodic in all directions.
    symbol
        Element of the removed atom.
    index
        Which atom; if None, the one of the element nearest to the middle of the cell.

    Raises
    ------
    UserError
        If the element is not there, or `index` is another element's.
    """
    _check(atoms, symbol, present=True)
    index = _site(atoms, symbol, index)
    if len(atoms) == 1:
        raise UserError("vacancy: the only atom of a cell cannot be removed; repeat the cell first")
    depleted = atoms.copy()
    del depleted[index]
    return depleted


def dumbbell(
    atoms: Atoms,
    symbol: str,
    index: int | None = None,
    direction: tuple[float, float, float] = (1.0, 0.0, 0.0),
    separation: float | None = None,
) -> Atoms:
    """A copy in which two atoms share one site (split interstitial); the added atom is the last.

    Parameters
    ----------
    atoms
        Crystal, periodic in all directions.
    symbol
        Element of the two atoms and of the site.
    index
        The site; if None, the one of the element nearest to the middle of the cell.
    direction
        Cartesian axis of the dumbbell, of any length.
    separation
        Distance of the two atoms, Å; 0.7 times the nearest-neighbour distance within the element
        if None.

    Raises
    ------
    UserError
        If the element is not there or an atom comes too close.
    """
    from ase import Atom

    _check(atoms, symbol, present=True)
    index = _site(atoms, symbol, index)
    axis = np.asarray(direction, dtype=float)
    if not np.linalg.norm(axis) > 0:
        raise UserError(f"dumbbell: direction {list(direction)} has no length")
    if separation is None:
        separation = _DUMBBELL_SEPARATION * nearest_neighbour_distance(atoms, symbol)
    half = 0.5 * separation * axis / np.linalg.norm(axis)
    site = atoms.positions[index].copy()
    split = atoms.copy()
    split.positions[index] = site - half
    distance = min(_distances(split, site + half).min(), separation)
    if distance < _OVERLAP:
        raise UserError(
            f"dumbbell of {symbol} at site {index}: an atom is {distance:.3g} Å from the added "
            "one; choose another direction or separation"
        )
    split.append(Atom(symbol, site + half))
    return split


def lif_with_interstitial(repeat: int = 2, a: float | None = None) -> Atoms:
    """Rocksalt LiF with one Li interstitial, 8 `repeat`³ + 1 atoms.

    Parameters
    ----------
    repeat
        Conventional cells along each axis.
    a
        Lattice constant, Å; 4.026 if None.
    """
    from ase.build import bulk

    perfect = bulk("LiF", "rocksalt", a=a or LIF_LATTICE_CONSTANT, cubic=True)
    return interstitial(perfect.repeat(repeat), "Li")


def nearest_neighbour_distance(atoms: Atoms, symbol: str) -> float:
    """Median distance from an atom of an element to the nearest other one of it, Å.

    Periodic images count, so one atom in the cell is enough.
    """
    from ase.neighborlist import neighbor_list

    chosen = atoms[[s == symbol for s in atoms.get_chemical_symbols()]]
    cutoff = 4.0
    while True:
        first, distance = neighbor_list("id", chosen, cutoff)
        if len(np.unique(first)) == len(chosen):
            break
        cutoff *= 1.5
    nearest = np.full(len(chosen), np.inf)
    np.minimum.at(nearest, first, distance)
    return float(np.median(nearest))


def _check(atoms: Atoms, symbol: str, *, present: bool) -> None:
    from ase.data import atomic_numbers

    if not atoms.pbc.all():
        raise UserError(
            f"a point defect needs a crystal periodic in all directions, found pbc "
            f"{atoms.pbc.tolist()}"
        )
    if symbol not in atomic_numbers:
        raise UserError(f"defect element '{symbol}' is not a chemical symbol")
    if present and symbol not in atoms.get_chemical_symbols():
        held = ", ".join(sorted(set(atoms.get_chemical_symbols())))
        raise UserError(f"defect element {symbol} is not in the structure, which holds {held}")


def _site(atoms: Atoms, symbol: str, index: int | None) -> int:
    symbols = atoms.get_chemical_symbols()
    if index is None:
        sites = [i for i, s in enumerate(symbols) if s == symbol]
        distances = _distances(atoms, _middle(atoms))[sites]
        return sites[int(np.flatnonzero(distances < distances.min() + _TIE)[0])]
    if not 0 <= index < len(atoms) or symbols[index] != symbol:
        raise UserError(f"defect site {index} is not an atom of element {symbol}")
    return index


def _middle(atoms: Atoms) -> np.ndarray:
    return 0.5 * atoms.cell.array.sum(axis=0)


def _distances(atoms: Atoms, point: np.ndarray) -> np.ndarray:
    """Minimum-image distances from a point to every atom, Å, shape (N,)."""
    from ase.geometry import get_distances

    return get_distances(point[None], atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1][0]


def _largest_void(atoms: Atoms) -> np.ndarray:
    """Place in the cell that is farthest from every atom, Å, shape (3,).

    It is a vertex of the Voronoi tessellation (de Berg et al., Computational Geometry, ch. 7).
    """
    from scipy.spatial import Voronoi, cKDTree

    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    wrapped = atoms.get_positions(wrap=True)
    images = (wrapped[None] + (shifts @ atoms.cell.array)[:, None]).reshape(-1, 3)
    vertices = Voronoi(images).vertices
    fractions = atoms.cell.scaled_positions(vertices)
    inside = vertices[np.all((fractions > -_TIE) & (fractions < 1 - _TIE), axis=1)]
    radius = cKDTree(images).query(inside)[0]
    largest = inside[radius > radius.max() - _TIE]
    from_middle = np.linalg.norm(largest - _middle(atoms), axis=1)
    equal = largest[from_middle < from_middle.min() + _TIE]
    # Vertices of a perfect crystal come in an order that rounding decides: sort them.
    return equal[np.lexsort(np.round(equal, 3).T[::-1])[0]]
