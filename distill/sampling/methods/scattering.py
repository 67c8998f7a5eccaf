"""Scattering: trajectories of a molecule on thermal surfaces, the surfaces made first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.core.artifacts import atomic_path
from distill.core.progress import say
from distill.core.work import Unit
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.sampling.method import Planned, Sampler, SamplingMethod, Visited
from distill.simulation.conditions import Condition, conditions
from distill.simulation.config import ScatteringConfig
from distill.simulation.scattering import (
    BLOWN_UP,
    CUT,
    SURFACES_FOLDER,
    Outcome,
    cached_surfaces,
    initial_conditions,
    surface_key,
    surface_number,
    trajectory_name,
)
from distill.simulation.scattering_counts import scattering_counts
from distill.simulation.scattering_run import run_trajectory
from distill.simulation.surfaces import (
    Surfaces,
    make_surfaces,
    read_surfaces,
    refuse_surfaces,
)
from distill.simulation.trust_bound import Trust


@dataclass(frozen=True)
class TrajectoryUnit(Unit):
    """Run one trajectory of a model.

    Attributes
    ----------
    surfaces
        Folder of the surfaces.
    surfaces_key
        What its own surface was made from.
    """

    model: ModelSpec
    config: ScatteringConfig
    condition: Condition
    number: int
    seed: int
    surfaces: Path
    surfaces_key: str
    trust: Trust | None = None

    unkeyed = Unit.unkeyed | {"surfaces"}

    def settings(self) -> dict[str, Any]:
        """Its model, start and dynamics; not the other conditions of the config."""
        return {**super().settings(), "config": self.config.dynamics()}

    @property
    def structures_path(self) -> Path:
        """File of the structures, unless the trajectory blew up."""
        return self.folder / f"{self.name}.xyz"

    def files(self) -> list[Path]:
        """The structures of a sound trajectory."""
        return [path for path in [self.structures_path] if path.exists()]

    def outcome(self) -> Outcome:
        """How the finished trajectory ended."""
        return Outcome(**self.numbers())

    def work(self) -> dict[str, Any]:
        """Run the trajectory; its structures go to its folder or, blown up, to `set_aside/`."""
        from ase.io import write

        start = initial_conditions(
            self.config,
            self.condition,
            self.number,
            self.seed,
            cached_surfaces(self.config, self.surfaces),
        )
        outcome, structures = run_trajectory(
            start,
            self.model,
            self.config,
            self.condition,
            self.number,
            trust=self.trust,
            parts=self.parts,
        )
        path = self.structures_path
        path.unlink(missing_ok=True)
        if outcome.outcome == BLOWN_UP:
            path = self.folder.parent / "set_aside" / path.name
        with atomic_path(path) as temporary:
            write(temporary, structures, format="extxyz")
        return asdict(outcome)


class Scattering(SamplingMethod):
    """Trajectories under every condition."""

    Config = ScatteringConfig
    repeated = False

    def refuse(self, configs: Sequence[ScatteringConfig]) -> None:
        """Refuse a molecule or slabs that cannot be made."""
        for config in configs:
            refuse_surfaces(config)

    def plan(self, configs: Sequence[ScatteringConfig]) -> list[Planned]:
        """Trajectories under every condition, and the thermal surfaces that they start from."""
        planned = []
        for config in configs:
            found = scattering_counts(config)
            count = found.conditions * config.trajectories
            what = f"{count:,} trajectories under {found.conditions} conditions"
            planned.append(Planned(what, count * found.calls, found.atoms))
            if found.surfaces:
                what = f"{found.snapshots} snapshots of each of {found.surfaces} thermal surfaces"
                planned.append(Planned(what, found.surface_calls, found.atoms))
        return planned

    def units(self, configs: Sequence[ScatteringConfig], sampler: Sampler) -> list[Unit]:
        """Every trajectory, in the order of `conditions`, then by number.

        Raises
        ------
        UserError
            As `make_surfaces`.
        """
        (config,) = configs
        work = sampler.work
        surfaces = make_surfaces(config, model=sampler.model, work=work.sub(SURFACES_FOLDER))
        return [
            TrajectoryUnit(
                work.path / "trajectories",
                trajectory_name(condition, number),
                model=sampler.model,
                config=config,
                condition=condition,
                number=number,
                seed=work.seed,
                surfaces=work.path / SURFACES_FOLDER,
                surfaces_key=surface_key(config, condition, number, work.seed, surfaces),
                trust=sampler.trust,
            )
            for condition in conditions(config)
            for number in range(config.trajectories)
        ]

    def collect(self, units: Sequence[TrajectoryUnit]) -> Visited:
        """Structures of sound trajectories, and how all of them ended."""
        visited = Visited()
        outcomes = []
        surfaces = read_surfaces(units[0].config, units[0].surfaces)
        for unit in units:
            outcome = unit.outcome()
            outcomes.append(outcome)
            if outcome.outcome == BLOWN_UP:
                say(f"trajectory {unit.name} was set aside: {outcome.reason}")
            else:
                visited.pool += read_structures(unit.structures_path)
                visited.endings[unit.name] = outcome.outcome
                if (group := surface_group(surfaces, unit)) is not None:
                    facet, temperature = unit.condition.place
                    visited.starts[unit.name] = f"{facet} {temperature:g} K {group}"
        counts = Counter(outcome.outcome for outcome in outcomes)
        visited.cut = counts[CUT]
        visited.calls = {
            "surfaces": surfaces.calls,
            "scattering": sum(outcome.calls for outcome in outcomes),
        }
        visited.tables["outcomes"] = [asdict(outcome) for outcome in outcomes]
        visited.summary = {
            "outcomes": dict(counts),
            "set_aside": {o.trajectory: o.reason for o in outcomes if o.outcome == BLOWN_UP},
        }
        named = ", ".join(f"{count} {name}" for name, count in counts.items())
        say(f"scattering: {len(units)} trajectories ({named})")
        return visited


def surface_group(surfaces: Surfaces, unit: TrajectoryUnit) -> int | None:
    """Group of dependent surfaces that a trajectory started from; None for one at rest."""
    found = surfaces.independence[unit.condition.place]
    if found is None:
        return None
    total = len(found.groups)
    chosen = surface_number(unit.config, unit.condition, unit.number, unit.seed, total)
    return found.groups[chosen]
