"""Distances between the atoms of periodic structures: histograms, g(r) and coordination numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
Pair = tuple[str, str]

# Width of the smoothing before extrema are looked for, Å.
_SMOOTHING = 0.1


def pairs_of(symbols: Sequence[str]) -> list[Pair]:
    """Every pair of the elements, in the order in which they first come."""
    return list(combinations_with_replacement(dict.fromkeys(symbols), 2))


def distance_counts(
    atoms: Atoms, positions: Array, pairs: Sequence[Pair], edges: Array
) -> NDArray[np.int64]:
    """Histograms of the distances of atoms, all periodic images among them.

    Parameters
    ----------
    atoms
        Elements, cell and periodic directions.
    positions
        Of each frame, shape (frames, N, 3), Å; they need not be wrapped.
    pairs
        Elements of the first atom and of its neighbour.
    edges
        Of equal bins from 0, shape (bins + 1,), Å.

    Returns
    -------
    array
        Neighbours of all atoms of the first element, shape (frames, pairs, bins). A pair of atoms
        of one element counts twice, once from each.
    """
    from vesin import NeighborList

    bins, largest = len(edges) - 1, float(edges[-1])
    numbers = {symbol: k for k, symbol in enumerate(dict.fromkeys(atoms.get_chemical_symbols()))}
    kinds = np.array([numbers[symbol] for symbol in atoms.get_chemical_symbols()])
    places = np.full((len(numbers), len(numbers)), len(pairs))
    for place, (first, second) in enumerate(pairs):
        places[numbers[first], numbers[second]] = place
    search = NeighborList(cutoff=largest, full_list=False, n_threads=1)
    counts = np.empty((len(positions), len(pairs), bins), dtype=np.int64)
    for frame, points in enumerate(positions):
        i, j, distances = search.compute(
            points=np.asarray(points, dtype=float),
            box=atoms.cell.array,
            periodic=atoms.pbc,
            quantities="ijd",
        )
        within = np.minimum((distances * (bins / largest)).astype(np.int64), bins - 1)
        # The list holds each pair of atoms once.
        both = np.concatenate([places[kinds[i], kinds[j]], places[kinds[j], kinds[i]]])
        found = np.bincount(both * bins + np.tile(within, 2), minlength=(len(pairs) + 1) * bins)
        counts[frame] = found.reshape(-1, bins)[:-1]
    return counts


def radial_distribution(
    counts: Array, edges: Array, centres: int, neighbours: int, volume: float
) -> Array:
    """g(r): the density of neighbours at a distance over their mean density.

    It is 1 for independent atoms; for one element 1 − 1/N, as an atom is not its own neighbour
    except in periodic images. Source: Allen & Tildesley, Computer Simulation of Liquids, 2nd ed.
    (2017), sec. 8.2.

    Parameters
    ----------
    counts
        Of `distance_counts`, a mean over frames or one of them, shape (..., bins).
    edges
        Of the bins, shape (bins + 1,), Å.
    centres, neighbours
        Atoms of the first and of the second element.
    volume
        Of the cell, Å³.
    """
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return np.asarray(counts / (centres * neighbours / volume * shells))


def running_coordination(counts: Array, centres: int) -> Array:
    """Mean number of neighbours up to the end of each bin, shape (..., bins); see above."""
    return np.asarray(np.cumsum(counts, axis=-1) / centres)


def coordination_within(counts: Array, edges: Array, centres: int, radius: float) -> Array:
    """Mean number of neighbours within a radius (Å), shape (...), linear inside a bin."""
    running = running_coordination(counts, centres)
    full = np.concatenate([np.zeros_like(running[..., :1]), running], axis=-1)
    place = radius / (edges[1] - edges[0])
    below = min(int(place), len(edges) - 2)
    weight = place - below
    return np.asarray((1 - weight) * full[..., below] + weight * full[..., below + 1])


def first_minimum(g: Array, edges: Array) -> float:
    """Radius of the first minimum of g(r) after its first peak, Å.

    The peak is where the smoothed function first exceeds 1; it ends where it exceeds 1 again, or
    with the last bin. Where several bins are as low, as between the shells of a crystal, it is the
    middle of them. Without a peak it is the largest distance.

    Parameters
    ----------
    g
        Shape (bins,).
    edges
        Of the bins, shape (bins + 1,), Å.
    """
    from scipy.ndimage import gaussian_filter1d

    width = edges[1] - edges[0]
    smooth = gaussian_filter1d(np.asarray(g, dtype=float), _SMOOTHING / width, mode="nearest")
    above = smooth > 1
    if not above.any():
        return float(edges[-1])
    peak = int(np.argmax(above))
    falls = np.flatnonzero(~above[peak:])
    if not len(falls):
        return float(edges[-1])
    start = peak + int(falls[0])
    rises = np.flatnonzero(above[start:])
    valley = smooth[start : start + int(rises[0]) if len(rises) else len(smooth)]
    lowest = np.flatnonzero(valley <= valley.min() + 1e-3)
    centres = 0.5 * (edges[1:] + edges[:-1])
    return float(centres[start + lowest].mean())


def require_pairs(atoms: Atoms, pairs: Sequence[Pair], origin: str) -> None:
    """Refuse pairs of elements that a structure does not hold.

    Raises
    ------
    UserError
        Naming the option, `origin`.
    """
    held = dict.fromkeys(atoms.get_chemical_symbols())
    for pair in pairs:
        missing = [symbol for symbol in pair if symbol not in held]
        if missing:
            raise UserError(
                f"{origin}: {'-'.join(pair)}: the structure holds no {missing[0]}, but "
                f"{', '.join(held)}"
            )
