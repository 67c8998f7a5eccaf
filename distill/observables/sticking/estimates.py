"""From how trajectories of both models ended to probabilities, differences and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from distill.core.progress import say
from distill.metrics.statistics import (
    PairedDifference,
    Proportion,
    TwoLevelEstimate,
    paired_difference,
    proportion,
    two_level,
)
from distill.observables.base import STUDENT, TEACHER
from distill.observables.sticking.result import (
    ConditionSticking,
    ModelSticking,
    PairedSticking,
    PrecisionReport,
    TwoLevelSticking,
)
from distill.observables.sticking.scattered import scattered_molecules, transfer_difference
from distill.observables.sticking.sequential_precision import Target
from distill.observables.sticking.trajectories import Ends
from distill.simulation.conditions import Condition
from distill.simulation.scattering import BLOWN_UP, DISSOCIATED, OUTCOMES, Outcome


@dataclass(frozen=True)
class Groups:
    """Which trajectories share what they start from.

    Attributes
    ----------
    of
        Group of the surface of each trajectory, by its number; None for a surface at rest.
    available
        Groups there are.
    """

    of: Mapping[int, int] | None
    available: int | None

    def clusters(self, numbers: Sequence[int]) -> list[int] | None:
        """Group of each trajectory."""
        return None if self.of is None else [self.of[number] for number in numbers]


@dataclass(frozen=True)
class Estimates:
    """What the outcomes of one condition give; None without sound trajectories."""

    student: Proportion | None
    difference: PairedDifference | None
    two_level: TwoLevelEstimate | None
    pairs: int


def estimates(
    teacher: Sequence[Outcome], student: Sequence[Outcome], groups: Groups, confidence: float
) -> Estimates:
    """The student's probability, the paired difference and the two-level estimate."""
    sound_teacher, sound_student = _sound(teacher), _sound(student)
    pairs = sorted(sound_teacher.keys() & sound_student.keys())
    every = pairs + sorted(sound_student.keys() - sound_teacher.keys())
    exact = [sound_teacher[number] for number in pairs]
    cheap = [sound_student[number] for number in every]
    clusters, available = groups.clusters(every), groups.available
    of_pairs = groups.clusters(pairs)
    return Estimates(
        student=proportion(cheap, confidence, clusters=clusters, available=available)
        if cheap
        else None,
        difference=paired_difference(
            exact, cheap[: len(pairs)], confidence, clusters=of_pairs, available=available
        )
        if pairs
        else None,
        two_level=two_level(cheap, exact, confidence, clusters=clusters) if pairs else None,
        pairs=len(pairs),
    )


def _sound(outcomes: Sequence[Outcome]) -> dict[int, bool]:
    """Whether each trajectory dissociated, by its number; those set aside are left out."""
    return {o.number: o.outcome == DISSOCIATED for o in outcomes if o.outcome != BLOWN_UP}


def condition_sticking(
    condition: Condition,
    ends: Mapping[str, Ends],
    groups: Groups,
    aims: Mapping[str, Target],
    confidence: float,
) -> ConditionSticking:
    """All that the trajectories of one condition give, by model in `ends` and `aims`."""
    teacher, student = ends[TEACHER].outcomes, ends[STUDENT].outcomes
    found = estimates(teacher, student, groups, confidence)
    precision = {
        TEACHER: aims[TEACHER].report(found.difference, len(teacher)),
        STUDENT: aims[STUDENT].report(found.student, len(student)),
    }
    reports = {role: PrecisionReport(**report) for role, report in precision.items()}
    for role, report in reports.items():
        _say_what_is_missing(condition, role, report, aims[role].most)
    scattered = {
        role: scattered_molecules(of_model.states, groups.of, confidence)
        for role, of_model in ends.items()
    }
    difference, both = found.difference, found.two_level
    return ConditionSticking(
        name=condition.name,
        **asdict(condition),
        teacher=model_sticking(teacher, groups, confidence),
        student=model_sticking(student, groups, confidence),
        paired=difference
        and PairedSticking(
            difference=difference.value,
            interval=difference.interval,
            trajectories=found.pairs,
            design_effect=difference.clustering.design_effect,
            only_teacher=difference.only_first,
            only_student=difference.only_second,
        ),
        two_level=both
        and TwoLevelSticking(
            probability=both.value,
            interval=both.interval,
            trajectories=both.samples,
            pairs=found.pairs,
            teacher_alone=both.alone,
        ),
        precision=reports,
        scattered={role: molecules for role, molecules in scattered.items() if molecules},
        energy_transfer_difference=transfer_difference(
            ends[TEACHER].states, ends[STUDENT].states, groups.of, confidence
        ),
    )


def _say_what_is_missing(
    condition: Condition, role: str, report: PrecisionReport, most: int
) -> None:
    if report.reached or not most or report.asked is None:
        return
    start = f"sticking: {condition.name}: "
    if report.surfaces_needed:
        say(
            f"{start}no number of {role} trajectories gives a precision of {report.asked:g} on "
            f"these surfaces: about {report.surfaces_needed} independent ones are needed, raise "
            "scattering.snapshots"
        )
    else:
        say(
            f"{start}{most} {role} trajectories are too few for a precision of {report.asked:g}: "
            f"about {report.needed} are needed"
        )


def model_sticking(
    outcomes: Sequence[Outcome], groups: Groups, confidence: float
) -> ModelSticking | None:
    """One model's probability under one condition; None without sound trajectories."""
    if not outcomes:
        return None
    counts = Counter(outcome.outcome for outcome in outcomes)
    if counts[BLOWN_UP]:
        reasons = Counter(o.reason for o in outcomes if o.outcome == BLOWN_UP)
        say(
            f"sticking: set aside {counts[BLOWN_UP]} of {len(outcomes)} trajectories "
            f"({', '.join(list(reasons)[:3])})"
        )
    sound = _sound(outcomes)
    if not sound:
        return None
    clusters = groups.clusters(list(sound))
    probability = proportion(list(sound.values()), confidence, clusters=clusters)
    return ModelSticking(
        probability=probability.value,
        interval=probability.interval,
        trajectories=len(sound),
        surfaces=clusters and probability.clustering.clusters,
        design_effect=probability.clustering.design_effect,
        outcomes={name: counts[name] for name in OUTCOMES},
        mean_force_calls=sum(outcome.calls for outcome in outcomes) / len(outcomes),
    )
