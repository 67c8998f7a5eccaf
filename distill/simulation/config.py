"""Options of scattering trajectories and of minimum energy paths."""

from __future__ import annotations

from math import gcd
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from distill.core.config import (
    DISTINCT,
    LARGEST,
    Count,
    CountOrNone,
    Duration,
    Index,
    Length,
    NonNegative,
    Positive,
    Repeats,
    Section,
    Temperature,
    TemperatureOrZero,
    TimeStep,
)
from distill.core.input_files import InputFile
from distill.systems.config import Facet, SlabConfig

# A vibrational or rotational quantum number.
_Level = Annotated[int, Field(ge=0, le=1000)]
# Of a trajectory, beside its condition and its surfaces.
_DYNAMICS = (
    "azimuthal_angle",
    "start_height",
    "time_step",
    "max_time",
    "save_every",
    "dissociation_distance",
    "scattered_height",
    "max_energy_error",
    "max_temperature",
)


State = tuple[_Level, _Level]
PolarAngle = Annotated[float, Field(ge=0, lt=90)]


class ScatteringCase(Section):
    """Conditions that belong together: every combination of its lists, else of the section's."""

    facets: Annotated[list[Facet], Field(min_length=1)] | None = Field(
        None, description="fcc facets"
    )
    surface_temperatures: Annotated[list[TemperatureOrZero], Field(min_length=1)] | None = Field(
        None, description="K"
    )
    states: Annotated[list[State], Field(min_length=1)] | None = Field(
        None, description="rovibrational (v, J)"
    )
    collision_energies: Annotated[list[Positive], Field(min_length=1)] | None = Field(
        None, description="eV"
    )
    polar_angles: Annotated[list[PolarAngle], Field(min_length=1)] | None = Field(
        None, description="incidence, degrees from the normal"
    )


class ScatteringConfig(Section):
    """Trajectories of a diatomic on a surface; the defaults are the study's."""

    molecule: str = Field("H2", description="diatomic; isotopes as D2, HD, T2")
    masses: tuple[Positive, Positive] | None = Field(
        None, description="of its two atoms for other isotopes, amu"
    )
    slab: SlabConfig = Field(default_factory=SlabConfig, description="the surface")
    facets: Annotated[list[Facet], Field(min_length=1)] = Field(
        ["111", "110", "100", "211"], description="fcc facets; not used with slab.file"
    )
    surface_temperatures: Annotated[list[TemperatureOrZero], Field(min_length=1)] = Field(
        [300.0, 600.0, 900.0], description="K"
    )
    states: Annotated[list[State], Field(min_length=1)] = Field(
        [(0, 1), (1, 1)], description="rovibrational (v, J)"
    )
    collision_energies: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], description="eV"
    )
    cases: list[ScatteringCase] = Field(
        default_factory=list,
        description="conditions in groups, such as each state with energies of its own: every "
        "combination of a case's lists, with the section's where it has none; all combinations of "
        "the section's lists if there are no cases",
    )
    trajectories: Count = Field(5, description="trajectories for each condition")
    polar_angle: PolarAngle = Field(0.0, description="incidence, degrees from the normal")
    azimuthal_angle: Annotated[float, Field(ge=-360, le=360)] | None = Field(
        None, description="incidence, degrees from x; random if not given"
    )
    start_height: Length = Field(7.0, description="molecule above the top layer at start, Å")
    time_step: TimeStep = Field(0.1, description="fs")
    max_time: Duration = Field(3000.0, description="fs")
    save_every: Duration = Field(1.0, description="fs between saved structures")
    dissociation_distance: Length = Field(2.25, description="bond length that ends it, Å")
    scattered_height: Length | None = Field(
        None,
        description="height that ends it once the molecule moves away, Å; "
        "start_height + 0.1 if not given",
    )
    thermalisation_time: NonNegative = Field(
        1000.0,
        description="Langevin time before the first of ten snapshots; every ten begin anew, fs",
    )
    snapshots: Count | None = Field(
        None,
        description="surface snapshots a facet and temperature, which all conditions share; one "
        "for each trajectory of a condition, 500 at most, if not given",
    )
    snapshot_interval: Duration = Field(500.0, description="Langevin time between snapshots, fs")
    surface_time_step: TimeStep = Field(2.0, description="of the Langevin dynamics, fs")
    friction: Positive = Field(0.02, description="of the Langevin dynamics, 1/fs")
    max_energy_error: Positive = Field(
        0.1, description="drift of the total energy above which a trajectory is set aside, eV"
    )
    max_temperature: Temperature = Field(
        20000.0, description="of the moving atoms, above which a trajectory is set aside, K"
    )

    @model_validator(mode="after")
    def _check(self) -> ScatteringConfig:
        if self.time_step > min(self.save_every, self.max_time):
            raise ValueError("expected time_step <= save_every and time_step <= max_time")
        return self

    def dynamics(self) -> dict[str, Any]:
        """What a trajectory depends on beside its condition, number and surfaces."""
        return {name: getattr(self, name) for name in _DYNAMICS}


