"""Options of diffusion and bulk properties."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.config.base import Count, NonNegative, Positive, Section


class DiffusionConfig(Section):
    """Diffusion of a point defect by molecular dynamics, for every model; by default Li in LiF."""

    structure: str | None = Field(
        None, description="file of the perfect crystal, or bundled:NAME; rocksalt LiF if not given"
    )
    index: int = Field(0, description="which structure of the file")
    supercell: tuple[Count, Count, Count] = Field((2, 2, 2), description="repeats along the axes")
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
    thermal_expansion: NonNegative = Field(
        0.0, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K"
    )
    temperatures: Annotated[list[Positive], Field(min_length=1)] = Field(
        [400.0, 450.0, 500.0, 600.0, 700.0], description="K"
    )
    runs: Count = Field(4, description="independent runs at each temperature")
    time: Positive = Field(3e6, description="production of each run, fs")
    times: dict[str, Positive] = Field(
        default_factory=dict, description="other production times by model, fs, e.g. teacher: 2e4"
    )
    equilibration_time: Positive = Field(5000.0, description="Langevin time before, fs")
    equilibration_friction: Positive = Field(0.01, description="of that, 1/fs")
    ensemble: Literal["nvt", "nve"] = Field(
        "nvt", description="of the production: nvt by Langevin dynamics of low friction, or nve"
    )
    friction: Positive = Field(0.001, description="of the production in nvt, 1/fs")
    time_step: Positive = Field(1.0, description="fs")
    save_every: Positive = Field(200.0, description="fs between saved positions")
    checkpoint_every: Positive = Field(20000.0, description="fs between checkpoints of a run")
    fit_start: Positive = Field(
        2000.0, description="first lag of the fit of the mean squared displacement, fs"
    )
    fit_end: Positive | None = Field(
        None, description="last lag, fs; a twentieth of the model's production time if not given"
    )
    counting: Literal["tracer", "collective"] = Field(
        "tracer", description="sum of the squares of all atoms, or square of the sum"
    )
    jump_length: Positive | None = Field(
        None,
        description="of the defect, Å, for upper bounds; nearest neighbours of the element if not "
        "given",
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")
    max_temperature_ratio: Annotated[float, Field(gt=1)] = Field(
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
        return self


class NptConfig(Section):
    """Molecular dynamics of a cubic crystal at constant pressure, for its lattice constant."""

    supercell: tuple[Count, Count, Count] = Field((4, 4, 4), description="of the cubic cell")
    time: Positive = Field(20000.0, description="production, fs")
    equilibration_time: NonNegative = Field(5000.0, description="left out at the start, fs")
    time_step: Positive = Field(2.0, description="fs")
    pressure: float = Field(0.0, description="eV/Å³")
    thermostat_time: Positive = Field(100.0, description="of the Nosé-Hoover chain, fs")
    barostat_time: Positive = Field(1000.0, description="of the barostat, fs")
    blocks: Annotated[int, Field(ge=3)] = Field(8, description="that the interval rests on")


class ThermalExpansionConfig(NptConfig):
    """Lattice constant against temperature by molecular dynamics at constant pressure."""

    temperatures: Annotated[list[Positive], Field(min_length=1)] = Field(
        [200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0], description="K"
    )


class PhononsConfig(Section):
    """Phonons of the crystal by finite displacements (phonopy)."""

    supercell: tuple[Count, Count, Count] = Field((2, 2, 2), description="of the cubic cell")
    displacement: Positive = Field(0.01, description="Å")
    mesh: Count = Field(20, description="wave vectors along each axis for the density of states")
    temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [0.0, 300.0, 1000.0, 2000.0], description="of the free energy, K"
    )
    volume_points: Annotated[int, Field(ge=0)] = Field(
        0, description="volumes of the quasi-harmonic free energy, 5 or more; 0 leaves it out"
    )
    volume_strain: Annotated[float, Field(gt=0, lt=0.2)] = Field(
        0.03, description="largest linear strain of those volumes; a third of it in compression"
    )
    max_force: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å")
    max_stress: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å³")


class BulkConfig(Section):
    """Energy-volume curve, elastic constants, thermal expansion and phonons of a crystal."""

    structure: str | None = Field(
        None,
        description="file of the cell, or bundled:NAME; else a cubic one is built from formula",
    )
    index: int = Field(0, description="which structure of the file")
    formula: str = Field("Cu", description="of the crystal where no file is given")
    crystal: str | None = Field(
        None, description="fcc, bcc, diamond, rocksalt, ...; known to ASE for elements"
    )
    lattice_constant: Positive | None = Field(
        None, description="first guess, Å; known to ASE for elements"
    )
    volume_strain: Annotated[float, Field(gt=0, lt=0.2)] = Field(
        0.03, description="largest linear strain of the energy-volume curve"
    )
    volume_points: Annotated[int, Field(ge=6)] = Field(9, description="points of the curve")
    elastic: bool = Field(True, description="elastic constants (needs matscipy)")
    elastic_strain: Annotated[float, Field(gt=0, lt=0.1)] = Field(
        0.004, description="largest strain of the elastic constants"
    )
    thermal_expansion: ThermalExpansionConfig | None = None
    phonons: PhononsConfig | None = None
    reference: dict[str, float] = Field(
        default_factory=dict,
        description="measured numbers that the figure of merit refers to, in place of the "
        "reference or the teacher: lattice_constant (Å), bulk_modulus_GPa, C11, C12, C44, ...",
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")
