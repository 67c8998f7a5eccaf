"""Options of slabs and of crystals at constant pressure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import (
    MOST_REPEATS,
    Duration,
    Expansion,
    Length,
    NonNegative,
    Pressure,
    Repeats,
    Section,
    TimeStep,
)
from distill.core.input_files import InputFile

_OF_THE_FILE = (
    "element",
    "size",
    "layers",
    "vacuum",
    "lattice_constant",
    "thermal_expansion",
    "npt",
)


class NptConfig(Section):
    """Molecular dynamics of a cubic crystal at constant pressure, for its lattice constant."""

    supercell: tuple[Repeats, Repeats, Repeats] = Field((4, 4, 4), description="of the cubic cell")
    time: Duration = Field(20000.0, description="production, fs")
    equilibration_time: NonNegative = Field(5000.0, description="left out at the start, fs")
    time_step: TimeStep = Field(2.0, description="fs")
    pressure: Pressure = Field(0.0, description="eV/Å³")
    thermostat_time: Duration = Field(100.0, description="of the Nosé-Hoover chain, fs")
    barostat_time: Duration = Field(1000.0, description="of the barostat, fs")
    blocks: Annotated[int, Field(ge=3, le=1000)] = Field(
        8, description="that the interval rests on"
    )


class SlabConfig(Section):
    """A metal slab, periodic in the plane, with fixed bottom layers; or a slab of the user's."""

    file: InputFile | None = Field(
        None, description="slab of your own, used as it is at every temperature; no facets then"
    )
    element: str = Field("Cu", description="fcc metal")
    size: tuple[Repeats, Repeats] = Field(
        (3, 3), description="surface cells along the two directions"
    )
    layers: Repeats = Field(4, description="atomic layers")
    fixed_layers: Annotated[int, Field(ge=0, le=MOST_REPEATS)] = Field(
        2, description="bottom layers held fixed; of a file, where it constrains no atom itself"
    )
    vacuum: Length = Field(16.0, description="gap between periodic images along z, Å")
    lattice_constant: Length | None = Field(
        None, description="at 0 K, Å; if not given, from the calculator's energy-volume curve"
    )
    thermal_expansion: Expansion = Field(
        1.69e-5, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K; Cu by default"
    )
    npt: NptConfig | None = Field(
        None, description="measure a(T) by dynamics at constant pressure, in place of α"
    )

    @model_validator(mode="after")
    def _check(self) -> SlabConfig:
        defaults = type(self).model_fields
        given = [n for n in _OF_THE_FILE if getattr(self, n) != defaults[n].default]
        if self.file and given:
            raise ValueError(
                f"the slab of a file brings its own {', '.join(given)}: leave them out"
            )
        return self


Facet = Literal["111", "100", "110", "211"]
