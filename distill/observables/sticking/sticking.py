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

from distill.core.artifacts import read_json, write_json
from distill.core.config import ParallelConfig
from distill.core.progress import say
from distill.core.work import run_waiting
from distill.metrics.statistics import (
    Estimate,
    PairedDifference,
    Proportion,
    paired_difference,
    two_level,
    wilson,
)
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.published_points import read_points
from distill.observables.sticking.sequential_precision import Target, targets
from distill.simulation.config import ScatteringConfig
from distill.simulation.scattering import (
    BLOWN_UP,
    DISSOCIATED,
    OUTCOMES,
    Condition,
    Outcome,
    cached_surfaces,
    conditions,
    initial_conditions,
    run_trajectory,
)
from distill.simulation.surfaces import make_surfaces

RESULT_FILE = "sticking.json"
# Trajectories in one file and unit: a teacher's takes minutes, a student's seconds.
_SHARD = {"teacher": 1, "student": 10}


@dataclass(frozen=True)
class StickingUnit:
    """Some trajectories of one model under one condition, kept as a list of outcomes."""

    role: str
    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    first: int
    count: int
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """File of the outcomes."""
        last = self.first + self.count - 1
        return self.folder / self.role / f"{self.condition.name}_{self.first:06d}-{last:06d}.json"

    @property
    def finished(self) -> bool:
        """Whether the outcomes are there."""
        return self.path.exists()

    def outcomes(self) -> list[Outcome]:
        """How the finished trajectories ended."""
        return [Outcome(**entry) for entry in read_json(self.path)]

    def run(self) -> None:
        """Run the trajectories and write how they ended."""
        surfaces = cached_surfaces(self.config, self.folder / "surfaces")
        calculator = cached_calculator(self.model)
        outcomes = []
        for number in range(self.first, self.first + self.count):
            start = initial_conditions(self.config, self.condition, number, self.seed, surfaces)
            outcome, _ = run_trajectory(
                start, calculator, self.config, self.condition, number, keep_structures=False
            )
            outcomes.append(asdict(outcome))
        write_json(self.path, outcomes)


def check_sticking(config: StickingConfig) -> None:
    """Refuse a budget too small for the precision, or published points that cannot be read.

    Raises
    ------
    UserError
        As `targets` and `read_points`.
    """
    targets(config)
    if config.published:
        read_points(config.published)


