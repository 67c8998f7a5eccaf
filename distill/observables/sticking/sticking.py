"""Sticking probability of teacher and student, from identical initial conditions.

S0 is the share of trajectories in which the molecule dissociates. Three numbers belong together:
each model's own S0 with its Wilson interval; the difference on paired trajectories; and the
teacher's S0 at near-student cost, mean(student, N) + mean(teacher - student, n). Where a precision
is asked for, trajectories are added until each condition has it or its budget is spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill.core.progress import say
from distill.core.work import Unit, WorkFolder
from distill.metrics.statistics import (
    Estimate,
    PairedDifference,
    Proportion,
    paired_difference,
    two_level,
    wilson,
)
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.observables.base import STUDENT, TEACHER
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.published_points import read_points
from distill.observables.sticking.result import (
    ConditionSticking,
    ModelSticking,
    PairedSticking,
    PrecisionReport,
    StickingResult,
    TwoLevelSticking,
)
from distill.observables.sticking.sequential_precision import Target, targets
from distill.simulation.config import ScatteringConfig
from distill.simulation.scattering import (
    BLOWN_UP,
    DISSOCIATED,
    OUTCOMES,
    SURFACES_FOLDER,
    Condition,
    Outcome,
    cached_surfaces,
    conditions,
    initial_conditions,
    run_trajectory,
)
from distill.simulation.surfaces import make_surfaces

# Trajectories in one file and unit: a teacher's takes minutes, a student's seconds.
_SHARD = {TEACHER: 1, STUDENT: 10}


@dataclass(frozen=True)
class StickingUnit(Unit):
    """Some trajectories of one model under one condition; its numbers are how they ended.

    Attributes
    ----------
    first, count
        Numbers of the trajectories.
    surfaces, surfaces_key
        Folder of the surfaces, and what those of the condition were made from.
    """

    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    first: int
    count: int
    seed: int
    surfaces: Path
    surfaces_key: str

    unkeyed = Unit.unkeyed | {"surfaces"}

    def settings(self) -> dict[str, Any]:
        """Its model, starts and dynamics; not the other conditions of the config."""
        return {**super().settings(), "config": self.config.dynamics()}

    def outcomes(self) -> list[Outcome]:
        """How the finished trajectories ended."""
        return [Outcome(**entry) for entry in self.numbers()]

    def work(self) -> list[dict[str, Any]]:
        """Run the trajectories."""
        surfaces = cached_surfaces(self.config, self.surfaces)
        calculator = cached_calculator(self.model)
        outcomes = []
        for number in range(self.first, self.first + self.count):
            start = initial_conditions(self.config, self.condition, number, self.seed, surfaces)
            outcome, _ = run_trajectory(
                start, calculator, self.config, self.condition, number, keep_structures=False
            )
            outcomes.append(asdict(outcome))
        return outcomes


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
    surfaces = make_surfaces(
        config.scattering,
        model=models[config.initial_conditions],
        work=work.sub(SURFACES_FOLDER),
    )
    every = conditions(config.scattering)
    samples = {
        (role, condition): _Sample(
            role,
            model,
            config.scattering,
            condition,
            surfaces.keys[condition.facet, condition.temperature],
            work,
        )
        for role, model in models.items()
        for condition in every
    }
    _run_until_precise(config, aims, samples, every, work)
    outcomes = {place: sample.outcomes() for place, sample in samples.items()}
    entries = [
        _entry(
            condition,
            outcomes[TEACHER, condition],
            outcomes[STUDENT, condition],
            aims,
            config.confidence,
        )
        for condition in every
    ]
    return StickingResult(
        confidence=config.confidence,
        initial_conditions_from=config.initial_conditions,
        precision=config.precision,
        conditions=entries,
        published=points,
        force_calls={
            "surfaces": surfaces.calls,
            **{
                role: sum(o.calls for (r, _), found in outcomes.items() if r == role for o in found)
                for role in models
            },
        },
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
        condition: _Sample(
            STUDENT,
            model,
            config,
            condition,
            surfaces.keys[condition.facet, condition.temperature],
            work,
        )
        for condition in conditions(config)
    }
    for sample in samples.values():
        sample.extend(config.trajectories)
    work.run([unit for sample in samples.values() for unit in sample.units], "trajectories")
    return {c: _summary(sample.outcomes(), confidence) for c, sample in samples.items()}


@dataclass
class _Sample:
    """The trajectories of one model under one condition: those run and those to be run."""

    role: str
    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    surfaces_key: str
    work: WorkFolder
    units: list[StickingUnit] = field(default_factory=list)
    count: int = 0

    def extend(self, count: int) -> None:
        """Plan trajectories up to a number."""
        size = _SHARD[self.role]
        for first in range(self.count, count, size):
            number = min(size, count - first)
            self.units.append(
                StickingUnit(
                    self.work.path / self.role,
                    f"{self.condition.name}_{first:06d}-{first + number - 1:06d}",
                    model=self.model,
                    config=self.config,
                    condition=self.condition,
                    first=first,
                    count=number,
                    seed=self.work.seed,
                    surfaces=self.work.path / SURFACES_FOLDER,
                    surfaces_key=self.surfaces_key,
                )
            )
        self.count = max(count, self.count)

    def outcomes(self) -> list[Outcome]:
        """How the trajectories ended, all of them run."""
        return [outcome for unit in self.units for outcome in unit.outcomes()]


def _run_until_precise(
    config: StickingConfig,
    aims: dict[str, Target],
    samples: dict[tuple[str, Condition], _Sample],
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
            result = _estimates(teacher.outcomes(), student.outcomes(), config.confidence)
            teacher.extend(aims[TEACHER].after(result.difference, teacher.count))
            # Every teacher trajectory has its student's.
            wanted = aims[STUDENT].after(result.student, student.count)
            student.extend(max(wanted, teacher.count))
        further = sum(sample.count for sample in samples.values()) - planned
        if not further:
            return
        say(f"sticking: {planned} trajectories are not precise enough, {further} more are run")


@dataclass(frozen=True)
class _Estimates:
    """What the outcomes of one condition give; None without sound trajectories."""

    student: Proportion | None
    difference: PairedDifference | None
    two_level: Estimate | None
    pairs: int


def _estimates(
    teacher: Sequence[Outcome], student: Sequence[Outcome], confidence: float
) -> _Estimates:
    sound_teacher = {o.number: o.outcome == DISSOCIATED for o in teacher if o.outcome != BLOWN_UP}
    sound_student = {o.number: o.outcome == DISSOCIATED for o in student if o.outcome != BLOWN_UP}
    pairs = sorted(sound_teacher.keys() & sound_student.keys())
    further = sorted(sound_student.keys() - sound_teacher.keys())
    exact = [sound_teacher[number] for number in pairs]
    paired_cheap = [sound_student[number] for number in pairs]
    cheap = paired_cheap + [sound_student[number] for number in further]
    return _Estimates(
        student=wilson(sum(cheap), len(cheap), confidence) if cheap else None,
        difference=paired_difference(exact, paired_cheap, confidence) if pairs else None,
        two_level=two_level(cheap, exact, confidence) if pairs else None,
        pairs=len(pairs),
    )


def _entry(
    condition: Condition,
    teacher: Sequence[Outcome],
    student: Sequence[Outcome],
    aims: dict[str, Target],
    confidence: float,
) -> ConditionSticking:
    found = _estimates(teacher, student, confidence)
    precision = {
        TEACHER: aims[TEACHER].report(found.difference, len(teacher)),
        STUDENT: aims[STUDENT].report(found.student, len(student)),
    }
    for role, report in precision.items():
        if not report["reached"] and aims[role].most:
            say(
                f"sticking: {condition.name}: {aims[role].most} {role} trajectories are too few "
                f"for a precision of {report['asked']:g}: about {report['needed']} are needed"
            )
    difference, both = found.difference, found.two_level
    return ConditionSticking(
        name=condition.name,
        **asdict(condition),
        teacher=_summary(teacher, confidence),
        student=_summary(student, confidence),
        paired=difference
        and PairedSticking(
            difference=difference.value,
            interval=difference.interval,
            trajectories=found.pairs,
            only_teacher=difference.only_first,
            only_student=difference.only_second,
        ),
        two_level=both
        and TwoLevelSticking(
            probability=both.value,
            interval=both.interval,
            trajectories=both.samples,
            pairs=found.pairs,
        ),
        precision={role: PrecisionReport(**report) for role, report in precision.items()},
    )


def _summary(outcomes: Sequence[Outcome], confidence: float) -> ModelSticking | None:
    if not outcomes:
        return None
    counts = Counter(outcome.outcome for outcome in outcomes)
    sound = len(outcomes) - counts[BLOWN_UP]
    if counts[BLOWN_UP]:
        reasons = Counter(o.reason for o in outcomes if o.outcome == BLOWN_UP)
        say(
            f"sticking: set aside {counts[BLOWN_UP]} of {len(outcomes)} trajectories "
            f"({', '.join(list(reasons)[:3])})"
        )
    if not sound:
        return None
    probability = wilson(counts[DISSOCIATED], sound, confidence)
    return ModelSticking(
        probability=probability.value,
        interval=probability.interval,
        trajectories=sound,
        outcomes={name: counts[name] for name in OUTCOMES},
        mean_force_calls=sum(outcome.calls for outcome in outcomes) / len(outcomes),
    )
