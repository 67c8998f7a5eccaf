"""Options of barriers."""

from __future__ import annotations

from pydantic import Field

from distill.core.input_files import InputFile
from distill.simulation.config import PathConfig


class BarrierConfig(PathConfig):
    """A minimum energy path that every model relaxes."""

    reference: InputFile | None = Field(
        None,
        description="images of the reference's finished path with REF_energy, extxyz or "
        "bundled:NAME, where the reference cannot be run",
    )
