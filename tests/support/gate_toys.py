"""Calculators that pass the gates, and some that each fail one of them."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

# Of a Morse potential: eV, 1/Å, Å.
DEPTH, WIDTH, LENGTH = 0.1, 1.2, 3.0
CUTOFF = 4.5


class Changed(Calculator):
    """A Morse potential between all atoms of a cluster, and what a kind of it makes of that."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    cutoff = np.inf

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        apart = self.atoms.positions[:, None] - self.atoms.positions
        r = np.linalg.norm(apart, axis=2) + 1e9 * np.eye(len(apart))
        falling = np.exp(-WIDTH * (r - LENGTH)) * (r < self.cutoff)
        energy = 0.5 * DEPTH * float((falling**2 - 2 * falling).sum())
        slope = 2 * DEPTH * WIDTH * (falling - falling**2)
        forces = -(slope / r)[:, :, None] * apart
        energy, forces = self.change(energy, forces.sum(axis=1))
        self.results = {"energy": energy, "forces": forces}

    def change(self, energy, forces):
        return energy, forces


class Steep(Changed):
    """A hundred times as deep, so that it pushes with keV/Å at 1 Å."""

    def change(self, energy, forces):
        return 100 * energy, 100 * forces


class NotExtensive(Changed):
    """An energy that grows faster than the number of atoms."""

    def change(self, energy, forces):
        return energy + 1e-4 * len(forces) ** 2, forces


class Direct(Changed):
    """Forces turned about an axis: no gradient of anything."""

    def change(self, energy, forces):
        turned = forces @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
        return energy, 0.9 * forces + 0.1 * turned


class OtherEnergy(Changed):
    """Forces that are the gradient of another energy."""

    def change(self, energy, forces):
        return 1.2 * energy, forces


class Pushed(Changed):
    """A net force on all atoms."""

    def change(self, energy, forces):
        return energy, forces + np.array([1e-3, 0, 0])


class Sharp(Changed):
    """A potential that ends at its cutoff without a smooth end."""

    cutoff = CUTOFF


class Exploding(Changed):
    """Forces that drive atoms apart, ever faster."""

    def change(self, energy, forces):
        centre = self.atoms.positions.mean(axis=0)
        return energy, forces + 5.0 * (self.atoms.positions - centre)
