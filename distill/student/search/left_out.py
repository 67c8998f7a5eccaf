"""Fits to parts of the data, and their errors on what they leave out.

Errors of structures differ by orders of magnitude, and the few largest, on structures far from all
others, say little of the rest: the error of a basis is the geometric mean over sources of their
root mean square force errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.data.structures import reference_forces
from distill.student.engine.evaluate import make_potential, species_indices
from distill.student.engine.neighbours import Neighbours, list_neighbours
from distill.student.fit.evidence import Posterior, most_evident

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import Basis

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
# (fold, kind) of structures.
Cell = tuple[int, int]

# Up to this size the power of the prior is chosen too; beyond, a smaller basis hands it on.
_POWER_SIZE = 1500
# Strengths tried around that of the smaller basis.
_STRENGTH_STEPS = (0.1, 1.0, 10.0)
_GAIN = 0.1
# eV/Å: a smaller error is not told from none.
_NO_ERROR = 1e-6


@dataclass(frozen=True)
class Measured:
    """Errors of a basis on folds and on kinds left out, eV/Å; `far` is None without a kind."""

    near: float
    far: float | None


@dataclass(frozen=True)
class Fits:
    """Moments of the parts of the data, in the columns of a union of bases.

    Attributes
    ----------
    cells
        Moments of each (fold, kind).
    whole
        Of all rows together.
    rows
        Their number.
    """

    cells: Mapping[Cell, Array]
    whole: Array
    rows: int

    def posterior(
        self,
        columns: Indices,
        prior: Callable[[float], Array],
        start: tuple[float, float] | None,
    ) -> Posterior:
        """The fit of some columns to all of the data, of greatest evidence.

        Parameters
        ----------
        columns
            Of the basis in the union, (n,).
        prior
            γ of a power, (n,).
        start
            (p, λ) of a smaller basis.
        """
        full = np.append(columns, self.whole.shape[0] - 1)
        square = self.whole[np.ix_(full, full)]

        def triangle(diagonal: Array) -> Array:
            return _cholesky(square, diagonal)

        if start is None or len(columns) <= _POWER_SIZE:
            norms = np.sqrt(np.diag(square)[None, :-1])
            return most_evident(triangle, prior, self.rows, design=norms, gain=_GAIN)
        power, strength = start
        found = []
        for factor in _STRENGTH_STEPS:
            diagonal = np.sqrt(factor * strength) * prior(power)
            posterior = Posterior(triangle(diagonal), diagonal, self.rows, power, factor * strength)
            found.append(posterior)
        return max(found, key=lambda posterior: posterior.log_evidence)

    def without(self, columns: Indices, diagonal: Array, left_out: Sequence[Cell]) -> Array:
        """Coefficients of some columns from a fit without some cells, (functions of the union,)."""
        kept = [moments for cell, moments in self.cells.items() if cell not in left_out]
        less = len(left_out) < len(kept)
        full = np.ix_(*[np.append(columns, self.whole.shape[0] - 1)] * 2)
        if less:
            square = self.whole[full] - sum(self.cells[cell][full] for cell in left_out)
        else:
            square = sum((moments[full] for moments in kept), 0 * self.whole[full])
        coefficients = np.zeros(self.whole.shape[0] - 1)
        coefficients[columns] = _solution(square, diagonal)
        return coefficients

    def folds(self) -> list[list[Cell]]:
        """Cells by fold."""
        return self._grouped(0)

    def kinds(self) -> list[list[Cell]]:
        """Cells by kind, those of no kind left aside."""
        return self._grouped(1)

    def _grouped(self, place: int) -> list[list[Cell]]:
        names = sorted({cell[place] for cell in self.cells} - {-1})
        return [[cell for cell in sorted(self.cells) if cell[place] == name] for name in names]


@dataclass(frozen=True)
class Labelled:
    """A structure as it is judged: its source, neighbours within the largest cutoff, forces."""

    source: str
    species: Indices
    neighbours: Neighbours
    forces: Array


def labelled(atoms: Atoms, source: str, basis: Basis) -> Labelled | None:
    """A structure to judge fits by; None without forces."""
    forces = reference_forces(atoms)
    if forces is None or len(forces) == 0:
        return None
    species = species_indices(basis.elements, atoms)
    return Labelled(source, species, list_neighbours(atoms, basis.cutoff), forces)


@dataclass(frozen=True)
class Judge:
    """Errors of fits on the structures that they leave out.

    Attributes
    ----------
    basis
        The union that coefficients are of.
    members
        Structures with forces of each cell, with their source.
    threads
        Fits in work at once.
    """

    basis: Basis
    members: Mapping[Cell, Sequence[Labelled]]
    threads: int

    def measured(self, fits: Fits, columns: Indices, diagonal: Array) -> Measured:
        """Errors of the basis of some columns on folds and on kinds left out."""
        near = self.error(fits, columns, diagonal, [(fold, fold) for fold in fits.folds()])
        kinds = [(kind, kind) for kind in fits.kinds()]
        return Measured(near, self.error(fits, columns, diagonal, kinds) if kinds else None)

    def learning(self, fits: Fits, columns: Indices, diagonal: Array) -> list[float]:
        """Errors on each fold by fits to one of the others, and so on to all but one, eV/Å."""
        folds = fits.folds()
        return [
            self.error(
                fits,
                columns,
                diagonal,
                [
                    (fold, [c for step in range(skipped) for c in folds[(k - step) % len(folds)]])
                    for k, fold in enumerate(folds)
                ],
            )
            for skipped in range(len(folds) - 1, 1, -1)
        ]

    def error(
        self,
        fits: Fits,
        columns: Indices,
        diagonal: Array,
        parts: Sequence[tuple[Sequence[Cell], Sequence[Cell]]],
    ) -> float:
        """Geometric mean over sources of the root mean square force error, eV/Å.

        Parameters
        ----------
        fits
            The data.
        columns, diagonal
            The basis and its prior.
        parts
            Cells whose structures are judged, and cells that the fit leaves out for them.
        """

        def squares(part: tuple[Sequence[Cell], Sequence[Cell]]) -> list[tuple[str, float, int]]:
            judged, left_out = part
            coefficients = fits.without(columns, diagonal, left_out)
            none = dict.fromkeys(self.basis.elements, 0.0)
            potential = make_potential(self.basis, coefficients, none)
            found = []
            for cell in judged:
                for one in self.members[cell]:
                    forces = potential.evaluate_pairs(one.species, *one.neighbours).forces
                    square = float(np.sum((forces - one.forces) ** 2))
                    found.append((one.source, square, one.forces.size))
            return found

        sums: dict[str, list[float]] = {}
        with ThreadPoolExecutor(self.threads) as executor:
            for found in executor.map(squares, parts):
                for source, square, count in found:
                    entry = sums.setdefault(source, [0.0, 0.0])
                    entry[0] += square
                    entry[1] += count
        values = [max(np.sqrt(square / count), _NO_ERROR) for square, count in sums.values()]
        return float(np.exp(np.mean(np.log(values))))


def _cholesky(square: Array, diagonal: Array) -> Array:
    """Triangle [T t; 0 ε] of moments with a diagonal; a strength below rounding is raised."""
    from scipy.linalg import lapack

    n = len(diagonal)
    places = np.arange(n)
    lift = 0.0
    while True:
        matrix = np.array(square, order="F")
        matrix[places, places] += diagonal**2 + lift * np.diag(square)[:n]
        triangle, info = lapack.dpotrf(matrix, clean=1, overwrite_a=1)
        if info == 0:
            return np.asarray(triangle)
        lift = max(10 * lift, np.finfo(float).eps)


def _solution(square: Array, diagonal: Array) -> Array:
    from scipy.linalg import solve_triangular

    triangle = _cholesky(square, diagonal)
    return np.asarray(solve_triangular(triangle[:-1, :-1], triangle[:-1, -1], check_finite=False))
