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
    """

    energy_ms: Spread
    forces_ms: Spread
    us_per_atom: float
    ns_per_day: float
    first_call_s: float
    speedup_energy: Ratio
    speedup_forces: Ratio
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
    """Times of every model.

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
    scaling, core_scaling
        On supercells, and on more cores.
    """

    structure: str = ""
    atoms: int
    supercell: list[int]
    models: dict[str, ModelTiming]
    repeats: int
    time_step_fs: float
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

    def medians_ms(self, model: str) -> tuple[float, float]:
        """Milliseconds of an energy and of a forces call of a model."""
        times: Any = self.models[model]
        return times.energy_ms.median, times.forces_ms.median
