"""Options of a MACE architecture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distill.core.config import Count, Positive, Section


class ArchitectureConfig(Section):
    """Size of a MACE that starts from new weights."""

    hidden_irreps: str = Field("16x0e", description="channels, such as 16x0e or 64x0e+64x1o")
    correlation: Annotated[int, Field(ge=1, le=4)] = Field(2, description="correlation order")
    r_max: Positive = Field(4.0, description="cutoff of one layer, Å")
    layers: Count = Field(2, description="interaction layers")
    max_ell: Annotated[int, Field(ge=0, le=6)] = Field(
        3, description="highest order of the spherical harmonics"
    )
    bessel: Count = Field(8, description="radial basis functions")
    radial_mlp: Annotated[list[Count], Field(min_length=1)] = Field(
        [64, 64, 64], description="widths of the radial network"
    )
    readout_irreps: str = Field("16x0e", description="width of the last readout")
