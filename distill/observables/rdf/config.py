"""Options of radial distribution functions."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from distill.core.config import Length
from distill.simulation.config import TrajectoryConfig

_PAIR = re.compile(r"[A-Z][a-z]?-[A-Z][a-z]?")
PairName = str


def _checked(name: str) -> str:
    if not _PAIR.fullmatch(name):
        raise ValueError(f"'{name}' is no pair of elements: expected two symbols, such as Li-F")
    return name


class RdfConfig(TrajectoryConfig):
    """Radial distribution functions and coordination numbers of a given structure."""

    pairs: Annotated[list[PairName], Field(min_length=1)] | None = Field(
        None, description="pairs of elements, such as Li-F; all pairs if not given"
    )
    r_max: Length = Field(6.0, description="largest distance, Å; periodic images count")
    bins: Annotated[int, Field(ge=10, le=100_000)] = Field(
        120, description="equal bins up to r_max"
    )
    coordination_radii: dict[PairName, Length] = Field(
        default_factory=dict,
        description="within which neighbours are counted, by pair, Å; the first minimum of the "
        "teacher's function where not given",
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")

    @field_validator("pairs")
    @classmethod
    def _check_pairs(cls, pairs: list[str] | None) -> list[str] | None:
        return pairs if pairs is None else [_checked(name) for name in dict.fromkeys(pairs)]

    @field_validator("coordination_radii")
    @classmethod
    def _check_radii(cls, radii: dict[str, float]) -> dict[str, float]:
        return {_checked(name): radius for name, radius in radii.items()}
