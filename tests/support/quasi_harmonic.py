"""Crystals of oscillators whose stiffness depends on the volume: pressures and sizes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.units import kB
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.signal import lfilter

from distill.metrics.isochores import Isochore
from distill.models.answering import AnsweringCalculator

TEMPERATURE = 600.0
KT = kB * TEMPERATURE
_DERIVATIVE = 4
# Å, of the fcc crystal at rest.
LENGTH = 4.05


@dataclass(frozen=True)
class Solid:
    """Oscillators of energy ½ k(V) x², with k(V) = stiffness (V / rest)^(−2 grueneisen), eV/Å².

    The static energy is Murnaghan's, with its minimum at the volume `rest` (Å³), a `modulus`
    (eV/Å³) and a derivative of 4.
    """

    modes: int
    rest: float
    stiffness: float = 3.0
    grueneisen: float = 2.0
    modulus: float = 0.8

    def stiffness_at(self, volume: float) -> float:
        """k(V), eV/Å²."""
        return float(self.stiffness * (volume / self.rest) ** (-2 * self.grueneisen))

    def energy(self, volume: float, squares: Any) -> Any:
        """Of sums of x², eV."""
        shrunk = self.rest / volume
        static = self.modulus * volume / _DERIVATIVE * (shrunk**_DERIVATIVE / (_DERIVATIVE - 1) + 1)
        static -= self.modulus * self.rest / (_DERIVATIVE - 1)
        return static + 0.5 * self.stiffness_at(volume) * squares

    def pressure(self, volume: float, squares: Any) -> Any:
        """Of sums of x², eV/Å³."""
        static = self.modulus / _DERIVATIVE * ((self.rest / volume) ** _DERIVATIVE - 1)
        return static + self.grueneisen / volume * self.stiffness_at(volume) * squares

    def mean_pressure(self, volume: float) -> float:
        """In its own ensemble, eV/Å³."""
        return float(self.pressure(volume, self.modes * KT / self.stiffness_at(volume)))

    def free_energy(self, volume: float) -> float:
        """But for a constant, eV."""
        vibrations = 0.5 * self.modes * KT * np.log(self.stiffness_at(volume))
        return float(self.energy(volume, 0.0) + vibrations)

    def volume_at(self, pressure: float) -> float:
        """Where the mean pressure is that, Å³."""
        ends = 0.9 * self.rest, 1.2 * self.rest
        return float(brentq(lambda v: self.mean_pressure(v) - pressure, *ends, xtol=1e-12))

    def mean_edge(self, pressure: float) -> float:
        """Mean cube root of the volume at constant pressure, Å."""
        middle = self.volume_at(pressure)
        least = self.free_energy(middle) + pressure * middle

        def weight(v: float) -> float:
            return float(np.exp(-(self.free_energy(v) + pressure * v - least) / KT))

        width = 12 * np.sqrt(KT * middle / self.modulus)
        ends = middle - width, middle + width
        total = quad(weight, *ends)[0]
        return float(quad(lambda v: v ** (1 / 3) * weight(v), *ends)[0] / total)


def solid(atoms: int, *, larger: float = 1.0, **options: float) -> Solid:
    """A crystal of so many atoms that rests as a whole, `larger` in length."""
    return Solid(3 * (atoms - 1), atoms * (larger * LENGTH) ** 3 / 4, **options)


def isochore(
    student: Solid,
    teacher: Solid,
    volume: float,
    rng: np.random.Generator,
    *,
    calls: int,
    frames: int = 1000,
    memory: float = 5.0,
    uneven: float = 0.0,
) -> Isochore:
    """A run of the student that forgets within `memory` frames, with calls of the teacher.

    Of the teacher's oscillators every other one is stiffer and softer by a share `uneven`, which
    changes no mean pressure.
    """
    keep = np.exp(-1 / memory)
    noise = rng.normal(size=(1, frames, student.modes))
    noise[:, 1:] *= np.sqrt(1 - keep**2)
    x = lfilter([1.0], [1.0, -keep], noise, axis=1)
    x *= np.sqrt(KT / student.stiffness_at(volume))
    shares = 1 + uneven * (-1.0) ** np.arange(student.modes)
    squares, theirs = np.sum(x**2, axis=2), np.sum(shares * x**2, axis=2)
    called = np.full((1, frames), np.nan)
    called[:, :: frames // calls] = 0.0
    return Isochore(
        volume=volume,
        energies=student.energy(volume, squares),
        pressures=student.pressure(volume, squares),
        differences=teacher.energy(volume, theirs) - student.energy(volume, squares) + called,
        corrections=teacher.pressure(volume, theirs) - student.pressure(volume, squares) + called,
    )


class Crystal(AnsweringCalculator):
    """A `solid` as a calculator: fcc atoms on springs to their sites, which move with their mean.

    Cells are cubes of about `LENGTH` along each edge or multiples of it.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.options = options

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        count, volume = len(atoms), atoms.get_volume()
        layers = 2 * np.round(atoms.cell.lengths() / LENGTH)
        spacing = atoms.cell.lengths() / layers
        # The sites move with the mean of the atoms, which may drift.
        positions = atoms.positions - atoms.positions.mean(axis=0)
        positions += spacing * (layers - 1) / 2
        away = positions - spacing * np.round(positions / spacing)
        away -= away.mean(axis=0)
        of = solid(count, **self.options)
        squares, stiffness = float(np.sum(away**2)), of.stiffness_at(volume)
        # Displacements grow with the cell.
        pressure = of.pressure(volume, squares) - stiffness * squares / (3 * volume)
        return {
            "energy": float(of.energy(volume, squares)),
            "forces": -stiffness * away,
            "stress": np.array(3 * [-pressure] + 3 * [0.0]),
        }


TEACHER = {"larger": 1.004, "stiffness": 3.3, "grueneisen": 2.1, "modulus": 0.84}


def student_crystal() -> Crystal:
    """The student."""
    return Crystal()


def teacher_crystal() -> Crystal:
    """A little larger, stiffer and more anharmonic."""
    return Crystal(**TEACHER)