def run_sticking(
    config: StickingConfig,
    *,
    teacher: ModelSpec,
    student: ModelSpec,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> dict[str, Any]:
    """Sticking probabilities of both models for every condition; also written to `out`.

    Parameters
    ----------
    config
        Conditions, dynamics and numbers of trajectories.
    teacher, student
        Files, import paths or configs that `distill.models.calculators.load_calculator` takes.
    out
        Folder of `sticking.json`, `surfaces/` and the outcomes by model. Trajectories whose files
        are there are not run again.
    seed
        The run's seed.
    parallel
        Where the trajectories run.

    Returns
    -------
    dict
        `conditions`: for each facet, temperature (K), state and energy (eV) `teacher` and `student`
        (`probability`, its `interval`, sound `trajectories`, `outcomes` counted,
        `mean_force_calls`), `paired` (`difference` teacher − student on `trajectories` pairs, its
        `interval`, and the pairs in which `only_teacher` or `only_student` dissociates) and
        `two_level` (the teacher's `probability`, its `interval`, student `trajectories` and `pairs`
        behind it); None where no trajectory is left; `precision`: by model what `Target.report`
        gives. `published`: what `read_points` gives. `force_calls`: by model and for the surfaces.

    Raises
    ------
    UserError
        As `make_surfaces`, `initial_conditions`, `targets` and `read_points`; the last two before
        any trajectory is run.
    """
    aims = targets(config)
    points = read_points(config.published) if config.published else []
    scattering = config.scattering
    models = {"teacher": teacher, "student": student}
    surfaces = make_surfaces(
        scattering,
        model=models[config.initial_conditions],
        out=out / "surfaces",
        seed=seed,
        parallel=parallel,
    )
    found = _run_until_precise(config, aims, models, out, seed, parallel)
    every = conditions(scattering)
    outcomes = {(role, c): found[role, c].outcomes() for role in models for c in every}
    entries = [
        _entry(
            condition,
            outcomes["teacher", condition],
            outcomes["student", condition],
            aims,
            config.confidence,
        )
        for condition in every
    ]
    result = {
        "confidence": config.confidence,
        "initial_conditions_from": config.initial_conditions,
        "precision": config.precision,
        "conditions": entries,
        "published": points,
        "force_calls": {
            "surfaces": surfaces.calls,
            **{
                role: sum(o.calls for (r, _), found in outcomes.items() if r == role for o in found)
                for role in models
            },
        },
    }
    write_json(out / RESULT_FILE, result)
    return result


@dataclass
class _Sample:
    """The trajectories of one model under one condition: those run and those to be run."""

    role: str
    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    seed: int
    folder: Path
    units: list[StickingUnit] = field(default_factory=list)
    count: int = 0

    def extend(self, count: int) -> None:
        """Plan trajectories up to a number."""
        size = _SHARD[self.role]
        for first in range(self.count, count, size):
            number = min(size, count - first)
            self.units.append(
                StickingUnit(
                    self.role,
                    self.model,
                    self.config,
                    self.condition,
                    first,
                    number,
                    self.seed,
                    self.folder,
                )
            )
        self.count = max(count, self.count)

    def outcomes(self) -> list[Outcome]:
        """How the trajectories ended, all of them run."""
        return [outcome for unit in self.units for outcome in unit.outcomes()]


def _run_until_precise(
    config: StickingConfig,
    aims: dict[str, Target],
    models: dict[str, ModelSpec],
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> dict[tuple[str, Condition], _Sample]:
    """Run trajectories, in rounds over all conditions, until none is asked for any more."""
    every = conditions(config.scattering)
    samples = {
        (role, condition): _Sample(role, model, config.scattering, condition, seed, out)
        for role, model in models.items()
        for condition in every
    }
    for (role, _), sample in samples.items():
        sample.extend(aims[role].first)
    while True:
        run_waiting(
            [unit for sample in samples.values() for unit in sample.units],
            parallel=parallel,
            label="sticking trajectories",
        )
        planned = sum(sample.count for sample in samples.values())
        for condition in every:
            teacher, student = samples["teacher", condition], samples["student", condition]
            result = _estimates(teacher.outcomes(), student.outcomes(), config.confidence)
            teacher.extend(aims["teacher"].after(result.difference, teacher.count))
            # Every teacher trajectory has its student's.
            wanted = aims["student"].after(result.student, student.count)
            student.extend(max(wanted, teacher.count))
        further = sum(sample.count for sample in samples.values()) - planned
        if not further:
            return samples
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
) -> dict[str, Any]:
    found = _estimates(teacher, student, confidence)
    precision = {
        "teacher": aims["teacher"].report(found.difference, len(teacher)),
        "student": aims["student"].report(found.student, len(student)),
    }
    for role, report in precision.items():
        if not report["reached"] and aims[role].most:
            say(
                f"sticking: {condition.name}: {aims[role].most} {role} trajectories are too few "
                f"for a precision of {report['asked']:g}: about {report['needed']} are needed"
            )
    entry: dict[str, Any] = {
        "name": condition.name,
        **asdict(condition),
        "teacher": _summary(teacher, confidence),
        "student": _summary(student, confidence),
        "paired": None,
        "two_level": None,
        "precision": precision,
    }
    if found.difference and found.two_level:
        entry["paired"] = {
            "difference": found.difference.value,
            "interval": list(found.difference.interval),
            "trajectories": found.pairs,
            "only_teacher": found.difference.only_first,
            "only_student": found.difference.only_second,
        }
        entry["two_level"] = {
            "probability": found.two_level.value,
            "interval": list(found.two_level.interval),
            "trajectories": found.two_level.samples,
            "pairs": found.pairs,
        }
    return entry


def _summary(outcomes: Sequence[Outcome], confidence: float) -> dict[str, Any] | None:
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
    return {
        "probability": probability.value,
        "interval": list(probability.interval),
        "trajectories": sound,
        "outcomes": {name: counts[name] for name in OUTCOMES},
        "mean_force_calls": sum(outcome.calls for outcome in outcomes) / len(outcomes),
    }
