"""Calculators that take a known time by a clock of their own, for tests of the timing.

A process that makes a `Timed` calculator has no other clock from then on: timings are the same on
any machine, however busy.
"""

from __future__ import annotations

import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Clock:
    """A clock that stands still but for the work done; every third half second the work is slow."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        slow = int(2 * self.now) % 3 == 2
        self.now += 1.5 * seconds if slow else seconds


CLOCK = Clock()


class Timed(Calculator):
    """Takes `energy_s` when asked for the energy, `forces_s` when asked for forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, energy_s: float, forces_s: float) -> None:
        super().__init__()
        self.energy_s, self.forces_s = energy_s, forces_s
        time.perf_counter = CLOCK.read

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        CLOCK.work(self.forces_s if "forces" in properties else self.energy_s)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


class Broken(Calculator):
    """Fails at every call."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        raise RuntimeError("no energy today")
