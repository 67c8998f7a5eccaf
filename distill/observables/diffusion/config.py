"""Options of diffusion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import (
    DISTINCT,
    Count,
    Duration,
    Expansion,
    Index,
    Length,
    Positive,
    Repeats,
    Section,
    Temperature,
    TimeStep,
)
from distill.core.input_files import InputFile
from distill.simulation.config import ENGINE, Engine, MultipleTimeStepsConfig


class PublishedEnergy(Section):
    """An activation energy of diffusion, measured or published."""

    value: Positive = Field(description="eV")
    low: Positive | None = Field(None, description="lower end of its interval, eV")
    high: Positive | None = Field(None, description="upper end, eV")

    @model_validator(mode="after")
    def _check(self) -> PublishedEnergy:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high belong together: give both or none")
        ends = (self.value, self.value) if self.low is None else (self.low, self.high)
        if not ends[0] <= self.value <= (ends[1] or 0.0):
            raise ValueError(f"expected low <= value <= high, found {self.value:g} outside")
        return self


class DiffusionConfig(Section):
    """Diffusion of a point defect by molecular dynamics, for every model; by default Li in LiF."""

    structure: InputFile | None = Field(
        None, description="file of the perfect crystal, or bundled:NAME; rocksalt LiF if not given"
    )
    index: Index = Field(0, description="which structure of the file")
    supercell: tuple[Repeats, Repeats, Repeats] = Field(
        (2, 2, 2), description="repeats along the axes"
    )
    defect: Literal["none", "interstitial", "vacancy", "dumbbell"] = Field(
        "interstitial", description="point defect put into the supercell"
    )
    element: str = Field("Li", description="of the defect and of the atoms that diffuse")
    defects: Count | None = Field(
        None,
        description="number of defects in the file's structure where defect is none; if not "
        "given, every atom of the element counts as one",
    )
    relax_volume: bool = Field(
        True, description="scale the crystal to each model's own volume at 0 K"
    )
    thermal_expansion: Expansion = Field(
        0.0, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K"
    )
    temperatures: Annotated[list[Temperature], Field(min_length=1), DISTINCT] = Field(
        [400.0, 450.0, 500.0, 600.0, 700.0], description="K"
    )
    runs: Count = Field(4, description="independent runs at each temperature")
    time: Duration = Field(3e6, description="production of each run, fs")
    times: dict[str, Duration] = Field(
        default_factory=dict, description="other production times by model, fs, e.g. teacher: 2e4"
    )
    equilibration_time: Duration = Field(5000.0, description="Langevin time before, fs")
    equilibration_friction: Positive = Field(0.01, description="of that, 1/fs")
    ensemble: Literal["nvt", "nve"] = Field(
        "nvt", description="of the production: nvt by Langevin dynamics of low friction, or nve"
    )
    friction: Positive = Field(0.001, description="of the production in nvt, 1/fs")
    time_step: TimeStep = Field(1.0, description="fs")
    save_every: Duration = Field(200.0, description="fs between saved positions")
    checkpoint_every: Duration = Field(20000.0, description="fs between checkpoints of a run")
    engine: Engine = Field("teacher", description=ENGINE)
    multiple_time_steps: MultipleTimeStepsConfig = Field(
        default_factory=MultipleTimeStepsConfig, description="of that engine"
    )
    fit_start: Duration = Field(
        2000.0,
        description="least first lag of the fit of the mean squared displacement, fs; it starts "
        "later where jumps remember each other",
    )
    fit_end: Duration | None = Field(
        None,
        description="last lag, fs, of a window that starts at fit_start; both are chosen by the "
        "data if not given",
    )
    counting: Literal["tracer", "collective"] = Field(
        "tracer", description="sum of the squares of all atoms, or square of the sum"
    )
    jump_length: Length | None = Field(
        None,
        description="of the defect, Å, for upper bounds; nearest neighbours of the element if not "
        "given",
    )
    published: PublishedEnergy | None = Field(
        None, description="measured or published activation energy that bounds are held against"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")
    max_temperature_ratio: Annotated[float, Field(gt=1, le=1e6)] = Field(
        3.0, description="kinetic over wanted temperature above which a run is blown up"
    )
    max_energy_change: Positive = Field(
        0.5, description="change of potential energy that marks a run as blown up, eV/atom"
    )
    melting_displacement: Positive = Field(
        0.3,
        description="median shift of framework atoms, in nearest-neighbour distances, that "
        "marks a run as melted",
    )

    @model_validator(mode="after")
    def _check(self) -> DiffusionConfig:
        if self.save_every < self.time_step or self.checkpoint_every < self.save_every:
            raise ValueError("expected time_step <= save_every <= checkpoint_every")
        if self.equilibration_time < self.time_step:
            raise ValueError("expected time_step <= equilibration_time")
        if self.engine == "multiple_time_steps":
            self.inner_steps()
        return self

    def inner_steps(self) -> tuple[int, ...]:
        """Of each outer step that fits the runs, rising."""
        return self.multiple_time_steps.inner_steps(
            self.time_step, self.steps_between_frames, self.equilibration_steps
        )

    @property
    def steps_between_frames(self) -> int:
        """Of the integrator."""
        return round(self.save_every / self.time_step)

    @property
    def equilibration_steps(self) -> int:
        """Of the integrator."""
        return round(self.equilibration_time / self.time_step)
