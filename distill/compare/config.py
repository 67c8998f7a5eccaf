"""Options of the comparison: models, timing, observables, tolerances."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from distill.core.config import (
    LARGEST,
    CountOrNone,
    Index,
    Positive,
    Repeats,
    Section,
    Threads,
    TimeStep,
    is_plain_name,
)
from distill.core.input_files import InputFile
from distill.models.config import CalculatorConfig
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.systems.config import Facet

# Of which a mean has an interval, and two end points and a saddle one to spare.
_FEWEST_CALLS = 4


class TimingConfig(Section):
    """Time per call on one core, every model in turn within one run."""

    facet: Facet = Field("111", description="of the 56-atom slab")
    structure: InputFile | None = Field(None, description="file instead of the H2/Cu slab")
    index: Index = Field(0, description="which structure of the file")
    repeats: Annotated[int, Field(ge=3, le=LARGEST)] = Field(
        15, description="rounds, each timing every model"
    )
    time_step: TimeStep = Field(0.1, description="fs, for the nanoseconds a day")
    supercells: list[tuple[Repeats, Repeats, Repeats]] = Field(
        default_factory=list, description="repetitions of the structure, for scaling with size"
    )
    cores: list[Threads] = Field(
        default_factory=list,
        description="numbers of cores, for scaling with cores on the largest of the supercells",
    )


class ErrorTolerances(Section):
    """Bounds of errors and times. A check passes only if its whole 95 % interval lies inside."""

    teacher_force_rmse: Positive | None = Field(
        None, description="reference-teacher on the test set, eV/Å"
    )
    teacher_energy_rmse: Positive | None = Field(
        None, description="reference-teacher on the test set, eV/atom"
    )
    student_force_rmse: Positive | None = Field(
        None, description="teacher-student on held-out sampled structures, eV/Å"
    )
    student_energy_rmse: Positive | None = Field(
        None, description="teacher-student on held-out sampled structures, eV/atom"
    )
    purpose_force_rmse: Positive | None = Field(
        None, description="reference-student on the test set, eV/Å: what the purpose allows"
    )
    purpose_energy_rmse: Positive | None = Field(
        None, description="reference-student on the test set, eV/atom: what the purpose allows"
    )
    speedup: Positive | None = Field(
        None, description="least ratio of the times of a forces call, teacher/student"
    )


class CompareBase(Section):
    """What proves the student: errors, timing, and the observables."""

    models: dict[str, CalculatorConfig] = Field(
        default_factory=dict,
        description="further models by name: timed, and run through the observables",
    )
    timing: TimingConfig | None = Field(default_factory=TimingConfig)
    reference_student: bool = Field(
        True,
        description="fit a student of equal size to the reference's training labels alone, to see "
        "what teacher and sampling are worth; costs one more fit",
    )

    teacher_calls: CountOrNone = Field(
        0,
        description="calls of the teacher for each of an observable's numbers at the teacher's "
        "level from the student's work; 0 leaves them out",
    )
    reference_calls: CountOrNone = Field(
        0, description="the same of the reference, where it can be run, at the reference's level"
    )

    @field_validator("teacher_calls", "reference_calls")
    @classmethod
    def _check_calls(cls, calls: int) -> int:
        if 0 < calls < _FEWEST_CALLS:
            raise ValueError(
                f"{calls} calls give no interval: expected {_FEWEST_CALLS} or more, or 0 for none"
            )
        return calls

    @field_validator("models")
    @classmethod
    def _check_names(cls, models: dict[str, CalculatorConfig]) -> dict[str, CalculatorConfig]:
        taken = sorted({REFERENCE, TEACHER, STUDENT} & set(models))
        if taken:
            raise ValueError(f"{', '.join(taken)}: a name that a level of the workflow has already")
        for name in models:
            if not is_plain_name(name):
                raise ValueError(f"'{name}': expected a plain name without slashes or leading dot")
        return models
