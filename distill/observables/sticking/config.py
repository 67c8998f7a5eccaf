"""Options of sticking probabilities."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import Count, CountOrNone, Section
from distill.core.input_files import InputFile
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.simulation.config import ScatteringConfig


class StickingConfig(Section):
    """Sticking probability of the models from the same initial conditions."""

    scattering: ScatteringConfig = Field(
        default_factory=ScatteringConfig,
        description="conditions and dynamics; its `trajectories` is not used here",
    )
    teacher_trajectories: CountOrNone = Field(
        100,
        description="teacher trajectories a condition, each paired with a student's; the largest "
        "number where a precision is asked for",
    )
    student_trajectories: Count = Field(
        10000, description="student trajectories a condition, or the largest number"
    )
    reference_trajectories: CountOrNone = Field(
        0,
        description="trajectories of the reference a condition, where it can be run, each paired "
        "with one of the teacher and one of the student; 0 for none",
    )
    precision: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        None,
        description="half width at which a condition stops: of the interval of the student's S0, "
        "and of the paired difference; all trajectories are run if not given",
    )
    two_level_precision: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        None,
        description="half width of the interval of the teacher's two-level estimate at which a "
        "condition stops; trajectories go to student and pairs as costs least time. With "
        "`precision` too, both are to be reached",
    )
    student_batch: Count = Field(
        200, description="student trajectories before the first look at the precision"
    )
    teacher_batch: Count = Field(
        10, description="teacher trajectories before the first look at the precision"
    )
    published: InputFile | None = Field(
        None, description="CSV of experimental or published points to draw beside"
    )
    initial_conditions: Literal["teacher", "student"] = Field(
        "teacher", description="whose thermal surfaces and molecular levels both start from"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")

    def all_trajectories(self) -> ScatteringConfig:
        """The section with the trajectories that each condition may have in all."""
        return self.scattering.model_copy(update={"trajectories": self.student_trajectories})

    @model_validator(mode="after")
    def _check(self) -> StickingConfig:
        counts = {
            role: getattr(self, f"{role}_trajectories") for role in (STUDENT, TEACHER, REFERENCE)
        }
        if self.two_level_precision is not None and not self.teacher_trajectories:
            raise ValueError("two_level_precision needs teacher_trajectories")
        for cheap, costly in pairwise(counts):
            if counts[cheap] < counts[costly]:
                raise ValueError(
                    f"{cheap}_trajectories ({counts[cheap]}) must not be fewer than "
                    f"{costly}_trajectories ({counts[costly]}): every {costly} trajectory is "
                    f"paired with a {cheap}'s"
                )
        return self
