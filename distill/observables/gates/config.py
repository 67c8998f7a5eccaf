"""Options and bars of the gates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from distill.core.config import MOST_REPEATS, Count, Positive, Section
from distill.core.input_files import InputFile

# Of a run: three energies, with which a line and its scatter begin.
_FEWEST_STEPS = 10


class GatesConfig(Section):
    """Whether the student is sound to run: stable, conservative, extensive, smooth."""

    structures: InputFile | None = Field(
        None, description="where runs start, spread over the file; the held-out ones if not given"
    )
    runs: Annotated[int, Field(ge=2, le=MOST_REPEATS)] = Field(
        3, description="runs of each kind: nve, hot, and hot at twice the temperature"
    )
    temperature: Positive = Field(300.0, description="K")
    time: Positive = Field(2000.0, description="of each run, fs")
    time_step: Positive | None = Field(
        None, description="fs; 1, or 0.5 where there is hydrogen, if not given"
    )
    friction: Positive = Field(0.01, description="of the Langevin dynamics of hot runs, 1/fs")
    probes: Count = Field(
        4, description="directions of each structure along which forces are checked"
    )

    @model_validator(mode="after")
    def _check(self) -> GatesConfig:
        shortest = _FEWEST_STEPS * (self.time_step or 1.0)
        if self.time < shortest:
            raise ValueError(
                f"time: a drift needs {_FEWEST_STEPS} steps, expected {shortest:g} fs or more, "
                f"found {self.time:g}"
            )
        return self


class GateTolerances(Section):
    """Bars of the gates; each has a default, and null leaves it out."""

    lost_time: Positive | None = Field(
        1e-3, description="largest share of its time that a hot run falls short of by blowing up"
    )
    energy_drift: Positive | None = Field(
        0.1, description="of the total energy in nve runs, eV/atom/ns"
    )
    momentum_drift: Positive | None = Field(
        1e-6, description="of the total momentum in nve runs, amu Å/fs per atom and ns"
    )
    extensivity: Positive | None = Field(
        1e-6, description="energy of two copies over twice that of one, eV/atom"
    )
    smoothness: Positive | None = Field(
        0.01, description="largest jump of a force along a path through the cutoffs, eV/Å"
    )
    gradient: Positive | None = Field(
        1e-3, description="student's forces against the gradient of its energy, RMS, eV/Å"
    )
