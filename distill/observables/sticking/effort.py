"""Trajectories of student and teacher that give the teacher's probability at least cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from distill.core.errors import UserError
from distill.metrics.allocation import Level, allocation
from distill.metrics.multilevel import MultilevelEstimate, multilevel
from distill.metrics.statistics import PairedDifference, Proportion, half_width

if TYPE_CHECKING:
    from distill.observables.sticking.config import StickingConfig

# By so much a standard error is lowered until it takes a trajectory more than there are.
_CLOSER = 0.95


class Counts(NamedTuple):
    """Trajectories of both models; each of the teacher's has its student's."""

    teacher: int
    student: int


@dataclass(frozen=True)
class Effort:
    """A two-level estimate that is to become precise, and what may be spent on it.

    Attributes
    ----------
    half_width
        Of its interval when it is precise enough.
    first, most
        Trajectories before the first look, and at most.
    cost
        Of a teacher's trajectory over that of a student's.
    """

    half_width: float
    first: Counts
    most: Counts
    cost: float

    def reached(self, joint: MultilevelEstimate | None) -> bool:
        """Whether the estimate is precise enough."""
        return joint is not None and half_width(joint) <= self.half_width

    def after(
        self,
        joint: MultilevelEstimate | None,
        student: Proportion | None,
        pairs: PairedDifference | None,
        done: Counts,
    ) -> Counts:
        """How many there are to be in all: `done` where nothing more is to be run.

        Further student trajectories and pairs go as the roots of variance over cost (see
        `allocation`), their variances those of the outcomes so far with Agresti and Coull's four
        cases more (Am. Stat. 52, 119 (1998)), and Bonett and Price's two more pairs. The numbers
        at most double at a time. A function of the outcomes and the cost alone, so that a resumed
        run decides as the first did.
        """
        if self.reached(joint) or done == self.most:
            return done
        if joint is None or student is None or pairs is None:
            return self._within(Counts(*(2 * count for count in done)), done)
        effect = student.clustering.design_effect
        share = (student.samples * student.value + 2) / (student.samples + 4)
        one, other = (
            (count + 1) / (pairs.samples + 2) for count in (pairs.only_first, pairs.only_second)
        )
        spread = (one + other - (one - other) ** 2) * pairs.clustering.design_effect
        levels = [Level(share * (1 - share) * effect, 1.0), Level(spread, 1.0 + self.cost)]
        # What the present counts give by the same variances, and how much less is wanted.
        further, teachers = max(student.samples - pairs.samples, 1), pairs.samples
        now = (levels[0].variance / further + levels[1].variance / teachers) ** 0.5
        wanted = now * min(self.half_width / half_width(joint), _CLOSER)
        while True:
            more, teacher = allocation(levels, standard_error=wanted).samples
            counts = self._within(Counts(teacher, teacher + more), done)
            if counts != done:
                return counts
            wanted *= _CLOSER

    def _within(self, wanted: Counts, done: Counts) -> Counts:
        """Between what there is and its double, and the budget."""
        counts = [
            min(max(new, old), 2 * max(old, first), most)
            for new, old, first, most in zip(wanted, done, self.first, self.most, strict=True)
        ]
        return Counts(counts[0], max(counts))


def refuse_effort(config: StickingConfig) -> None:
    """Refuse a budget that cannot give the precision even where no trajectory sticks.

    Raises
    ------
    UserError
        With what it gives at best.
    """
    if config.two_level_precision is None:
        return
    none = [[False] * config.student_trajectories, [False] * config.teacher_trajectories]
    best = half_width(multilevel(none, config.confidence))
    if best > config.two_level_precision:
        raise UserError(
            f"compare.sticking.two_level_precision is {config.two_level_precision:g}, but "
            f"{config.teacher_trajectories} teacher_trajectories and "
            f"{config.student_trajectories} student_trajectories give ±{best:.2g} at best: raise "
            "them, or the precision"
        )
