"""How many trajectories a sticking probability still needs for the precision asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.metrics.statistics import (
    PairedDifference,
    Proportion,
    half_width,
    pairs_needed,
    trajectories_needed,
)

if TYPE_CHECKING:
    from distill.observables.sticking.config import StickingConfig

Counted = Proportion | PairedDifference


@dataclass(frozen=True)
class Target:
    """An interval that is to become narrow, and the trajectories that may be spent on it.

    Attributes
    ----------
    half_width
        Of the interval when it is narrow enough; None to spend all.
    batch
        Trajectories before the first look.
    most
        Trajectories at most.
    """

    half_width: float | None
    batch: int
    most: int

    @property
    def first(self) -> int:
        """Trajectories to begin with."""
        return self.most if self.half_width is None else min(self.batch, self.most)

    def reached(self, estimate: Counted | None) -> bool:
        """Whether an estimate is precise enough."""
        if self.half_width is None or estimate is None:
            return self.half_width is None
        return half_width(estimate) <= self.half_width

    def needed(self, estimate: Counted | None, done: int) -> int | None:
        """Trajectories in all that the precision would take if further ones end as these did.

        The least number at which the same proportions give an interval narrow enough, and the
        same share of trajectories is set aside. Without an estimate, a batch more than there are.
        None where the surfaces are too few for any number.
        """
        if self.half_width is None or estimate is None:
            return done + self.batch
        sound = estimate.needed(self.half_width)
        return sound and max(math.ceil(sound * done / estimate.samples), done + 1)

    def after(self, estimate: Counted | None, done: int) -> int:
        """How many trajectories there are to be in all: `done` where nothing more is to be run.

        A function of the outcomes so far alone, so that a resumed run decides as the first did.
        The number at most doubles at a time, because the first intervals say little.
        """
        if self.reached(estimate) or done >= self.most:
            return done
        needed = self.needed(estimate, done)
        if needed is None:
            return done
        wanted = max(needed, done + self.batch)
        return min(wanted, 2 * max(done, self.batch), self.most)

    def report(self, estimate: Counted | None, done: int) -> dict[str, Any]:
        """What a `PrecisionReport` says."""
        reached = self.reached(estimate)
        needed = None if reached else self.needed(estimate, done)
        surfaces = None
        if not reached and needed is None and estimate and self.half_width:
            surfaces = estimate.clusters_needed(self.half_width)
        return {
            "asked": self.half_width,
            "half_width": None if estimate is None else half_width(estimate),
            "reached": reached,
            "needed": needed,
            "surfaces_needed": surfaces,
        }


def targets(config: StickingConfig) -> dict[str, Target]:
    """What each model's trajectories are for: the student's S0, the teacher's difference to it.

    Raises
    ------
    UserError
        If the budget cannot give the precision even where no trajectory sticks.
    """
    found = {
        "teacher": Target(config.precision, config.teacher_batch, config.teacher_trajectories),
        "student": Target(config.precision, config.student_batch, config.student_trajectories),
    }
    if config.precision is None:
        return found
    width, confidence = config.precision, config.confidence
    least = {
        "teacher": pairs_needed(width, confidence),
        "student": trajectories_needed(0.0, width, confidence),
    }
    uncertain = {
        "teacher": f"{pairs_needed(width, confidence, (0.25, 0.25))} where half of the pairs end "
        "differently",
        "student": f"{trajectories_needed(0.5, width, confidence)} where half of them stick",
    }
    for role, target in found.items():
        if 0 < target.most < least[role]:
            raise UserError(
                f"compare.sticking.{role}_trajectories is {target.most}, which cannot give a "
                f"precision of {width:g}: {least[role]} are needed at least, and about "
                f"{uncertain[role]}; raise it, or precision"
            )
    return found
