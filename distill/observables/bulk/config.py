"""Options of bulk properties."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from distill.core.config import (
    DISTINCT,
    Index,
    Length,
    Positive,
    Repeats,
    Section,
    Signed,
    Temperature,
    TemperatureOrZero,
)
from distill.core.input_files import InputFile
from distill.systems.config import NptConfig

# A Birch-Murnaghan curve has four parameters.
FEWEST_VOLUMES = 5


class ThermalExpansionConfig(NptConfig):
    """Lattice constant against temperature by molecular dynamics at constant pressure."""

    temperatures: Annotated[list[Temperature], Field(min_length=1), DISTINCT] = Field(
        [200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0], description="K"
    )


class PhononsConfig(Section):
    """Phonons of the crystal by finite displacements (phonopy)."""

    supercell: tuple[Repeats, Repeats, Repeats] = Field((2, 2, 2), description="of the cubic cell")
    displacement: Length = Field(0.01, description="Å")
    mesh: Annotated[int, Field(ge=1, le=200)] = Field(
        20, description="wave vectors along each axis for the density of states"
    )
    temperatures: Annotated[list[TemperatureOrZero], Field(min_length=1), DISTINCT] = Field(
        [0.0, 300.0, 1000.0, 2000.0], description="of the free energy, K"
    )
    volume_points: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="volumes of the quasi-harmonic free energy, 5 or more; 0 leaves it out"
    )
    volume_strain: Annotated[float, Field(ge=1e-4, lt=0.2)] = Field(
        0.03, description="largest linear strain of those volumes; a third of it in compression"
    )
    max_force: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å")
    max_stress: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å³")

    @model_validator(mode="after")
    def _check(self) -> PhononsConfig:
        if 0 < self.volume_points < FEWEST_VOLUMES:
            raise ValueError(
                f"volume_points: the quasi-harmonic free energy needs {FEWEST_VOLUMES} or more, "
                f"found {self.volume_points}; 0 leaves it out"
            )
        return self


class BulkConfig(Section):
    """Energy-volume curve, elastic constants, thermal expansion and phonons of a crystal."""

    structure: InputFile | None = Field(
        None,
        description="file of the cell, or bundled:NAME; else a cubic one is built from formula",
    )
    index: Index = Field(0, description="which structure of the file")
    formula: str = Field("Cu", description="of the crystal where no file is given")
    crystal: str | None = Field(
        None, description="fcc, bcc, diamond, rocksalt, ...; known to ASE for elements"
    )
    lattice_constant: Length | None = Field(
        None, description="first guess, Å; known to ASE for elements"
    )
    volume_strain: Annotated[float, Field(ge=1e-4, lt=0.2)] = Field(
        0.03, description="largest linear strain of the energy-volume curve"
    )
    volume_points: Annotated[int, Field(ge=6, le=1000)] = Field(
        9, description="points of the curve"
    )
    elastic: bool = Field(True, description="elastic constants (needs matscipy)")
    elastic_strain: Annotated[float, Field(ge=1e-5, lt=0.1)] = Field(
        0.004, description="largest strain of the elastic constants"
    )
    thermal_expansion: ThermalExpansionConfig | None = None
    phonons: PhononsConfig | None = None
    reference: dict[str, Signed] = Field(
        default_factory=dict,
        description="measured numbers that bounds are held against, and the figure of merit in "
        "place of the reference or the teacher: lattice_constant (Å), bulk_modulus_GPa, C11, ...",
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")
