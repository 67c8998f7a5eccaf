"""Options of the sampling stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from distill.core.config import Count, CountOrNone, Length, NonNegative, Positive, Section
from distill.core.input_files import InputFile
from distill.models.config import LabelConfig
from distill.student.config import StudentConfig


class SelectionConfig(Section):
    """Which of the sampled structures are kept and labelled."""

    method: Literal["kmeans", "fps", "leverage", "random"] = Field(
        "kmeans", description="cluster representatives, farthest points, D-optimal, or random"
    )
    count: Count = Field(2000, description="structures kept for the student, beside minimum paths")
    held_out: CountOrNone = Field(
        100, description="structures of whole trajectories kept apart for testing the student"
    )
    descriptor: Literal["ace", "teacher"] = Field(
        "ace", description="what distances are measured in"
    )
    compare_methods: bool = Field(
        False, description="coverage by every method, as numbers and pictures, beside the chosen"
    )
    duplicate_tolerance: NonNegative = Field(
        1e-4, description="descriptor distance below which structures count as the same"
    )
    max_force: Positive = Field(50.0, description="sampled structures above this are dropped, eV/Å")
    min_distance: Length = Field(
        0.4, description="sampled structures with closer atoms are dropped, Å"
    )


# The student that samples, where its options do not say otherwise.
_STUDENT: dict[str, Any] = {
    "backend": "native",
    "order": 3,
    "totaldegree": [14.0, 12.0, 9.0],
    "rcut": 5.5,
    "smoothness": "evidence",
    "zbl": True,
}


class DrivenConfig(Section):
    """Sampling by the student: the teacher labels only what the student is unsure of."""

    rounds: Count = Field(10, description="rounds at most")
    labels: Count = Field(40, description="structures that the teacher labels in a round at most")
    max_calls: Count | None = Field(
        None, description="teacher calls at most, those of the held-out set apart; no limit if null"
    )
    target: Positive = Field(
        0.05,
        description="largest force deviation in a structure that ends it when 95 % of new "
        "structures are below, eV/Å",
    )
    bound: Positive = Field(
        10.0, description="extrapolation grade at which the student's trajectories are cut"
    )
    trajectories: Count | None = Field(
        None, description="of each scattering condition in a round; as in scattering if not given"
    )
    seed_structures: Count = Field(
        60, description="diverse structures of the training set that the first student learns"
    )
    curve_points: Annotated[int, Field(ge=5, le=1000)] = Field(
        20, description="bond lengths of the scattering molecule that the first student learns"
    )
    extra_structures: InputFile | None = Field(
        None, description="file of further candidates, such as those that a guarded run kept"
    )
    student: StudentConfig = Field(
        default_factory=lambda: StudentConfig.model_validate(_STUDENT),
        description="the student that samples; a small one is fitted in seconds",
    )

    @field_validator("student", mode="before")
    @classmethod
    def _as_by_default(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "basis" in given:
            return given
        together = {"order", "totaldegree"}
        left = _STUDENT.keys() - (together if together & given.keys() else set())
        return {**{name: _STUDENT[name] for name in left}, **given}

    @model_validator(mode="after")
    def _check(self) -> DrivenConfig:
        if self.student.backend != "native":
            raise ValueError("driven.student.backend: expected native")
        if self.student.basis != "given":
            raise ValueError(
                "driven.student.basis: a student of each round has a given basis; set order and "
                "totaldegree"
            )
        if self.student.solver.committee == 0:
            raise ValueError("driven.student.solver.committee: expected members, found 0")
        return self


class SamplingBase(Section):
    """Which configurations the teacher visits and labels, beside the methods of sampling."""

    include_training: bool = Field(
        True, description="also relabel the reference training structures with the teacher"
    )
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    labels: LabelConfig = Field(default_factory=LabelConfig)
    driven: DrivenConfig | None = Field(
        None, description="let the student sample, and the teacher label what it is unsure of"
    )