class PathConfig(Section):
    """A climbing-image nudged elastic band, by default for H2 dissociating on a facet."""

    facet: Facet = Field("111", description="fcc facet of the preset")
    slab: SlabConfig = Field(default_factory=SlabConfig, description="the surface of the preset")
    site: Literal["bridge", "hollow", "top"] = Field("bridge", description="site of the molecule")
    initial: InputFile | None = Field(
        None, description="structure file of the first end point, in place of the preset"
    )
    final: InputFile | None = Field(
        None, description="structure file of the second end point, same atoms in the same order"
    )
    exchange: bool = Field(
        False, description="like atoms change places between end points of your own on purpose"
    )
    relax_ends: bool = Field(
        True, description="relax the end points first, to 0.005 eV/Å or fmax if that is less"
    )
    images: Annotated[int, Field(ge=3, le=1000)] = Field(
        9, description="images, end points included"
    )
    fmax: Positive = Field(0.05, description="force tolerance, eV/Å")
    max_steps: Count = Field(300, description="optimiser steps at most, and for each end point")
    require_convergence: bool = Field(
        False, description="stop with an error where fmax is not reached, instead of marking it"
    )
    hessian: Literal["mobile", "reacting", "none"] = Field(
        "mobile",
        description="atoms whose Hessian is taken at the saddle and the end points: all that may "
        "move, or those that react; six force calls an atom",
    )

    @model_validator(mode="after")
    def _check(self) -> PathConfig:
        if (self.initial is None) != (self.final is None):
            raise ValueError("initial and final belong together: give both or none")
        return self


class NebConfig(PathConfig):
    """A climbing-image nudged elastic band whose structures are sampled."""

    keep: CountOrNone = Field(50, description="structures kept for labelling along the path")
    hessian: Literal["mobile", "reacting", "none"] = Field(
        "reacting",
        description="atoms whose Hessian is taken at the saddle and the end points: all that may "
        "move, or those that react; six force calls an atom",
    )


# Of those that are tested, fs: beyond half the period of almost any vibration.
_LONGEST_OUTER_STEP = 24.0


