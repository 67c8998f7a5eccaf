"""What scattered molecules carry away: vibration, rotation, angle, energy left in the surface.

The vibrational quantum number is the action of the molecule's motion on its own potential curve, as
its first one was (see `distill.simulation.rovibrational`); quasi-classical numbers are counted at
the nearest whole one (histogram binning; Truhlar & Muckerman, in Atom-Molecule Collision Theory
(1979), ch. 16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.metrics.clusters import clustered_mean
from distill.metrics.statistics import proportion
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.observables.sticking.result import Distribution, Mean, ScatteredMolecules
from distill.simulation.config import ScatteringConfig
from distill.simulation.rovibrational import Diatomic, diatomic_curve, vibrational_number
from distill.simulation.scattering import Outcome, molecular_motion

_ANGLE_BIN = 15.0


@dataclass(frozen=True)
class ScatteredState:
    """One scattered molecule.

    Attributes
    ----------
    number
        Of its trajectory.
    vibration, rotation
        Quantum numbers v and J, not whole; v is None above dissociation.
    exit_angle
        Degrees from the outward normal.
    energy_transfer
        Energy that the surface gained, eV.
    """

    number: int
    vibration: float | None
    rotation: float
    exit_angle: float
    energy_transfer: float


def scattered_state(start: Atoms, outcome: Outcome, diatomic: Diatomic) -> ScatteredState:
    """The state of a scattered molecule on its model's own potential curve.

    Parameters
    ----------
    start
        What the trajectory began with, the molecule last.
    outcome
        How it ended.
    diatomic
        Curve of the model.
    """
    molecule = start[-2:]
    before = molecular_motion(
        molecule.get_masses(), molecule.positions, molecule.get_velocities() * units.fs
    )
    first = before.internal_kinetic + float(diatomic.potential(molecule.get_distance(0, 1)))
    last = outcome.internal_kinetic + float(diatomic.potential(outcome.distance))
    return ScatteredState(
        number=outcome.number,
        vibration=vibrational_number(diatomic, outcome.rotation, last),
        rotation=outcome.rotation,
        exit_angle=outcome.exit_angle,
        energy_transfer=before.translation + first - outcome.translation - last,
    )


def curve_of(model: ModelSpec, config: ScatteringConfig) -> Diatomic:
    """The molecule's potential curve by a model, computed once in each process."""
    return _curve(cached_calculator(model), config.molecule, config.masses)


@lru_cache(maxsize=4)
def _curve(calculator: Calculator, molecule: str, masses: tuple[float, float] | None) -> Diatomic:
    return diatomic_curve(molecule, calculator, masses)


def scattered_molecules(
    states: Sequence[ScatteredState], groups: Mapping[int, int] | None, confidence: float
) -> ScatteredMolecules | None:
    """Distributions of the scattered molecules of a condition; None without any.

    Parameters
    ----------
    states
        Of one model.
    groups
        Group of the surface of each trajectory, by its number; None where all are independent.
    confidence
        Of the intervals.
    """
    if not states:
        return None
    clusters = None if groups is None else [groups[state.number] for state in states]
    vibration = [-1 if s.vibration is None else max(round(s.vibration), 0) for s in states]
    rotation = [round(s.rotation) for s in states]
    angle = [int(s.exit_angle // _ANGLE_BIN) for s in states]

    def shares(numbers: list[int], scale: float = 1.0) -> Distribution:
        found = [
            proportion([n == number for n in numbers], confidence, clusters=clusters)
            for number in range(max(numbers) + 1)
        ]
        return Distribution(
            values=[scale * number for number in range(len(found))],
            shares=[share.value for share in found],
            intervals=[share.interval for share in found],
        )

    def mean(values: Sequence[float]) -> Mean:
        value, interval = clustered_mean(values, confidence, clusters=clusters)
        return Mean(value=value, interval=interval if np.isfinite(interval).all() else None)

    return ScatteredMolecules(
        molecules=len(states),
        vibration=shares(vibration),
        rotation=shares(rotation),
        exit_angle=shares(angle, _ANGLE_BIN),
        mean_rotation=mean([s.rotation for s in states]),
        mean_exit_angle=mean([s.exit_angle for s in states]),
        energy_transfer=mean([s.energy_transfer for s in states]),
    )


def transfer_difference(
    teacher: Sequence[ScatteredState],
    student: Sequence[ScatteredState],
    groups: Mapping[int, int] | None,
    confidence: float,
) -> Mean | None:
    """Energy transfer of the teacher minus the student's where both scatter from one start, eV."""
    other = {state.number: state for state in student}
    pairs = [(state, other[state.number]) for state in teacher if state.number in other]
    if not pairs:
        return None
    value, interval = clustered_mean(
        [first.energy_transfer - second.energy_transfer for first, second in pairs],
        confidence,
        clusters=None if groups is None else [groups[first.number] for first, _ in pairs],
    )
    return Mean(value=value, interval=interval if np.isfinite(interval).all() else None)
