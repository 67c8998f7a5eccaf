"""Calculators that stand for reference, teacher and student in tests of the stage."""

from __future__ import annotations

from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Scaled(Calculator):
    """ASE's effective medium theory with all energies and forces scaled by a factor."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.inner = EMT()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(atoms, ["energy", "forces"], all_changes)
        self.results = {k: self.factor * self.inner.results[k] for k in ("energy", "forces")}


class Teacher(Scaled):
    """3 % above the reference."""

    factor = 1.03


class Student(Scaled):
    """1 % above the teacher."""

    factor = 1.03 * 1.01
