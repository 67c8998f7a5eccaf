"""Sticking probability of teacher and student, from identical initial conditions.

S0 is the share of trajectories in which the molecule dissociates. Three numbers belong together:
each model's own S0 with its interval; the difference on paired trajectories; and the teacher's S0
at near-student cost, mean(student, N) + mean(teacher - student, n). Trajectories that start from
the same surface are not independent, which every interval accounts for. Where a precision is asked
for, trajectories are added until each condition has it or its budget is spent.
"""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.progress import say
from distill.core.work import WorkFolder
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import STUDENT, TEACHER
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.estimates import (
    Groups,
    condition_sticking,
    estimates,
    model_sticking,
)
from distill.observables.sticking.published_points import read_points
from distill.observables.sticking.result import ModelSticking, StickingResult, ThermalSurface
from distill.observables.sticking.sequential_precision import Target, targets
from distill.observables.sticking.trajectories import Sample
from distill.simulation.conditions import Condition, conditions
from distill.simulation.config import ScatteringConfig
from distill.simulation.scattering import SURFACES_FOLDER
from distill.simulation.surfaces import Surfaces, make_surfaces


def run_sticking(
    config: StickingConfig, *, teacher: ModelSpec, student: ModelSpec, work: WorkFolder
) -> StickingResult:
    """Sticking probabilities of both models for every condition.

    Parameters
    ----------
    config
        Conditions, dynamics and numbers of trajectories.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    work
        Folder of `surfaces/` and the outcomes by model, seed, and where the trajectories run.

    Raises
    ------
    UserError
        As `make_surfaces`, `initial_conditions`, `targets` and `read_points`; the last two before
        any trajectory is run.
    """
    aims = targets(config)
    points = read_points(config.published) if config.published else []
    models = {TEACHER: teacher, STUDENT: student}
    scattering = config.all_trajectories()
    surfaces = make_surfaces(
        scattering, model=models[config.initial_conditions], work=work.sub(SURFACES_FOLDER)
    )
    every = conditions(scattering)
    samples = {
        (role, condition): Sample(role, model, scattering, condition, surfaces, work)
        for role, model in models.items()
        for condition in every
    }
    _run_until_precise(config, aims, samples, every, work)
    ends = {place: sample.ends() for place, sample in samples.items()}
    entries = [
        condition_sticking(
            condition,
            {role: ends[role, condition] for role in models},
            _groups(samples[STUDENT, condition]),
            aims,
            config.confidence,
        )
        for condition in every
    ]
    calls = {
        role: sum(o.calls for (r, _), found in ends.items() if r == role for o in found.outcomes)
        for role in models
    }
    return StickingResult(
        confidence=config.confidence,
        initial_conditions_from=config.initial_conditions,
        precision=config.precision,
        surfaces=_thermal_surfaces(surfaces),
        conditions=entries,
        published=points,
        force_calls={"surfaces": surfaces.calls, **calls},
    )


def sticking_of(
    config: ScatteringConfig, model: ModelSpec, work: WorkFolder, *, confidence: float = 0.95
) -> dict[Condition, ModelSticking | None]:
    """Sticking probability of one model under each condition; None where all were set aside.

    Parameters
    ----------
    config
        Conditions, dynamics and the trajectories of each condition.
    model
        Of surfaces and trajectories.
    work
        As in `run_sticking`.
    confidence
        Of the intervals.

    Raises
    ------
    UserError
        As `make_surfaces` and `initial_conditions`.
    """
    surfaces = make_surfaces(config, model=model, work=work.sub(SURFACES_FOLDER))
    samples = {
        condition: Sample(STUDENT, model, config, condition, surfaces, work)
        for condition in conditions(config)
    }
    for sample in samples.values():
        sample.extend(config.trajectories)
    work.run([unit for sample in samples.values() for unit in sample.units], "trajectories")
    return {
        condition: model_sticking(sample.ends().outcomes, _groups(sample), confidence)
        for condition, sample in samples.items()
    }


def _groups(sample: Sample) -> Groups:
    found = sample.surfaces.independence[sample.condition.place]
    return Groups(sample.groups(), None if found is None else found.independent)


def _thermal_surfaces(surfaces: Surfaces) -> list[ThermalSurface]:
    return [
        ThermalSurface(
            facet=facet,
            temperature=temperature,
            snapshots=len(found.groups),
            independent=found.independent,
            correlation_time=found.correlation_time,
        )
        for (facet, temperature), found in surfaces.independence.items()
        if found
    ]


def _run_until_precise(
    config: StickingConfig,
    aims: dict[str, Target],
    samples: dict[tuple[str, Condition], Sample],
    every: Sequence[Condition],
    work: WorkFolder,
) -> None:
    """Run trajectories until each condition is precise enough or its budget is spent."""
    for (role, _), sample in samples.items():
        sample.extend(aims[role].first)
    while True:
        work.run(
            [unit for sample in samples.values() for unit in sample.units],
            "sticking trajectories",
        )
        planned = sum(sample.count for sample in samples.values())
        for condition in every:
            teacher, student = samples[TEACHER, condition], samples[STUDENT, condition]
            result = estimates(
                teacher.ends().outcomes,
                student.ends().outcomes,
                _groups(student),
                config.confidence,
            )
            teacher.extend(aims[TEACHER].after(result.difference, teacher.count))
            # Every teacher trajectory has its student's.
            wanted = aims[STUDENT].after(result.student, student.count)
            student.extend(max(wanted, teacher.count))
        further = sum(sample.count for sample in samples.values()) - planned
        if not further:
            return
        say(f"sticking: {planned} trajectories are not precise enough, {further} more are run")
