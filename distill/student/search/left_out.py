"""Errors of a basis on data left out, from moments alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.student.fit.evidence import Posterior, most_evident
from distill.student.search.moments import Moments

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
# (fold, kind) of structures.
Cell = tuple[int, int]

# Up to this size the power of the prior is chosen too; beyond, a smaller basis hands it on.
_POWER_SIZE = 1500
# Strengths tried around that of the smaller basis.
_STRENGTH_STEPS = (0.1, 1.0, 10.0)
_GAIN = 0.1


@dataclass(frozen=True)
class Measured:
    """A basis on the data of a stage.

    Attributes
    ----------
    posterior
        The fit to all of the data, which the strength and the power of the prior are taken from.
    near, far
        Root mean square force errors, eV/Å, on folds and on kinds left out; `far` is None without
        a kind.
    """

    posterior: Posterior
    near: float
    far: float | None

    @property
    def score(self) -> float:
        """What is least for the best: the geometric mean of both errors, eV/Å."""
        return self.near if self.far is None else float(np.sqrt(self.near * self.far))


@dataclass(frozen=True)
class Data:
    """Moments of the parts of the data, in the columns of a union of bases.

    Attributes
    ----------
    cells
        Moments of each (fold, kind).
    whole
        Of all rows together.
    threads
        Fits in work at once.
    """

    cells: Mapping[Cell, Moments]
    whole: Array
    threads: int

    @classmethod
    def of(cls, cells: Mapping[Cell, Moments], threads: int) -> Data:
        """With the sum of all cells."""
        every = np.arange(next(iter(cells.values())).forces.shape[0])
        whole = np.zeros((len(every), len(every)))
        for moments in cells.values():
            whole += moments.of(every)
        return cls(cells, whole, threads)

    def measured(
        self,
        columns: Indices,
        prior: Callable[[float], Array],
        start: tuple[float, float] | None,
    ) -> Measured:
        """Errors of the basis of some columns on what is left out of its fits.

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
        rows = sum(moments.rows for moments in self.cells.values())
        square = self.whole[np.ix_(full, full)]
        posterior = self._posterior(square, prior, rows, start)
        near = self.error(columns, posterior, self._groups(0))
        kinds = self._groups(1)
        far = self.error(columns, posterior, kinds) if kinds else None
        assert near is not None
        return Measured(posterior, near, far)

    def error(
        self,
        columns: Indices,
        posterior: Posterior,
        groups: Iterable[Sequence[Cell]],
        kept: Callable[[Sequence[Cell]], Sequence[Cell]] | None = None,
    ) -> float:
        """Root mean square force error over groups of cells, each left out of a fit, eV/Å.

        Parameters
        ----------
        columns, posterior
            The basis and its prior.
        groups
            Cells that are left out together.
        kept
            The cells to fit to when a group is left out; all others if None.
        """
        full = np.append(columns, self.whole.shape[0] - 1)
        whole = self.whole[np.ix_(full, full)]

        def one(group: Sequence[Cell]) -> tuple[float, float]:
            if kept is None:
                square = whole - sum(self.cells[cell].of(full) for cell in group)
            else:
                square = sum((self.cells[cell].of(full) for cell in kept(group)), 0 * whole)
            coefficients = _solution(square, posterior.diagonal)
            squared = sum(self.cells[c].squared_force_error(full, coefficients) for c in group)
            return squared, sum(self.cells[c].force_weight for c in group)

        with ThreadPoolExecutor(self.threads) as executor:
            found = list(executor.map(one, groups))
        return float(np.sqrt(sum(s for s, _ in found) / max(sum(w for _, w in found), 1e-300)))

    def _groups(self, place: int) -> list[list[Cell]]:
        """Cells by fold (place 0) or by kind (place 1), those of no kind left aside."""
        names = sorted({cell[place] for cell in self.cells} - {-1})
        return [[cell for cell in sorted(self.cells) if cell[place] == name] for name in names]

    def learning(self, columns: Indices, posterior: Posterior) -> list[float]:
        """Errors on each fold left out by fits to one of the others, to two, and so on, eV/Å."""
        folds = self._groups(0)
        errors = []
        for count in range(1, len(folds)):

            def kept(group: Sequence[Cell], count: int = count) -> list[Cell]:
                first = next(k for k, fold in enumerate(folds) if fold == group)
                return [
                    cell
                    for step in range(1, count + 1)
                    for cell in folds[(first + step) % len(folds)]
                ]

            errors.append(self.error(columns, posterior, folds, kept))
        return errors

    def _posterior(
        self,
        square: Array,
        prior: Callable[[float], Array],
        rows: int,
        start: tuple[float, float] | None,
    ) -> Posterior:
        def triangle(diagonal: Array) -> Array:
            return _cholesky(square, diagonal)

        norms = np.sqrt(np.diag(square)[None, :-1])
        if start is None or square.shape[0] <= _POWER_SIZE:
            return most_evident(triangle, prior, rows, design=norms, gain=_GAIN)
        power, strength = start
        found = []
        for factor in _STRENGTH_STEPS:
            diagonal = np.sqrt(factor * strength) * prior(power)
            found.append(Posterior(triangle(diagonal), diagonal, rows, power, factor * strength))
        return max(found, key=lambda posterior: posterior.log_evidence)


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
