"""A student where its training data end: pair curves from 0.3 Å on, judged up to the data.

A linear model is free where it has no data. A pair term that falls without bound as two atoms
come near each other lets them fuse in the first hot trajectory, so every fit looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from distill.core.results import Record, Result
from distill.student.engine.evaluate import species_indices
from distill.student.engine.neighbours import list_neighbours

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

CURVES_FILE = "pair_curves.json"
# Where a curve begins, Å, and its number of points.
CLOSEST, _POINTS = 0.3, 100
_BEYOND_CUTOFF = 0.5
# Below this share of the sum of their covalent radii any two atoms repel each other.
_OVERLAP = 0.75
# No two atoms are bound by more (CO: 11.1 eV).
_STRONGEST_BOND = 12.0
# A rise on the way out that is smaller is no attraction, eV.
_FLAT = 1e-3


class PairCurve(Record):
    """Energy of two atoms alone, from distances below those of the data to beyond the cutoff.

    Attributes
    ----------
    distances
        Å, ascending.
    energies
        Relative to the free atoms, eV.
    nearest
        Distance at which the data begin, Å: the shortest of the pair in any structure, or the
        cutoff where no structure has the pair within it.
    overlap
        Distance below which the pair has to repel, Å, at most `nearest`.
    problem
        What is unphysical, in words; empty if nothing is.
    """

    distances: list[float]
    energies: list[float]
    nearest: float
    overlap: float
    problem: str = ""


class PairCurves(Result):
    """Curves by pair, `A-B`, and what was done for them, in words."""

    VERSION: ClassVar[int] = 1

    pairs: dict[str, PairCurve]
    remedy: str = ""

    @property
    def problems(self) -> dict[str, PairCurve]:
        """The curves that are unphysical."""
        return {name: curve for name, curve in self.pairs.items() if curve.problem}

    def summary(self) -> str:
        """The problems in one line."""
        return "; ".join(f"{name} {curve.problem}" for name, curve in self.problems.items())


def nearest_distances(
    structures: Sequence[Atoms], elements: Sequence[str], cutoff: float
) -> dict[str, float]:
    """Shortest distance of each pair of elements, Å; pairs that never meet have the cutoff."""
    n = len(elements)
    shortest = np.full(n * n, cutoff)
    for atoms in structures:
        found = list_neighbours(atoms, cutoff)
        species = species_indices(elements, atoms)
        centres = np.repeat(species, np.diff(found.first))
        lengths = np.linalg.norm(found.vectors, axis=1)
        np.minimum.at(shortest, n * centres + species[found.neighbour], lengths)
    table = shortest.reshape(n, n)
    return {f"{a}-{b}": float(min(table[i, j], table[j, i])) for (i, a), (j, b) in _pairs(elements)}


def pair_curves(student: Student, nearest: Mapping[str, float]) -> PairCurves:
    """Curves of all pairs of elements of a student, and what is unphysical short of the data.

    Parameters
    ----------
    student
        The model.
    nearest
        Å, as from `nearest_distances`.
    """
    curves = {}
    for name, end in nearest.items():
        first, second = name.split("-")
        distances = np.geomspace(CLOSEST, student.cutoff + _BEYOND_CUTOFF, _POINTS)
        free = student.e0[first] + student.e0[second]
        # Evaluated without the watch, to which every one of them would be an extrapolation.
        energies = np.array(
            [student.evaluate(dimer(first, second, r)).energies.sum() - free for r in distances]
        )
        overlap = min(end, _OVERLAP * _radii(first, second))
        curves[name] = PairCurve(
            distances=distances.tolist(),
            energies=energies.tolist(),
            nearest=end,
            overlap=overlap,
            problem=_problem(distances, energies, overlap, end),
        )
    return PairCurves(pairs=curves)


def dimer(first: str, second: str, distance: float) -> Atoms:
    """Two free atoms at a distance, Å."""
    from ase import Atoms

    return Atoms([first, second], [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])


def restraint_dimers(curves: PairCurves, count: int) -> list[Atoms]:
    """Dimers of the pairs with a problem, `count` of each, at distances that the data lack."""
    found = []
    for name, curve in curves.problems.items():
        first, second = name.split("-")
        farthest = max(curve.nearest, CLOSEST)
        distances = np.geomspace(CLOSEST, farthest, count, endpoint=False)
        found += [dimer(first, second, distance) for distance in distances]
    return found


def _problem(distances: np.ndarray, energies: np.ndarray, overlap: float, nearest: float) -> str:
    """What is wrong with a pair's curve below the nearest distance of the data."""
    told = f"where the data begin at {nearest:.2f} Å"
    inside = np.flatnonzero(distances <= overlap)
    rising = [k for k in inside[:-1] if energies[k + 1] - energies[k] > _FLAT]
    if rising:
        return (
            f"attracts each other below {distances[rising[-1] + 1]:.2f} Å "
            f"({energies[0]:.0f} eV at {CLOSEST:g} Å), {told}"
        )
    without = distances < nearest
    deepest = int(np.argmin(np.where(without, energies, np.inf)))
    if without.any() and energies[deepest] < -_STRONGEST_BOND:
        return (
            f"is bound by {-energies[deepest]:.0f} eV at {distances[deepest]:.2f} Å, more than any "
            f"two atoms are, {told}"
        )
    return ""


def _pairs(elements: Sequence[str]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    return list(combinations_with_replacement(enumerate(elements), 2))


def _radii(first: str, second: str) -> float:
    from ase.data import atomic_numbers, covalent_radii

    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in (first, second)))
