"""Calculators that take a known time, for tests of the timing."""

from __future__ import annotations

import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Sleeper(Calculator):
    """Sleeps for `energy_s` when asked for the energy, `forces_s` when asked for forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, energy_s: float, forces_s: float) -> None:
        super().__init__()
        self.energy_s, self.forces_s = energy_s, forces_s

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(self.forces_s if "forces" in properties else self.energy_s)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


class Broken(Calculator):
    """Fails at every call."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        raise RuntimeError("no energy today")
