"""Options of sampling by molecular dynamics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import (
    DISTINCT,
    MOST_REPEATS,
    Duration,
    Index,
    NonNegative,
    Positive,
    Pressure,
    Repeats,
    Section,
    Temperature,
    TemperatureOrZero,
    TimeStep,
)
from distill.core.input_files import InputFile, ModelFile
from distill.core.parts import STEPS_IN_PART
from distill.simulation.config import ENGINE, Engine, MultipleTimeStepsConfig


class MdTimeStepsConfig(MultipleTimeStepsConfig):
    """Steps by a student that there is already, corrected by the model that samples."""

    student: ModelFile | None = Field(
        None, description="file of the student, such as that of a run before"
    )


class MdConfig(Section):
    """Molecular dynamics of a given structure at a list of temperatures."""

    structure: InputFile = Field(
        description="file read by ASE, bundled:NAME, or preset:lif (the cubic cell of LiF)"
    )
    index: Index = Field(0, description="which structure of the file")
    ensemble: Literal["nve", "nvt", "npt"] = Field("nvt", description="nvt by Langevin dynamics")
    temperatures: Annotated[list[TemperatureOrZero], Field(min_length=1), DISTINCT] = Field(
        [300.0, 600.0], description="K"
    )
    pressures: Annotated[list[Pressure], Field(min_length=1), DISTINCT] = Field(
        [0.0], description="eV/Å³, for npt; every one at every temperature"
    )
    runs: Annotated[int, Field(ge=1, le=MOST_REPEATS)] = Field(
        1,
        description="independent runs at each temperature and pressure; whole ones are held out, "
        "and errors on them have an interval where some of each kind are",
    )
    supercell: tuple[Repeats, Repeats, Repeats] = Field(
        (1, 1, 1), description="repeats along the axes"
    )
    defect: Literal["none", "interstitial", "vacancy", "dumbbell"] = Field(
        "none", description="point defect put into the supercell"
    )
    defect_element: str | None = Field(
        None, description="element of the defect; the structure's first if not given"
    )
    time: Duration = Field(2000.0, description="fs")
    equilibration_time: NonNegative = Field(200.0, description="left out at the start, fs")
    time_step: TimeStep = Field(1.0, description="fs")
    save_every: Duration = Field(20.0, description="fs between saved structures")
    friction: Positive = Field(0.01, description="of the Langevin dynamics, 1/fs")
    max_temperature: Temperature = Field(
        10000.0, description="above which the run is stopped and set aside, K"
    )
    engine: Engine = Field("teacher", description=ENGINE)
    multiple_time_steps: MdTimeStepsConfig = Field(
        default_factory=MdTimeStepsConfig, description="of that engine, for nve and nvt"
    )

    @model_validator(mode="after")
    def _check(self) -> MdConfig:
        if self.ensemble != "npt" and self.pressures != [0.0]:
            raise ValueError(f"pressures belong to ensemble npt, not to {self.ensemble}")
        if self.time_step > min(self.save_every, self.time):
            raise ValueError("expected time_step <= save_every and time_step <= time")
        if self.engine == "multiple_time_steps":
            if self.ensemble == "npt":
                raise ValueError(
                    "engine multiple_time_steps goes with ensemble nve or nvt, not npt"
                )
            if self.multiple_time_steps.student is None:
                raise ValueError("engine multiple_time_steps needs multiple_time_steps.student")
            self.inner_steps()
        return self

    def inner_steps(self) -> tuple[int, ...]:
        """Of each outer step that fits the run and its checkpoints, rising."""
        return self.multiple_time_steps.inner_steps(self.time_step, *self.counts, STEPS_IN_PART)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Steps between frames, of the equilibration, and of the whole run."""
        every = max(round(self.save_every / self.time_step), 1)
        first = round(self.equilibration_time / self.time_step)
        return every, first, first + round(self.time / self.time_step)
