"""Options of the sampling stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import Count, NonNegative, Positive, Section
from distill.core.input_files import InputFile
from distill.models.config import LabelConfig
from distill.simulation.config import NebConfig, ScatteringConfig
from distill.student.config import StudentConfig


class MdConfig(Section):
    """Molecular dynamics of a given structure at a list of temperatures."""

    structure: InputFile = Field(
        description="file read by ASE, bundled:NAME, or preset:lif (the cubic cell of LiF)"
    )
    index: int = Field(0, description="which structure of the file")
    ensemble: Literal["nve", "nvt", "npt"] = Field("nvt", description="nvt by Langevin dynamics")
    temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [300.0, 600.0], description="K"
    )
    pressures: Annotated[list[float], Field(min_length=1)] = Field(
        [0.0], description="eV/Å³, for npt; every one at every temperature"
    )
    supercell: tuple[Count, Count, Count] = Field((1, 1, 1), description="repeats along the axes")
    defect: Literal["none", "interstitial", "vacancy", "dumbbell"] = Field(
        "none", description="point defect put into the supercell"
    )
    defect_element: str | None = Field(
        None, description="element of the defect; the structure's first if not given"
    )
    time: Positive = Field(2000.0, description="fs")
    equilibration_time: NonNegative = Field(200.0, description="left out at the start, fs")
    time_step: Positive = Field(1.0, description="fs")
    save_every: Positive = Field(20.0, description="fs between saved structures")
    friction: Positive = Field(0.01, description="of the Langevin dynamics, 1/fs")
    max_temperature: Positive = Field(
        10000.0, description="above which the run is stopped and set aside, K"
    )

    @model_validator(mode="after")
    def _check(self) -> MdConfig:
        if self.ensemble != "npt" and self.pressures != [0.0]:
            raise ValueError(f"pressures belong to ensemble npt, not to {self.ensemble}")
        return self


class RattleConfig(Section):
    """Random displacements and strains of given structures."""

    structures: InputFile = Field(description="file read by ASE, or bundled:NAME")
    copies: Count = Field(5, description="rattled copies of each")
    amplitude: NonNegative = Field(0.1, description="standard deviation of displacements, Å")
    strain: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.02, description="largest entry of the random strain"
    )
    relax_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="optimiser steps after each rattling; every structure on the way is kept"
    )


class SelectionConfig(Section):
    """Which of the sampled structures are kept and labelled."""

    method: Literal["kmeans", "fps", "leverage", "random"] = Field(
        "kmeans", description="cluster representatives, farthest points, D-optimal, or random"
    )
    count: Count = Field(2000, description="structures kept for the student, beside minimum paths")
    held_out: Annotated[int, Field(ge=0)] = Field(
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
    min_distance: Positive = Field(
        0.4, description="sampled structures with closer atoms are dropped, Å"
    )


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
    curve_points: Annotated[int, Field(ge=5)] = Field(
        20, description="bond lengths of the scattering molecule that the first student learns"
    )
    extra_structures: InputFile | None = Field(
        None, description="file of further candidates, such as those that a guarded run kept"
    )
    student: StudentConfig = Field(
        default_factory=lambda: StudentConfig(
            backend="native",
            order=3,
            totaldegree=[14, 12, 9],
            rcut=5.5,
            smoothness="evidence",
        ),
        description="the student that samples; a small one is fitted in seconds",
    )

    @model_validator(mode="after")
    def _check(self) -> DrivenConfig:
        if self.student.backend != "native":
            raise ValueError("driven.student.backend: expected native")
        if self.student.solver.committee == 0:
            raise ValueError("driven.student.solver.committee: expected members, found 0")
        return self


class SamplingConfig(Section):
    """Which configurations the teacher visits and labels."""

    scattering: ScatteringConfig | None = None
    neb: list[NebConfig] = Field(default_factory=list)
    md: list[MdConfig] = Field(default_factory=list)
    rattle: list[RattleConfig] = Field(default_factory=list)
    include_training: bool = Field(
        True, description="also relabel the reference training structures with the teacher"
    )
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    labels: LabelConfig = Field(default_factory=LabelConfig)
    driven: DrivenConfig | None = Field(
        None, description="let the student sample, and the teacher label what it is unsure of"
    )
