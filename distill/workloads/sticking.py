"""Sticking probability of teacher and student, from identical initial conditions.

S0 is the share of trajectories in which the molecule dissociates. Three numbers belong together:
each model's own S0 with its Wilson interval; the difference on paired trajectories; and the
teacher's S0 at near-student cost, mean(student, N) + mean(teacher - student, n).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.artifacts import read_json, write_json
from distill.config import ParallelConfig, ScatteringConfig, StickingConfig
from distill.progress import say
from distill.sampling.models import ModelSpec, cached_calculator
from distill.sampling.scattering import (
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
from distill.sampling.surfaces import make_surfaces
from distill.sampling.units import run_waiting
from distill.workloads.statistics import paired_difference, two_level, wilson

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
        Files, import paths or configs that `distill.calculators.load_calculator` takes.
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
        `interval`) and `two_level` (the teacher's `probability`, its `interval`, student
        `trajectories` and `pairs` behind it); None where no trajectory is left. `force_calls`: by
        model and for the surfaces.

    Raises
    ------
    UserError
        As `make_surfaces` and `initial_conditions`.
    """
    scattering = config.scattering
    models = {"teacher": teacher, "student": student}
    surfaces = make_surfaces(
        scattering,
        model=models[config.initial_conditions],
        out=out / "surfaces",
        seed=seed,
        parallel=parallel,
    )
    numbers = {"teacher": config.teacher_trajectories, "student": config.student_trajectories}
    units = [
        unit
        for role, model in models.items()
        for condition in conditions(scattering)
        for unit in _shards(role, model, scattering, condition, numbers[role], seed, out)
    ]
    run_waiting(units, parallel=parallel, label="sticking trajectories")
    outcomes: dict[tuple[str, Condition], list[Outcome]] = {}
    for unit in units:
        outcomes.setdefault((unit.role, unit.condition), []).extend(unit.outcomes())
    entries = [
        _entry(
            condition,
            outcomes.get(("teacher", condition), []),
            outcomes[("student", condition)],
            config.confidence,
        )
        for condition in conditions(scattering)
    ]
    result = {
        "confidence": config.confidence,
        "initial_conditions_from": config.initial_conditions,
        "conditions": entries,
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


def _shards(
    role: str,
    model: ModelSpec,
    config: ScatteringConfig,
    condition: Condition,
    number: int,
    seed: int,
    out: Path,
) -> list[StickingUnit]:
    size = _SHARD[role]
    return [
        StickingUnit(role, model, config, condition, first, min(size, number - first), seed, out)
        for first in range(0, number, size)
    ]


def _entry(
    condition: Condition,
    teacher: Sequence[Outcome],
    student: Sequence[Outcome],
    confidence: float,
) -> dict[str, Any]:
    sound_teacher = {o.number: o.outcome == DISSOCIATED for o in teacher if o.outcome != BLOWN_UP}
    sound_student = {o.number: o.outcome == DISSOCIATED for o in student if o.outcome != BLOWN_UP}
    pairs = sorted(sound_teacher.keys() & sound_student.keys())
    further = sorted(sound_student.keys() - sound_teacher.keys())
    exact = [sound_teacher[number] for number in pairs]
    paired_cheap = [sound_student[number] for number in pairs]
    cheap = paired_cheap + [sound_student[number] for number in further]
    entry: dict[str, Any] = {
        "name": condition.name,
        **asdict(condition),
        "teacher": _summary(teacher, confidence),
        "student": _summary(student, confidence),
        "paired": None,
        "two_level": None,
    }
    if pairs:
        difference = paired_difference(exact, paired_cheap, confidence)
        entry["paired"] = {
            "difference": difference.value,
            "interval": list(difference.interval),
            "trajectories": len(pairs),
        }
        joint = two_level(cheap, exact, confidence)
        entry["two_level"] = {
            "probability": joint.value,
            "interval": list(joint.interval),
            "trajectories": len(cheap),
            "pairs": len(pairs),
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
