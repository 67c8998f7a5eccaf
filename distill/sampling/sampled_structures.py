"""Everything that a model visits: its units of work, and what they left."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import atomic_path
from distill.core.progress import say
from distill.core.work import Unit
from distill.sampling.config import SamplingConfig, SelectionConfig
from distill.sampling.unphysical import without_unphysical

if TYPE_CHECKING:
    from ase import Atoms

    from distill.sampling.methods.md import MdUnit
    from distill.sampling.methods.rattle import RattleUnit
    from distill.simulation.neb import PathUnit
    from distill.simulation.scattering import Outcome, TrajectoryUnit
    from distill.simulation.trust_bound import Trust


@dataclass(frozen=True)
class Visits:
    """Units of work of one model, by kind."""

    trajectories: list[TrajectoryUnit]
    paths: list[PathUnit]
    md: list[MdUnit]
    rattle: list[RattleUnit]

    def all(self) -> list[Unit]:
        """Every unit, long ones first, so that workers end together."""
        return [*self.paths, *self.md, *self.trajectories, *self.rattle]


@dataclass
class Visited:
    """What a model visited.

    Attributes
    ----------
    pool
        Structures to select from; `info["trajectory"]` says where each is from.
    endings
        How each of those trajectories ended.
    paths
        Structures along minimum energy paths.
    outcomes
        Of scattering trajectories, blown-up ones too.
    calls
        Calls of the model by kind.
    summary
        Further numbers.
    """

    pool: list[Atoms] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    paths: list[Atoms] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def plan_visits(
    config: SamplingConfig, *, model: str, out: Path, seed: int, trust: Trust | None = None
) -> Visits:
    """The units of a sampling section.

    Parameters
    ----------
    config
        What is visited.
    model
        What `distill.models.calculators.load_calculator` takes.
    out
        Folder of the units' files; it holds `surfaces/` if there are scattering trajectories.
    seed
        Of every random stream.
    trust
        Cuts trajectories where its student extrapolates.
    """
    from distill.sampling.methods.md import md_units
    from distill.sampling.methods.rattle import rattle_units
    from distill.simulation.neb import path_units
    from distill.simulation.scattering import trajectory_units

    return Visits(
        trajectories=trajectory_units(
            config.scattering, model=model, out=out, seed=seed, trust=trust
        )
        if config.scattering
        else [],
        paths=path_units(config.neb, model=model, out=out / "neb"),
        md=md_units(config.md, model=model, out=out / "md", seed=seed, trust=trust),
        rattle=rattle_units(config.rattle, model=model, out=out / "rattle", seed=seed),
    )


def collect(visits: Visits, config: SelectionConfig) -> Visited:
    """Read what finished units left; say what was set aside.

    Parameters
    ----------
    visits
        Finished units.
    config
        Filters of structures along minimum energy paths.
    """
    visited = Visited()
    if visits.trajectories:
        _collect_trajectories(visits.trajectories, visited)
    if visits.paths:
        paths = [unit.summary() for unit in visits.paths]
        visited.calls["neb"] = sum(path["calls"] for path in paths)
        visited.summary["paths"] = paths
        structures = [atoms for unit in visits.paths for atoms in unit.kept()]
        visited.paths, dropped = without_unphysical(structures, config)
        if dropped:
            say(f"minimum energy paths: left out {in_words(dropped)}")
    if visits.md:
        _collect_dynamics(visits.md, visited)
    if visits.rattle:
        structures = [atoms for unit in visits.rattle for atoms in unit.structures()]
        visited.calls["rattle"] = len(structures)
        visited.pool += structures
        visited.endings.update({atoms.info["trajectory"]: "rattle" for atoms in structures})
    return visited


def _collect_trajectories(units: Sequence[TrajectoryUnit], visited: Visited) -> None:
    from distill.data.structures import read_structures
    from distill.simulation.scattering import BLOWN_UP

    for unit in units:
        outcome = unit.outcome()
        visited.outcomes.append(outcome)
        if outcome.outcome == BLOWN_UP:
            say(f"trajectory {unit.name} was set aside: {outcome.reason}")
        else:
            visited.pool += read_structures(unit.structures_path)
            visited.endings[unit.name] = outcome.outcome
    counts = Counter(outcome.outcome for outcome in visited.outcomes)
    visited.calls["scattering"] = sum(outcome.calls for outcome in visited.outcomes)
    visited.summary["outcomes"] = dict(counts)
    visited.summary["set_aside"] = {
        outcome.trajectory: outcome.reason
        for outcome in visited.outcomes
        if outcome.outcome == BLOWN_UP
    }
    named = ", ".join(f"{count} {name}" for name, count in counts.items())
    say(f"scattering: {len(units)} trajectories ({named})")


def _collect_dynamics(units: Sequence[MdUnit], visited: Visited) -> None:
    from distill.sampling.methods.md import BLOWN_UP

    runs = [unit.summary() for unit in units]
    visited.calls["md"] = sum(run["calls"] for run in runs)
    visited.summary["md"] = runs
    for unit, run in zip(units, runs, strict=True):
        visited.pool += unit.structures()
        if run["outcome"] == BLOWN_UP:
            say(f"molecular dynamics {unit.name} was set aside: {run['reason']}")
        else:
            visited.endings[unit.name] = "md"


def in_words(dropped: dict[str, int]) -> str:
    """Reasons and their counts, as part of a sentence."""
    return ", ".join(f"{count} with {reason}" for reason, count in dropped.items())


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write how trajectories ended as a table, one row each."""
    from distill.simulation.scattering import Outcome

    names = list(Outcome.__dataclass_fields__)
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(asdict(outcome) for outcome in outcomes)
