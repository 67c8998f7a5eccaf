"""From how trajectories of both models ended to probabilities, differences and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from distill.core.progress import say
from distill.metrics.multilevel import MultilevelEstimate, multilevel
from distill.metrics.statistics import (
    PairedDifference,
    Proportion,
    half_width,
    paired_difference,
    proportion,
)
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.observables.sticking.effort import Effort
from distill.observables.sticking.result import (
    ConditionSticking,
    ModelSticking,
    MultilevelSticking,
    PairedSticking,
    PrecisionReport,
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


class Estimates:
    """What the outcomes of one condition give, model by model.

    Parameters
    ----------
    outcomes
        Of each model's trajectories.
    groups
        Which of them share what they start from.
    confidence
        Of the intervals.
    """

    def __init__(
        self, outcomes: Mapping[str, Sequence[Outcome]], groups: Groups, confidence: float
    ) -> None:
        self._sound = {role: _sound(found) for role, found in outcomes.items()}
        self._groups, self._confidence = groups, confidence

    def probability(self, role: str) -> Proportion | None:
        """Of one model; None without sound trajectories."""
        stuck, groups = self._sound[role], self._groups
        return (
            proportion(
                list(stuck.values()),
                self._confidence,
                clusters=groups.clusters(list(stuck)),
                available=groups.available,
            )
            if stuck
            else None
        )

    def difference(self, first: str, second: str) -> PairedDifference | None:
        """One model minus another on pairs of sound trajectories; None without any."""
        one, other, groups = self._sound[first], self._sound[second], self._groups
        pairs = sorted(one.keys() & other.keys())
        return (
            paired_difference(
                [one[number] for number in pairs],
                [other[number] for number in pairs],
                self._confidence,
                clusters=groups.clusters(pairs),
                available=groups.available,
            )
            if pairs
            else None
        )

    def multilevel(self, *roles: str) -> tuple[MultilevelEstimate, int] | None:
        """The last model's probability with the help of those before, the cheapest first.

        With the number of its trajectories that count; None without any.
        """
        every: list[int] = []
        counts = {}
        for place in range(len(roles), 0, -1):
            cheaper = [self._sound[role].keys() for role in roles[:place]]
            every += sorted(set.intersection(*map(set, cheaper)) - set(every))
            counts[roles[place - 1]] = len(every)
        if not counts[roles[-1]]:
            return None
        estimate = multilevel(
            [[self._sound[role][number] for number in every[: counts[role]]] for role in roles],
            self._confidence,
            clusters=self._groups.clusters(every),
        )
        return estimate, counts[roles[-1]]


def _sound(outcomes: Sequence[Outcome]) -> dict[int, bool]:
    """Whether each trajectory dissociated, by its number; those set aside are left out."""
    return {o.number: o.outcome == DISSOCIATED for o in outcomes if o.outcome != BLOWN_UP}


def condition_sticking(
    condition: Condition,
    ends: Mapping[str, Ends],
    groups: Groups,
    aims: Mapping[str, Target],
    confidence: float,
    effort: Effort | None = None,
) -> ConditionSticking:
    """All that the trajectories of one condition give, by model in `ends` and `aims`."""
    outcomes = {role: of_model.outcomes for role, of_model in ends.items()}
    found = Estimates(outcomes, groups, confidence)
    difference = found.difference(TEACHER, STUDENT)
    known = {TEACHER: difference, STUDENT: found.probability(STUDENT)}
    reports = {
        role: PrecisionReport(**aims[role].report(estimate, len(outcomes[role])))
        for role, estimate in known.items()
    }
    for role, report in reports.items():
        _say_what_is_missing(condition, role, report, aims[role].most)
    two_level = found.multilevel(STUDENT, TEACHER)
    if effort:
        reports["two_level"] = _of_effort(condition, effort, two_level and two_level[0])
    scattered = {
        role: scattered_molecules(of_model.states, groups.of, confidence)
        for role, of_model in ends.items()
    }
    others = (TEACHER, STUDENT) if REFERENCE in ends else ()
    against = {role: _paired(found.difference(role, REFERENCE)) for role in others}
    return ConditionSticking(
        name=condition.name,
        **asdict(condition),
        **{
            role: model_sticking(outcomes.get(role, ()), groups, confidence)
            for role in (REFERENCE, TEACHER, STUDENT)
        },
        paired=_paired(difference),
        against_reference={role: pairs for role, pairs in against.items() if pairs},
        two_level=_levelled(two_level),
        three_level=_levelled(found.multilevel(STUDENT, TEACHER, REFERENCE)) if others else None,
        precision=reports,
        scattered={role: molecules for role, molecules in scattered.items() if molecules},
        energy_transfer_difference=transfer_difference(
            ends[TEACHER].states, ends[STUDENT].states, groups.of, confidence
        ),
    )


def _paired(found: PairedDifference | None) -> PairedSticking | None:
    if found is None:
        return None
    return PairedSticking(
        difference=found.value,
        interval=found.interval,
        trajectories=found.samples,
        design_effect=found.clustering.design_effect,
        only_first=found.only_first,
        only_second=found.only_second,
    )


def _levelled(found: tuple[MultilevelEstimate, int] | None) -> MultilevelSticking | None:
    if found is None:
        return None
    estimate, pairs = found
    return MultilevelSticking(
        probability=estimate.value,
        interval=estimate.interval,
        trajectories=estimate.samples,
        pairs=pairs,
        alone=estimate.alone,
    )


def _of_effort(
    condition: Condition, effort: Effort, joint: MultilevelEstimate | None
) -> PrecisionReport:
    """Whether a two-level estimate is as precise as asked for; said where it is not."""
    width, reached = joint and half_width(joint), effort.reached(joint)
    if not reached:
        found = f"gave ±{width:.2g}" if width is not None else "gave no estimate"
        say(
            f"sticking: {condition.name}: {effort.most.teacher} teacher and {effort.most.student} "
            f"student trajectories {found} in place of ±{effort.half_width:g}: raise them"
        )
    return PrecisionReport(asked=effort.half_width, half_width=width, reached=reached, needed=None)


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