class MultipleTimeStepsConfig(Section):
    """Steps by the student, corrected by the teacher once every outer step."""

    outer_step: TimeStep | None = Field(
        None,
        description="fs between corrections, a multiple of time_step of which times between "
        "frames are multiples; the largest that the test allows if not given",
    )
    test_time: Duration = Field(1000.0, description="nve run of each outer step that is tested, fs")
    max_energy_error: Positive = Field(
        5e-4, description="rms of the total energy in the test, its drift taken off, eV/atom"
    )
    max_drift: Positive = Field(
        0.1, description="drift of the total energy in the test, eV/atom/ns"
    )
    max_grade: Positive = Field(
        1.0, description="extrapolation grade above which the teacher takes the outer step"
    )

    def inner_steps(self, time_step: float, *counts: int) -> tuple[int, ...]:
        """Inner steps of each outer step that fits runs, rising; one number if it is given.

        Parameters
        ----------
        time_step
            fs.
        counts
            Numbers of time steps, between frames or of a whole run, that outer steps divide.

        Raises
        ------
        ValueError
            If the outer step divides them not, or none but the time step does.
        """
        common = gcd(*counts)
        fitting = [n for n in range(1, common + 1) if common % n == 0]
        listed = ", ".join(f"{n * time_step:g}" for n in fitting[:8])
        if self.outer_step is None:
            if short := [n for n in fitting[1:] if n * time_step <= _LONGEST_OUTER_STEP]:
                return tuple(short)
            raise ValueError(
                f"multiple_time_steps: no outer step but {listed} fs goes into the times between "
                "frames, of the equilibration and of the run; make them multiples of 2 or 4 steps"
            )
        wanted = round(self.outer_step / time_step)
        if wanted not in fitting or abs(wanted * time_step - self.outer_step) > 1e-6:
            raise ValueError(
                f"multiple_time_steps.outer_step: {self.outer_step:g} fs, expected one that goes "
                "into the times between frames, of the equilibration and of the run, such as "
                f"{listed} fs"
            )
        return (wanted,)


# What moves the atoms for a teacher's trajectory.
Engine = Literal["teacher", "multiple_time_steps"]
ENGINE = (
    "teacher: every model takes its own steps; multiple_time_steps: all but the student take "
    "the student's in between"
)


class DynamicsConfig(Section):
    """Dynamics of a run: equilibration, then production with saved frames."""

    time: Duration = Field(10000.0, description="production of each run, fs")
    equilibration_time: Duration = Field(2000.0, description="Langevin time before, fs")
    time_step: TimeStep = Field(1.0, description="fs")
    friction: Positive = Field(0.01, description="of the Langevin dynamics, 1/fs")
    save_every: Duration = Field(20.0, description="fs between saved frames")
    max_temperature: Temperature = Field(
        10000.0, description="above which a run is stopped and left out, K"
    )

    @model_validator(mode="after")
    def _check_times(self) -> DynamicsConfig:
        if not self.time_step <= self.save_every <= self.time:
            raise ValueError("expected time_step <= save_every <= time")
        return self

    @property
    def steps_between_frames(self) -> int:
        """Of the integrator."""
        return round(self.save_every / self.time_step)

    @property
    def equilibration_steps(self) -> int:
        """Of the integrator."""
        return max(round(self.equilibration_time / self.time_step), 1)

    @property
    def frame_interval(self) -> float:
        """Time between saved frames, fs: a whole number of steps."""
        return self.steps_between_frames * self.time_step

    def dynamics(self) -> dict[str, Any]:
        """What a run depends on beside its model, start, temperature and number."""
        return {name: getattr(self, name) for name in DynamicsConfig.model_fields}


class TrajectoryConfig(DynamicsConfig):
    """Independent runs of molecular dynamics of a given structure at a list of temperatures."""

    structure: InputFile = Field(
        description="file read by ASE, bundled:NAME, or preset:lif (the cubic cell of LiF)"
    )
    index: Index = Field(0, description="which structure of the file")
    supercell: tuple[Repeats, Repeats, Repeats] = Field(
        (1, 1, 1), description="repeats along the axes"
    )
    temperatures: Annotated[list[Temperature], Field(min_length=1), DISTINCT] = Field(
        [300.0], description="K"
    )
    runs: Annotated[int, Field(ge=2, le=LARGEST)] = Field(
        4, description="independent runs at each temperature; intervals rest on them"
    )
    engine: Engine = Field("teacher", description=ENGINE)
    multiple_time_steps: MultipleTimeStepsConfig = Field(
        default_factory=MultipleTimeStepsConfig, description="of that engine"
    )

    @model_validator(mode="after")
    def _check(self) -> TrajectoryConfig:
        if self.engine == "multiple_time_steps":
            self.inner_steps()
        return self

    def inner_steps(self) -> tuple[int, ...]:
        """Of each outer step that fits the runs, rising."""
        return self.multiple_time_steps.inner_steps(
            self.time_step, self.steps_between_frames, self.equilibration_steps
        )
