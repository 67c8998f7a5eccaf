"""Options of vibrational densities of states."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from distill.core.config import LARGEST, Duration, Positive
from distill.simulation.config import TrajectoryConfig

# fs times THz.
FS_THZ = 1000.0
# Frames in a segment at least; with fewer there is no spectrum to speak of.
_FEWEST_FRAMES = 16


class VdosConfig(TrajectoryConfig):
    """Vibrational density of states of a given structure, from velocities at constant energy."""

    runs: Annotated[int, Field(ge=2, le=LARGEST)] = Field(
        8, description="independent runs at each temperature; intervals rest on them"
    )
    save_every: Duration = Field(
        2.0, description="fs between saved velocities, less than half the shortest period"
    )
    resolution: Positive = Field(
        0.5, description="THz between frequencies; segments of the runs are its inverse long"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")

    @model_validator(mode="after")
    def _check_segments(self) -> VdosConfig:
        if self.frames_in_segment * self.frame_interval > self.time:
            raise ValueError(
                f"a resolution of {self.resolution:g} THz needs segments of "
                f"{self.frames_in_segment * self.frame_interval:g} fs, and time is {self.time:g}: "
                "raise time or resolution"
            )
        if self.frames_in_segment < _FEWEST_FRAMES:
            raise ValueError(
                f"a segment has {self.frames_in_segment} frames, expected {_FEWEST_FRAMES} or "
                "more: lower save_every or resolution"
            )
        return self

    @property
    def frames_in_segment(self) -> int:
        """Whose Fourier transform has the resolution."""
        return round(FS_THZ / (self.resolution * self.frame_interval))
