"""Calculators of a few microseconds whose diffusion is known."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from distill.data.structures import write_structures

SPACING = 4.0


class CosineLattice(Calculator):
    """Atoms that hop, each on its own, between the minima of a cosine potential.

    F atoms sit at the corners of cubes of 4 Å behind high barriers, a Li atom at the centres.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, barrier: float = 0.08, framework: float = 5.0, pull: float = 0.0) -> None:
        super().__init__()
        self.barrier, self.framework, self.pull = barrier, framework, pull

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        mobile = self.atoms.numbers == 3
        depth = np.where(mobile, -self.barrier, self.framework)[:, None]
        phase = 2 * np.pi * self.atoms.positions / SPACING
        forces = -np.pi / SPACING * depth * np.sin(phase)
        energy = float(np.sum(0.5 * depth * (1 - np.cos(phase))))
        if self.pull:
            forces[mobile, 0] += self.pull
            energy -= self.pull * float(self.atoms.positions[mobile, 0].sum())
        self.results = {"energy": energy, "forces": forces}


def runaway() -> CosineLattice:
    """The mobile atom is pulled uphill for ever."""
    return CosineLattice(pull=0.5)


def liquid() -> CosineLattice:
    """Nothing holds the framework."""
    return CosineLattice(framework=0.0)


def stiff() -> CosineLattice:
    """Nothing hops."""
    return CosineLattice(barrier=3.0)


def other_emt() -> EMT:
    """EMT with another cutoff: nearly the same crystal."""
    return EMT(asap_cutoff=True)


def write_crystal(path: Any, filled: bool = False) -> str:
    """A file with the framework's primitive cell, with a Li atom if `filled`; its name."""
    crystal = bulk("F", "sc", a=SPACING)
    if filled:
        crystal = bulk("FLi", "cesiumchloride", a=SPACING)
    write_structures(path, [crystal])
    return str(path)
