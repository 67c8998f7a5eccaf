"""Trajectories of one model under one condition, in units of work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

from ase import Atoms

from distill.core.work import Unit, WorkFolder, perform
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.observables.sticking.scattered import ScatteredState, curve_of, scattered_state
from distill.simulation.conditions import Condition
from distill.simulation.config import ScatteringConfig
from distill.simulation.scattering import (
    SCATTERED,
    SURFACES_FOLDER,
    Outcome,
    cached_surfaces,
    initial_conditions,
    surface_key,
    surface_number,
)
from distill.simulation.scattering_run import run_trajectory
from distill.simulation.surfaces import Surfaces

# Structures whose calls are timed.
_TIMED = 6
# Trajectories in one file and unit: a teacher's takes minutes, a student's seconds.
_SHARD = {REFERENCE: 1, TEACHER: 1, STUDENT: 10}


@dataclass(frozen=True)
class _StartsUnit(Unit):
    """What a model does from the starts of some trajectories of a condition.

    Attributes
    ----------
    first, count
        Numbers of the trajectories.
    surfaces, surface_keys
        Folder of the surfaces, and what that of each trajectory was made from.
    """

    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    first: int
    count: int
    seed: int
    surfaces: Path
    surface_keys: tuple[str, ...]

    unkeyed = Unit.unkeyed | {"surfaces"}

    def settings(self) -> dict[str, Any]:
        """Its model, starts and dynamics; not the other conditions of the config."""
        return {**super().settings(), "config": self.config.dynamics()}

    def start(self, number: int) -> Atoms:
        """Slab and molecule of a trajectory."""
        surfaces = cached_surfaces(self.config, self.surfaces)
        return initial_conditions(self.config, self.condition, number, self.seed, surfaces)


@dataclass(frozen=True)
class StickingUnit(_StartsUnit):
    """Some trajectories of one model under one condition.

    Its numbers are how each ended (`outcome`) and the `state` of its molecule if it scattered.
    """

    def work(self) -> list[dict[str, Any]]:
        """Run the trajectories, each a unit of its own on the way."""
        if self.count == 1:
            return [self._end()]
        ends: list[dict[str, Any]] = []
        for place, key in enumerate(self.surface_keys):
            number = self.first + place
            one = replace(
                self, folder=self.parts, name=str(number), first=number, count=1,
                surface_keys=(key,),
            )  # fmt: skip
            perform([one])
            ends += one.numbers()
        return ends

    def _end(self) -> dict[str, Any]:
        """How the one trajectory ended."""
        start = self.start(self.first)
        outcome, _ = run_trajectory(
            start,
            self.model,
            self.config,
            self.condition,
            self.first,
            keep_structures=False,
            parts=self.parts,
        )
        state = None
        if outcome.outcome == SCATTERED:
            diatomic = curve_of(self.model, self.config)
            state = asdict(scattered_state(start, outcome, diatomic))
        return {"outcome": asdict(outcome), "state": state}


@dataclass(frozen=True)
class CallTime(_StartsUnit):
    """Seconds of a model's force call on trajectories' first structures: its one number.

    Measured once, so that what follows from it does so again after a kill.
    """

    def work(self) -> float:
        """The median over structures, after a first call that may compile something."""
        calculator = cached_calculator(self.model)
        seconds = []
        for number in range(self.first, self.first + self.count):
            atoms = self.start(number)
            atoms.calc = calculator
            start = perf_counter()
            atoms.get_forces()
            seconds.append(perf_counter() - start)
        return median(seconds[1:])


@dataclass(frozen=True)
class Ends:
    """How the trajectories of a model under a condition ended.

    Attributes
    ----------
    outcomes
        Of all.
    states
        Of the molecules that scattered.
    """

    outcomes: list[Outcome]
    states: list[ScatteredState]


Kind = TypeVar("Kind", bound=_StartsUnit)


@dataclass
class Sample:
    """The trajectories of one model under one condition: those run and those to be run.

    Attributes
    ----------
    surfaces
        That they start from.
    units, count
        Planned so far, and trajectories in them.
    """

    role: str
    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    surfaces: Surfaces
    work: WorkFolder
    units: list[StickingUnit] = field(default_factory=list)
    count: int = 0

    def extend(self, count: int) -> None:
        """Plan trajectories up to a number."""
        size = _SHARD[self.role]
        while self.count < count:
            first = self.count
            # Whole shards begin at the same numbers, whatever was asked for before.
            number = min(size - first % size, count - first)
            self.count += number
            name = f"{self.condition.name}_{first:06d}-{first + number - 1:06d}"
            self.units.append(self._unit(StickingUnit, name, first, number))

    def call_time(self) -> CallTime:
        """What a force call of its model takes."""
        return self._unit(CallTime, f"{self.condition.name}_call_time", 0, _TIMED)

    def _unit(self, kind: type[Kind], name: str, first: int, count: int) -> Kind:
        return kind(
            self.work.path / self.role,
            name,
            model=self.model,
            config=self.config,
            condition=self.condition,
            first=first,
            count=count,
            seed=self.work.seed,
            surfaces=self.work.path / SURFACES_FOLDER,
            surface_keys=tuple(
                surface_key(self.config, self.condition, number, self.work.seed, self.surfaces)
                for number in range(first, first + count)
            ),
        )

    def ends(self) -> Ends:
        """How the trajectories ended, all of them run."""
        found = [entry for unit in self.units for entry in unit.numbers()]
        return Ends(
            [Outcome(**entry["outcome"]) for entry in found],
            [ScatteredState(**entry["state"]) for entry in found if entry["state"]],
        )

    def groups(self) -> dict[int, int] | None:
        """Group of the surface of each trajectory; None for a surface at rest."""
        found = self.surfaces.independence[self.condition.place]
        if found is None:
            return None
        total = len(found.groups)
        chosen = (
            surface_number(self.config, self.condition, number, self.work.seed, total)
            for number in range(self.count)
        )
        return {number: found.groups[surface] for number, surface in enumerate(chosen)}
