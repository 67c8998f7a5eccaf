"""What timing returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from distill.core.results import Interval, Record, Result


class Spread(Record):
    """Milliseconds a call over the rounds, and calls a round."""

    median: float
    q1: float
    q3: float
    min: float
    calls: int


class Ratio(Record):
    """Median over rounds of time(first) / time(model), with its 95 % interval."""

    median: float
    interval: Interval


class ModelTiming(Record):
    """Times of one model on one structure.

    Attributes
    ----------
    energy_ms, forces_ms
        Of a call for the energy, and for energy and forces.
    us_per_atom, ns_per_day
        Of a forces call.
    first_call_s, load_s
        The first call, compilation included; loading, of the first structure alone.
    speedup_energy, speedup_forces
        Against the first model.
    speedup_beside
        Of a forces call, against the other model that ratios refer to.
    """

    energy_ms: Spread
    forces_ms: Spread
    us_per_atom: float
    ns_per_day: float
    first_call_s: float
    speedup_energy: Ratio
    speedup_forces: Ratio
    speedup_beside: Ratio | None = None
    load_s: float | None = None


class Machine(Record):
    """Where times were measured; `busy_percent_before` is what others used of the cores."""

    cpu: str
    cores: int | None
    pinned_cores: list[int] | None
    threads: int
    busy_percent_before: float
    load_before: float
    load_after: float
    host: str
    system: str
    versions: dict[str, str]


class TimingBlock(Record):
    """Times of every model on one structure with one number of cores."""

    atoms: int
    supercell: list[int]
    models: dict[str, ModelTiming]
    cores: int
    machine: Machine | None = None


class TimingResult(Result):
    """Times of every model; layout 1 had ratios to the first model alone.

    Attributes
    ----------
    structure
        What was timed.
    atoms, models
        Of the structure itself.
    repeats
        Rounds in which every model takes its turn.
    time_step_fs
        For the nanoseconds a day.
    beside
        A model that ratios refer to as well as to the first: the teacher in torch, where another
        engine runs it.
    scaling, core_scaling
        On supercells, and on more cores.
    """

    VERSION = 2

    version: int = 2
    structure: str = ""
    atoms: int
    supercell: list[int]
    models: dict[str, ModelTiming]
    repeats: int
    time_step_fs: float
    beside: str | None = None
    machine: Machine
    scaling: list[TimingBlock] = Field(default_factory=list)
    core_scaling: list[TimingBlock] = Field(default_factory=list)

    def blocks(self) -> Iterator[TimingBlock]:
        """Every size and number of cores that was measured."""
        yield TimingBlock(
            atoms=self.atoms,
            supercell=self.supercell,
            models=self.models,
            cores=self.machine.threads,
        )
        yield from self.scaling
        yield from self.core_scaling

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """What a file of layout 1 has not got may be left out."""
        return {**data, "version": cls.VERSION}

    def medians_ms(self, model: str) -> tuple[float, float]:
        """Milliseconds of an energy and of a forces call of a model."""
        times: Any = self.models[model]
        return times.energy_ms.median, times.forces_ms.median
