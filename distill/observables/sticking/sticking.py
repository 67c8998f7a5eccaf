"""Sticking probability of student, teacher and reference, from identical initial conditions.

S0 is the share of trajectories in which the molecule dissociates. Three numbers belong together:
each model's own S0 with its interval; the difference on paired trajectories; and the teacher's S0
at near-student cost, mean(student, N) + mean(teacher - student, n), to which the mean of a few
differences reference - teacher adds the reference's. Trajectories that start from
the same surface are not independent, which every interval accounts for. Where a precision is asked
for, trajectories are added until each condition has it or its budget is spent.
"""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.work import WorkFolder
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.effort import Counts, Effort
from distill.observables.sticking.estimates import (
    Estimates,
    Groups,
    condition_sticking,
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
    config: StickingConfig,
    *,
    teacher: ModelSpec,
    student: ModelSpec,
    work: WorkFolder,
    reference: ModelSpec | None = None,
) -> StickingResult:
    """Sticking probabilities of the models for every condition.

    Parameters
    ----------
    config
        Conditions, dynamics and numbers of trajectories.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    work
        Folder of `surfaces/` and the outcomes by model, seed, and where the trajectories run.
    reference
        Of the reference's trajectories, where there are to be any.

    Raises
    ------
    UserError
        As `make_surfaces`, `initial_conditions`, `targets` and `read_points`, or where trajectories
        of a reference are asked for and there is none; but for the first two before any trajectory
        is run.
    """
    aims = targets(config)
    points = read_points(config.published) if config.published else []
    models = {TEACHER: teacher, STUDENT: student}
    if config.reference_trajectories:
        if reference is None:
            raise UserError(
                "compare.sticking.reference_trajectories is set, but there is no reference that "
                "can be run: give `reference` a calculator or a model, or remove it"
            )
        models = {REFERENCE: reference, **models}
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
    efforts = _efforts(config, aims, samples, every, work)
    _run_until_precise(config, aims, efforts, samples, every, work)
    ends = {place: sample.ends() for place, sample in samples.items()}
    entries = [
        condition_sticking(
            condition,
            {role: ends[role, condition] for role in models},
            _groups(samples[STUDENT, condition]),
            aims,
            config.confidence,
            efforts.get(condition),
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


def _efforts(
    config: StickingConfig,
    aims: dict[str, Target],
    samples: dict[tuple[str, Condition], Sample],
    every: Sequence[Condition],
    work: WorkFolder,
) -> dict[Condition, Effort]:
    """What each condition's two-level estimate may cost; none where no precision of it is asked."""
    if config.two_level_precision is None:
        return {}
    most = Counts(*(aims[role].most for role in (TEACHER, STUDENT)))
    first = Counts(*(min(aims[role].batch, aims[role].most) for role in (TEACHER, STUDENT)))
    # A facet's slab has one size: its first condition is timed.
    by_facet = {condition.facet: condition for condition in reversed(every)}
    costs = {}
    for facet, condition in by_facet.items():
        units = [samples[role, condition].call_time() for role in (TEACHER, STUDENT)]
        work.run(units, "times of a call")
        teacher, student = (unit.numbers() for unit in units)
        costs[facet] = teacher / student
        say(f"sticking: a call of the teacher costs {costs[facet]:.3g} of the student's on {facet}")
    return {
        condition: Effort(config.two_level_precision, first, most, costs[condition.facet])
        for condition in every
    }


def _run_until_precise(
    config: StickingConfig,
    aims: dict[str, Target],
    efforts: dict[Condition, Effort],
    samples: dict[tuple[str, Condition], Sample],
    every: Sequence[Condition],
    work: WorkFolder,
) -> None:
    """Run trajectories until each condition is precise enough or its budget is spent."""
    for (role, condition), sample in samples.items():
        sample.extend(config.reference_trajectories)
        if role != REFERENCE:
            effort = efforts.get(condition)
            sample.extend(getattr(effort.first, role) if effort else aims[role].first)
    while True:
        work.run(
            [unit for sample in samples.values() for unit in sample.units],
            "sticking trajectories",
        )
        planned = sum(sample.count for sample in samples.values())
        for condition in every:
            teacher, student = samples[TEACHER, condition], samples[STUDENT, condition]
            outcomes = {TEACHER: teacher.ends().outcomes, STUDENT: student.ends().outcomes}
            found = Estimates(outcomes, _groups(student), config.confidence)
            pairs, probability = found.difference(TEACHER, STUDENT), found.probability(STUDENT)
            wanted = done = Counts(teacher.count, student.count)
            if effort := efforts.get(condition):
                joint = found.multilevel(STUDENT, TEACHER)
                wanted = effort.after(joint and joint[0], probability, pairs, done)
            teacher.extend(max(wanted.teacher, aims[TEACHER].after(pairs, done.teacher)))
            # Every teacher trajectory has its student's.
            more = aims[STUDENT].after(probability, done.student)
            student.extend(max(wanted.student, more, teacher.count))
        further = sum(sample.count for sample in samples.values()) - planned
        if not further:
            return
        say(f"sticking: {planned} trajectories are not precise enough, {further} more are run")
