"""A crystal's size at a pressure, at the teacher's level, from its student's runs at two volumes.

The mean pressure of the teacher at a volume is an average in its ensemble, which `teacher_mean`
gives from the student's: the student's pressure, its change by the weights of the teacher, and what
the teacher adds to it on the same structures. The difference of pressures on the student's
structures alone lacks the change by the weights, which is of the same order.

Between two volumes the isotherm is that of Murnaghan to second order, P'' = B' B in the logarithm
of the volume, with B from the two pressures; where it crosses the pressure asked for is V. At this
pressure the volume fluctuates, and the mean edge of the cell is larger than the edge of V by

    kT (B'/6 + 1/18) / (B V),

which the skewness of the volume's distribution (B' + 1)/6 and the curvature of a cube root, −1/9,
add up to. It goes with the inverse number of atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import kB
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.metrics.teacher_level import TeacherMean, teacher_mean

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Isochore:
    """Runs of the student at one volume.

    Attributes
    ----------
    volume
        Å³.
    energies, pressures
        The student's, eV and, of the motion too, eV/Å³, shape (runs, frames).
    differences, corrections
        Energy (eV) and pressure of the teacher minus the student's, shape (runs, frames); not a
        number where the teacher was not called.
    """

    volume: float
    energies: Array
    pressures: Array
    differences: Array
    corrections: Array


@dataclass(frozen=True)
class Crossing:
    """Where an isotherm crosses a pressure.

    Attributes
    ----------
    edge, edge_interval
        Mean edge of a cube of the cell's volume at this pressure, Å.
    bulk_modulus, bulk_modulus_interval
        Isothermal, midway between the two volumes, eV/Å³.
    place
        0 at the smaller volume and 1 at the larger; elsewhere it was extrapolated.
    """

    edge: float
    edge_interval: tuple[float, float]
    bulk_modulus: float
    bulk_modulus_interval: tuple[float, float]
    place: float


def teacher_crossing(
    isochores: Sequence[Isochore],
    temperature: float,
    *,
    pressure: float,
    derivative: float,
    confidence: float = 0.95,
) -> tuple[Crossing, list[TeacherMean]]:
    """The teacher's mean edge at a pressure, and its mean pressures at the two volumes.

    Parameters
    ----------
    isochores
        Two, of rising volume.
    temperature
        K.
    pressure
        That is asked for, eV/Å³.
    derivative
        B', of the bulk modulus by the pressure. It counts with the square of the relative
        difference of the volumes, times an eighth.
    confidence
        Of the intervals.

    Raises
    ------
    UserError
        If the calls are too few for an interval, or the pressure does not fall with the volume.
    """
    means = [
        teacher_mean(
            isochore.pressures,
            isochore.differences,
            temperature,
            corrections=isochore.corrections,
            features=np.stack([isochore.energies, isochore.pressures], axis=-1),
            confidence=confidence,
        )
        for isochore in isochores
    ]
    found = crossing(
        [isochore.volume for isochore in isochores],
        [float(mean.value) for mean in means],
        [_half(mean) for mean in means],
        temperature,
        pressure=pressure,
        derivative=derivative,
    )
    return found, means


def _half(mean: TeacherMean) -> float:
    """Half width of the interval of a mean, and what the first order is seen to leave out."""
    left_out = 0.0 if mean.next_term is None else abs(float(mean.next_term))
    return float(mean.high - mean.low) / 2 + left_out


def crossing(
    volumes: Sequence[float],
    pressures: Sequence[float],
    halves: Sequence[float],
    temperature: float,
    *,
    pressure: float,
    derivative: float,
) -> Crossing:
    """Where the isotherm through two volumes crosses a pressure.

    Parameters
    ----------
    volumes
        Two, rising, Å³.
    pressures, halves
        Mean pressures there, and the half widths of their intervals, which are independent, eV/Å³.
    temperature, pressure, derivative
        As in `teacher_crossing`.

    Raises
    ------
    UserError
        If the pressure does not fall with the volume by more than its intervals.
    """
    width = float(np.log(volumes[1] / volumes[0]))
    fall, uncertain = pressures[0] - pressures[1], float(np.hypot(halves[0], halves[1]))
    if not fall > uncertain:
        raise UserError(
            f"the mean pressure falls by {fall:.2g} ± {uncertain:.2g} eV/Å³ from one volume to the "
            "other, expected a fall that is seen: more calls of the teacher or longer runs, or "
            "the crystal is not stable at this temperature"
        )
    # pressure = P₀ − fall w − bend w (1 − w), with w from 0 to 1 between the volumes.
    bend = 0.5 * derivative * fall * width
    linear, above = fall + bend, pressures[0] - pressure
    root = linear**2 - 4 * bend * above
    if root < 0:
        raise UserError(
            f"the isotherm does not reach a pressure of {pressure:g} eV/Å³ near the volumes that "
            "were looked at: more calls of the teacher or longer runs, or more alike models"
        )
    place = 2 * above / (linear + float(np.sqrt(root)))
    slope = (linear - 2 * bend * place) / width
    half = float(np.hypot((1 - place) * halves[0], place * halves[1])) / slope
    modulus, modulus_half = fall / width, uncertain / width
    volume = float(volumes[0] * np.exp(place * width))
    skewed = kB * temperature * (derivative / 6 + 1 / 18) / (slope * volume)
    edge = volume ** (1 / 3) * (1 + skewed)
    return Crossing(
        edge=edge,
        edge_interval=(edge * (1 - half / 3), edge * (1 + half / 3)),
        bulk_modulus=modulus,
        bulk_modulus_interval=(modulus - modulus_half, modulus + modulus_half),
        place=place,
    )
