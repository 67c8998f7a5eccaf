"""Harmonic oscillators of a student and its teacher, whose averages are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import kB
from scipy.signal import lfilter

TEMPERATURE = 300.0
_KT = kB * TEMPERATURE


@dataclass(frozen=True)
class Oscillators:
    """Equal oscillators of 1 eV/Å²; the observable is the mean of all squares, or of all shifts.

    Attributes
    ----------
    modes
        How many there are.
    stiffer
        The teacher's stiffness over the student's.
    shifted
        How far its energies differ, in kT, because its oscillators rest elsewhere; the observable
        is the mean shift then.
    """

    modes: int
    stiffer: float = 1.0
    shifted: float = 0.0

    @property
    def _shift(self) -> float:
        return self.shifted * float(np.sqrt(_KT / self.modes))

    @property
    def teachers_mean(self) -> float:
        """Of the observable, Å² or Å."""
        return self._shift if self.shifted else _KT / self.stiffer

    @property
    def free_energy(self) -> float:
        """Teacher minus student, eV."""
        return 0.5 * self.modes * _KT * float(np.log(self.stiffer))

    def sampled(
        self,
        rng: np.random.Generator,
        *,
        calls: int,
        runs: int = 4,
        frames: int = 1000,
        memory: float = 5.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The observable, and the differences of energies with NaN where there is no call.

        The student's runs, of shape (runs, frames), forget within `memory` frames.
        """
        keep = np.exp(-1 / memory)
        noise = rng.normal(size=(runs, frames, self.modes))
        noise[:, 1:] *= np.sqrt(1 - keep**2)
        x = np.sqrt(_KT) * lfilter([1.0], [1.0, -keep], noise, axis=1)
        energies = 0.5 * self.stiffer * np.sum((x - self._shift) ** 2, axis=2)
        differences = np.full((runs, frames), np.nan)
        every = runs * frames // calls
        differences[:, ::every] = (energies - 0.5 * np.sum(x**2, axis=2))[:, ::every]
        values = x if self.shifted else x**2
        return values.mean(axis=2), differences
