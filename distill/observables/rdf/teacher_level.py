"""Radial distribution functions and mean energies at the teacher's level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase.units import kB
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.metrics.teacher_level import TeacherMean, free_energy_difference, teacher_mean
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import STUDENT
from distill.observables.rdf.config import RdfConfig
from distill.observables.rdf.pair_distances import distance_counts
from distill.observables.rdf.rdf import System, pair_name, radii_within
from distill.observables.teacher_level import (
    EnergiesUnit,
    TeacherNumber,
    calls_folder,
    numbers_of,
)
from distill.simulation.trajectory import (
    TrajectoryUnit,
    good_runs,
    run_trajectories,
    trajectory_start,
    trajectory_units,
)
from distill.systems.constraints import mobile_atoms

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
MEAN_ENERGY = "mean energy"


def rdf_teacher_level(
    config: RdfConfig, teacher: ModelSpec, student: ModelSpec, calls: int, work: WorkFolder
) -> list[TeacherNumber]:
    """g(r), coordination numbers, mean and free energies, and heat capacities of the teacher.

    The student's runs are those of the observable; the teacher is called on frames of them, evenly
    apart.

    Parameters
    ----------
    config
        Structure, dynamics, pairs and bins.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    calls
        Of the teacher, at each temperature.
    work
        Folder of the observable's runs, seed, and where they run.

    Raises
    ------
    UserError
        If no two runs of the student are good, or the calls are too few for an interval.
    """
    system = System(config, trajectory_start(config))
    runs = trajectory_units(config, {STUDENT: student}, work, ensemble="nvt", quantity="positions")
    run_trajectories(runs, work, "rdf")
    found: list[TeacherNumber] = []
    for temperature in config.temperatures:
        good = list(good_runs(runs[STUDENT, temperature]).values())
        if len(good) < 2:
            raise UserError(
                f"compare.rdf: at {temperature:g} K fewer than two runs of the student are good; "
                "see why they were left out above"
            )
        each, folder = calls // len(good), calls_folder(work, teacher)
        energies = [EnergiesUnit.of_run(run, run.name, teacher, each, folder) for run in good]
        work.run(energies, "rdf: calls of the teacher")
        found += _at_temperature(system, temperature, good, energies)
    return found + _heat_capacities(
        [number for number in found if number.quantity == MEAN_ENERGY], system.atoms
    )


def _at_temperature(
    system: System,
    temperature: float,
    runs: Sequence[TrajectoryUnit],
    units: Sequence[EnergiesUnit],
) -> list[TeacherNumber]:
    energies, exact = (np.array(each) for each in zip(*(u.answered() for u in units), strict=True))
    differences = exact - energies
    counts = np.array(
        [distance_counts(system.atoms, r.frames(), system.pairs, system.edges) for r in runs]
    )
    radii = radii_within(system, counts.mean(axis=(0, 1)))
    confidence, atoms = system.config.confidence, len(system.atoms)

    def of(values: Array, corrections: Array | None = None) -> TeacherMean:
        return teacher_mean(
            values,
            differences,
            temperature,
            corrections=corrections,
            features=energies[..., None],
            confidence=confidence,
        )

    at: dict[str, str | float] = {"temperature": temperature}
    pairs = [{**at, "pair": pair_name(pair)} for pair in system.pairs]
    middles = 0.5 * (system.edges[1:] + system.edges[:-1])
    # Linear in the counts, both of them, so that every frame has its own.
    g = np.array([[system.g(frame) for frame in run] for run in counts])
    within = np.array([[system.coordination(frame, radii) for frame in run] for run in counts])
    curves = [{**pair, "r": float(r)} for pair in pairs for r in middles]
    free = free_energy_difference(differences, temperature, confidence=confidence)
    return [
        *numbers_of(of(within), "coordination number", "", pairs),
        *numbers_of(
            of(energies[..., None] / atoms, differences[..., None] / atoms),
            MEAN_ENERGY,
            "eV/atom",
            [at],
        ),
        TeacherNumber(
            quantity="free energy, teacher − student",
            place=at,
            value=free.value / atoms,
            interval=(free.low / atoms, free.high / atoms),
            student=0.0,
            unit="eV/atom",
            form=free.form,
            calls=free.calls,
        ),
        *numbers_of(of(g.reshape(*g.shape[:2], -1)), "g", "", curves),
    ]


def _heat_capacities(energies: Sequence[TeacherNumber], atoms: Atoms) -> list[TeacherNumber]:
    """At constant volume, between successive temperatures, by their mean energies.

    With the motion's part, that of classical atoms; intervals are of the differences of independent
    numbers.
    """
    moving = 1.5 * float(mobile_atoms(atoms).mean())
    found = []
    for one, other in pairwise(sorted(energies, key=_temperature)):
        low, high = _temperature(one), _temperature(other)
        per_kelvin = kB * (high - low)
        value = moving + (other.value - one.value) / per_kelvin
        half = float(np.hypot(_half_width(one), _half_width(other)))
        found.append(
            TeacherNumber(
                quantity="heat capacity at constant volume",
                place={"temperature": (low + high) / 2, "between": f"{low:g} and {high:g} K"},
                value=value,
                interval=(value - half / per_kelvin, value + half / per_kelvin),
                student=moving + (other.student - one.student) / per_kelvin,
                unit="k_B/atom",
                form=" and ".join(dict.fromkeys((one.form, other.form))),
                calls=one.calls + other.calls,
                comment=one.comment or other.comment,
            )
        )
    return found


def _temperature(number: TeacherNumber) -> float:
    return float(number.place["temperature"])


def _half_width(number: TeacherNumber) -> float:
    low, high = number.interval or (np.nan, np.nan)
    return (high - low) / 2
