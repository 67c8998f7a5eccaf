"""Options of the comparison: models, timing, observables, tolerances."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from distill.core.config import Count, Positive, Section
from distill.core.input_files import InputFile
from distill.models.config import CalculatorConfig
from distill.observables.bulk.config import BulkConfig
from distill.observables.diffusion.config import DiffusionConfig
from distill.observables.sticking.config import StickingConfig
from distill.simulation.config import NebConfig
from distill.systems.config import Facet


class TimingConfig(Section):
    """Time per call on one core, every model in turn within one run."""

    facet: Facet = Field("111", description="of the 56-atom slab")
    structure: InputFile | None = Field(None, description="file instead of the H2/Cu slab")
    index: int = Field(0, description="which structure of the file")
    repeats: Annotated[int, Field(ge=3)] = Field(15, description="rounds, each timing every model")
    time_step: Positive = Field(0.1, description="fs, for the nanoseconds a day")
    supercells: list[tuple[Count, Count, Count]] = Field(
        default_factory=list, description="repetitions of the structure, for scaling with size"
    )
    cores: list[Count] = Field(
        default_factory=list,
        description="numbers of cores, for scaling with cores on the largest of the supercells",
    )


class Tolerances(Section):
    """Bounds of the verdict. A check passes only if its whole 95 % interval lies inside."""

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
    barrier: Positive | None = Field(
        None, description="difference of barriers teacher-student on every facet, eV"
    )
    sticking: Positive | None = Field(
        None, description="difference of sticking probabilities teacher-student, every condition"
    )
    activation_energy: Positive | None = Field(
        None, description="difference of activation energies of diffusion teacher-student, eV"
    )
    speedup: Positive | None = Field(
        None, description="least ratio of the times of a forces call, teacher/student"
    )


class CompareConfig(Section):
    """What proves the student: errors, timing, barriers, sticking."""

    models: dict[str, CalculatorConfig] = Field(
        default_factory=dict,
        description="further models by name: timed, and run through barriers and bulk properties",
    )
    timing: TimingConfig | None = Field(default_factory=TimingConfig)
    barriers: list[NebConfig] = Field(default_factory=list)
    reference_barriers: dict[str, InputFile] = Field(
        default_factory=dict, description="reference path files by facet, extxyz or bundled:NAME"
    )
    sticking: StickingConfig | None = None
    diffusion: DiffusionConfig | None = None
    bulk: BulkConfig | None = None
    tolerances: Tolerances = Field(default_factory=Tolerances)

    @field_validator("models")
    @classmethod
    def _check_names(cls, models: dict[str, CalculatorConfig]) -> dict[str, CalculatorConfig]:
        taken = sorted({"reference", "teacher", "student"} & set(models))
        if taken:
            raise ValueError(f"{', '.join(taken)}: a name that a level of the workflow has already")
        return models
