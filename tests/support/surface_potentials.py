"""Fast potentials with known answers, as models that workers load by import path."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

# The import paths that configs and workers use; pytest puts this folder on sys.path.
STICKY = "surface_potentials:MorseSurface"
WALL = "surface_potentials:Wall"
UNSTABLE = "surface_potentials:Unstable"
DOUBLE_WELL = "surface_potentials:DoubleWell"
RIDGE = "surface_potentials:Ridge"

# Depth eV, range 1/Å, bond Å, by the two atomic numbers' sum: H-H (the Morse curve of H2, Huber
# and Herzberg), Cu-Cu, and Cu-H.
MORSE = {2: (4.748, 1.942, 0.7414), 58: (0.34, 1.36, 2.57), 30: (1.7, 1.5, 2.1)}
# The nearest image is enough up to half the height of a 3 x 3 cell.
CUTOFF = 3.2
WIDTH = 0.6


def morse(depth: float, a: float, bond: float, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Morse energy (eV), zero when apart, and its derivative at distances r (Å)."""
    decay = np.exp(-a * (r - bond))
    return depth * (decay**2 - 2 * decay), -2 * a * depth * (decay**2 - decay)


class MorseSurface(Calculator):
    """Pairwise Morse potentials, smoothly cut off, on which H2 dissociates."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    parameters_by_pair = MORSE

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        n = len(atoms)
        i, j = np.triu_indices(n, 1)
        vectors = atoms.positions[j] - atoms.positions[i]
        if atoms.pbc.any():
            fractions = vectors @ np.linalg.inv(atoms.cell.array)
            vectors -= np.round(fractions) @ atoms.cell.array
        r = np.linalg.norm(vectors, axis=1)
        energy, slope = np.zeros(len(r)), np.zeros(len(r))
        pairs = atoms.numbers[i] + atoms.numbers[j]
        for pair, parameters in self.parameters_by_pair.items():
            members = pairs == pair
            energy[members], slope[members] = morse(*parameters, r[members])
        x = np.clip((r - CUTOFF + WIDTH) / WIDTH, 0, 1)
        window = (1 - x) ** 3 * (1 + 3 * x + 6 * x**2)
        slope = slope * window - energy * 30 * x**2 * (1 - x) ** 2 / WIDTH
        pull = (slope / r)[:, None] * vectors
        forces = np.zeros((n, 3))
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        self.results = {"energy": float(np.sum(energy * window)), "forces": forces}


class Wall(MorseSurface):
    """A surface that only repels H2."""

    parameters_by_pair = {**MORSE, 30: (0.005, 2.0, 2.7)}  # noqa: RUF012


class DoubleWell(Calculator):
    """One atom in x⁴ - 2x² + y²/2 + z²/2 (eV, Å): minima at x = ±1, a barrier of 1 eV at 0."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0]
        forces = np.zeros((len(atoms), 3))
        forces[0] = [4 * x - 4 * x**3, -y, -z]
        self.results = {"energy": x**4 - 2 * x**2 + (y**2 + z**2) / 2, "forces": forces}


class Ridge(Calculator):
    """One atom in (x² - 1)² + y² (x² - a) + c y³ + y⁴/2 + z²/2 (eV, Å), mirrored in x.

    Along y = 0, which forces never leave, the way from x = -1 to 1 climbs to 1 eV at 0. With a > 0
    that is a saddle of second order between two of first order, beside it along y; the ends at
    x = ±1 are minima if a < 1.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    a, c = 0.3, 0.0

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0]
        energy = (x**2 - 1) ** 2 + y**2 * (x**2 - self.a) + self.c * y**3 + y**4 / 2 + z**2 / 2
        forces = np.zeros((len(atoms), 3))
        slope = 2 * y * (x**2 - self.a) + 3 * self.c * y**2 + 2 * y**3
        forces[0] = [-4 * x * (x**2 - 1) - 2 * x * y**2, -slope, -z]
        self.results = {"energy": energy, "forces": forces}


class Unstable(MorseSurface):
    """A surface whose forces do not belong to its energy: total energy is not conserved."""

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = 1.5 * self.results["forces"]


class Counted(MorseSurface):
    """The sticky surface, counting its calls in this process."""

    calls = 0

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        Counted.calls += 1
        super().calculate(atoms, properties, system_changes)
