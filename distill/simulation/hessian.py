"""Hessians of some atoms of a structure: what a stationary point is, and its zero-point energy.

Central differences of the forces; the other atoms stand still. Of a symmetric matrix a block has no
more negative eigenvalues than the whole (Cauchy's interlacing), so two in a block of few atoms are
two in the crystal, while one in a block may be joined by another in a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.simulation.dynamics import ACCELERATION, Forces
from distill.simulation.rovibrational import HBAR

# Å. Errors of the central difference grow with its square: moved across its bond by 0.01 Å, a free
# hydrogen molecule stretches, and its rotation seems to bend down by more than what is flat.
DISPLACEMENT = 0.005
# eV/Å²: flatter is flat. A molecule in the vacuum turns and drifts freely, and a potential that was
# fitted has ripples; on hydrogen it is a wave number of 52 cm⁻¹.
FLAT = 0.01
# Force calls for each atom.
CALLS_AN_ATOM = 6
# Eigenvalues that a summary holds.
_LOWEST = 6
# 1/cm in one eV.
_WAVE_NUMBERS = 1 / units.invcm


@dataclass(frozen=True)
class Curvature:
    """The Hessian of some atoms.

    Attributes
    ----------
    atoms
        Their indices, shape (n,).
    matrix
        eV/Å², shape (3n, 3n).
    masses
        amu, shape (n,).
    """

    atoms: np.ndarray
    matrix: np.ndarray
    masses: np.ndarray

    @property
    def calls(self) -> int:
        """Force calls that it took."""
        return CALLS_AN_ATOM * len(self.atoms)

    @cached_property
    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.matrix)
        return values, vectors.T.reshape(-1, len(self.atoms), 3)

    @cached_property
    def _quanta(self) -> tuple[np.ndarray, np.ndarray]:
        roots = np.sqrt(np.repeat(self.masses, 3))
        values, vectors = np.linalg.eigh(self.matrix / np.outer(roots, roots))
        energies = HBAR * np.sign(values) * np.sqrt(np.abs(values) * ACCELERATION)
        return energies, (vectors.T / roots).reshape(-1, len(self.atoms), 3)

    @property
    def eigenvalues(self) -> np.ndarray:
        """eV/Å², ascending, shape (3n,)."""
        return self._modes[0]

    @property
    def modes(self) -> np.ndarray:
        """Unit vectors of the eigenvalues, shape (3n, n, 3)."""
        return self._modes[1]

    @property
    def negative(self) -> int:
        """Directions in which the energy falls: 0 at a minimum, 1 at a saddle of first order."""
        return int(np.sum(self.eigenvalues < -FLAT))

    @property
    def quanta(self) -> np.ndarray:
        """ħω of the harmonic vibrations, eV, ascending, shape (3n,); negative if imaginary."""
        return self._quanta[0]

    @property
    def zero_point_energy(self) -> float:
        """Half the quanta of all real vibrations, eV."""
        return 0.5 * float(self.quanta[self.quanta > 0].sum())

    @property
    def crossover_temperature(self) -> float | None:
        """Where tunnelling takes over from hopping, ħω / (2π k), K; None without a way down.

        Hänggi, Talkner and Borkovec, Rev. Mod. Phys. 62, 251 (1990).
        """
        if not self.negative:
            return None
        return float(-self.quanta[0] / (2 * np.pi * units.kB))

    @property
    def way_down(self) -> np.ndarray:
        """Displacements of the imaginary vibration that is lowest, unit vector, shape (n, 3)."""
        mode = self._quanta[1][0]
        return np.asarray(mode / np.linalg.norm(mode))

    def summary(self) -> dict[str, Any]:
        """Numbers for JSON."""
        return {
            "atoms": self.atoms,
            "lowest_eigenvalues_eV_per_A2": self.eigenvalues[:_LOWEST],
            "negative": self.negative,
            "lowest_wave_number_per_cm": float(self.quanta[0] * _WAVE_NUMBERS),
            "zero_point_energy_eV": self.zero_point_energy,
        }


def curvature(structure: Atoms, calculator: Calculator, *groups: Sequence[int]) -> Curvature:
    """The Hessian of groups of atoms; of the first alone where that shows two ways down already.

    Parameters
    ----------
    structure
        A stationary point.
    calculator
        Any ASE calculator, asked six times for each atom.
    groups
        Indices; those that came in an earlier group are passed over.
    """
    force = Forces(structure, calculator)
    masses = structure.get_masses()
    atoms: list[int] = []
    columns: list[np.ndarray] = []
    found = None
    for group in groups:
        further = [int(index) for index in group if index not in atoms]
        columns += [
            _column(force, structure.positions, i, axis) for i in further for axis in range(3)
        ]
        atoms += further
        matrix = np.array(columns)[:, atoms].reshape(3 * len(atoms), -1)
        found = Curvature(np.array(atoms), 0.5 * (matrix + matrix.T), masses[atoms])
        if found.negative > 1:
            break
    assert found is not None
    return found


def _column(force: Forces, positions: np.ndarray, atom: int, xyz: int) -> np.ndarray:
    """How all gradients change with one coordinate, eV/Å², shape (N, 3)."""
    moved = positions.copy()
    sides = []
    for sign in (1, -1):
        moved[atom, xyz] = positions[atom, xyz] + sign * DISPLACEMENT
        sides.append(force(moved)[1])
    return np.asarray((sides[1] - sides[0]) / (2 * DISPLACEMENT))
