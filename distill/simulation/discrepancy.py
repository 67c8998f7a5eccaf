"""What a teacher's energy surface has more than its student's, learned from a few calls.

A Gaussian process with a squared exponential kernel on the positions of the atoms that move, from
differences of energies and forces. As the student is close, little is left to learn, which varies
slowly. Sources: Koistinen et al., J. Chem. Phys. 147, 152720 (2017), and Garrido Torres et al.,
Phys. Rev. Lett. 122, 156001 (2019), for bands on such surfaces; here the process is of the
difference to a student and not of the energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from distill.models.answering import AnsweringCalculator

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]

# Å, in the space of all atoms that move; that of the largest likelihood is taken.
_LENGTHS = (0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0)
# Of the variance: far below what matters, enough for the factor to exist.
_JITTER = 1e-7


@dataclass(frozen=True)
class Called:
    """A call of teacher and student at the same positions.

    Attributes
    ----------
    positions
        Å, (N, 3).
    energy
        Teacher minus student, eV.
    forces
        The same, eV/Å, (N, 3).
    """

    positions: Array
    energy: float
    forces: Array


class Discrepancy:
    """The process, given some calls.

    Parameters
    ----------
    calls
        At least one.
    mobile
        Indices of the atoms whose positions it depends on.
    """

    def __init__(self, calls: Sequence[Called], mobile: NDArray[np.int64]) -> None:
        self._mobile = mobile
        self._points = np.array([call.positions[mobile].ravel() for call in calls])
        energies = np.array([call.energy for call in calls])
        slopes = np.array([-call.forces[mobile].ravel() for call in calls])
        self._mean = float(energies.mean())
        data = np.concatenate([energies - self._mean, slopes.ravel()])
        best = max((_fitted(self._points, data, length) for length in _LENGTHS), key=lambda f: f[0])
        _, self._length, self._variance, self._factor, weights = best
        self._of_energies = weights[: len(calls)]
        self._of_slopes = weights[len(calls) :].reshape(len(calls), -1)

    def evaluate(self, positions: Array) -> tuple[float, Array]:
        """Energy (eV) and forces (eV/Å, (N, 3)) to be added to the student's at positions (Å)."""
        apart = positions[self._mobile].ravel() - self._points
        square = self._length**2
        kernel = np.exp(-0.5 * np.sum(apart**2, axis=1) / square)
        along = np.sum(self._of_slopes * apart, axis=1)
        energy = self._mean + np.sum(kernel * (self._of_energies + along / square))
        slope = (kernel / square) @ self._of_slopes
        slope -= (kernel * (self._of_energies + along / square) / square) @ apart
        forces = np.zeros_like(positions)
        forces[self._mobile] = -slope.reshape(-1, 3)
        return float(energy), forces

    def deviation(self, positions: Array) -> float:
        """Standard deviation of the energy at positions (Å), eV."""
        apart = positions[self._mobile].ravel() - self._points
        kernel = np.exp(-0.5 * np.sum(apart**2, axis=1) / self._length**2)
        row = np.concatenate([kernel, (kernel[:, None] * apart / self._length**2).ravel()])
        left = 1.0 - row @ cho_solve(self._factor, row)
        return float(np.sqrt(self._variance * max(left, 0.0)))


def _fitted(points: Array, data: Array, length: float) -> tuple[float, float, float, Any, Array]:
    """Log likelihood, length, variance, factor of the kernel matrix, and its solution."""
    matrix = _kernel_matrix(points, length)
    scale = np.sqrt(np.diag(matrix))
    matrix[np.diag_indices_from(matrix)] += _JITTER * scale**2
    factor = cho_factor(matrix, lower=True)
    solution = cho_solve(factor, data)
    variance = max(float(data @ solution) / len(data), 1e-12)
    likelihood = -0.5 * len(data) * np.log(variance) - np.sum(np.log(np.diag(factor[0])))
    return float(likelihood), length, variance, factor, solution


def _kernel_matrix(points: Array, length: float) -> Array:
    """Covariances of energies and of slopes at points, energies first, (m + m d, m + m d)."""
    count, dimension = points.shape
    square = length**2
    apart = points[:, None] - points[None]
    kernel = np.exp(-0.5 * np.sum(apart**2, axis=2) / square)
    mixed = kernel[..., None] * apart / square
    slopes = np.eye(dimension) / square - apart[..., :, None] * apart[..., None, :] / square**2
    slopes = (kernel[..., None, None] * slopes).transpose(0, 2, 1, 3)
    size = count * dimension
    matrix = np.empty((count + size, count + size))
    matrix[:count, :count] = kernel
    matrix[:count, count:] = mixed.reshape(count, size)
    matrix[count:, :count] = matrix[:count, count:].T
    matrix[count:, count:] = slopes.reshape(size, size)
    return matrix


class Corrected(AnsweringCalculator):
    """A student's energy [eV] and forces [eV/Å] with what a process adds to them.

    Parameters
    ----------
    student
        ASE calculator.
    discrepancy
        Of its teacher.
    """

    def __init__(self, student: Calculator, discrepancy: Discrepancy) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces"]
        self.student, self.discrepancy = student, discrepancy

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Both parts, added."""
        self.student.calculate(atoms, ["energy", "forces"], list(all_changes))
        energy, forces = self.discrepancy.evaluate(atoms.positions)
        return {
            "energy": float(self.student.results["energy"]) + energy,
            "forces": np.asarray(self.student.results["forces"]) + forces,
        }
