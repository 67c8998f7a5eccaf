"""The sampling stage: what the teacher visits, what is kept of it, and its labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.artifacts import atomic_path, write_json
from distill.config import ParallelConfig, SamplingConfig, SelectionConfig
from distill.errors import UserError
from distill.progress import say
from distill.sampling.filters import without_unphysical
from distill.sampling.selection import coverage_table, distinct, select
from distill.sampling.streams import stream
from distill.sampling.units import Unit, run_waiting

if TYPE_CHECKING:
    from ase import Atoms

    from distill.sampling.labels import LabelUnit
    from distill.sampling.md import MdUnit
    from distill.sampling.neb import PathUnit
    from distill.sampling.rattle import RattleUnit
    from distill.sampling.scattering import Outcome, TrajectoryUnit


@dataclass(frozen=True)
class _Units:
    """All units of work of a stage, by kind."""

    trajectories: list[TrajectoryUnit]
    paths: list[PathUnit]
    md: list[MdUnit]
    rattle: list[RattleUnit]
    training: list[LabelUnit]

    def all(self) -> list[Unit]:
        """Every unit, long ones first, so that workers end together."""
        return [*self.paths, *self.md, *self.trajectories, *self.rattle, *self.training]


@dataclass
class _Visited:
    """What the teacher visited.

    Attributes
    ----------
    pool
        Structures to select from; `info["trajectory"]` says where each is from.
    endings
        How each of those trajectories ended.
    paths
        Structures along minimum energy paths, all kept.
    outcomes
        Of scattering trajectories, blown-up ones too.
    calls
        Teacher calls by kind.
    summary
        Further numbers.
    """

    pool: list[Atoms] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    paths: list[Atoms] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def run(
    config: SamplingConfig,
    *,
    teacher: Path,
    train: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> None:
    """Run the teacher's trajectories and paths, select diverse structures, and label them.

    Parameters
    ----------
    config
        What is sampled and how it is selected.
    teacher
        Anything `distill.calculators.load_calculator` takes as a file.
    train
        Reference training structures, relabelled by the teacher with `include_training`.
    out
        Folder. `selected.xyz` and `held_out.xyz` hold labelled structures; `outcomes.csv` the
        trajectories; `sampling.json` counts of structures, reasons and teacher calls;
        `surfaces/`, `trajectories/`, `set_aside/`, `neb/`, `md/`, `rattle/`, `labels/` the units of
        work. Units whose files are there are not run again.
    seed
        The run's seed.
    parallel
        Where the units run.

    Raises
    ------
    UserError
        If nothing is sampled, the pool is empty or smaller than `selection.count`, or a setting
        does not fit the teacher.
    """
    from threadpoolctl import threadpool_limits

    from distill.sampling.surfaces import make_surfaces
    from distill.structures import write_structures

    out.mkdir(parents=True, exist_ok=True)
    visited = _Visited()
    if config.scattering:
        surfaces = make_surfaces(
            config.scattering,
            model=str(teacher),
            out=out / "surfaces",
            seed=seed,
            parallel=parallel,
        )
        visited.calls["surfaces"] = surfaces.calls
    units = _units(config, str(teacher), train, out, seed)
    if not units.all():
        raise UserError(
            "the sampling section asks for nothing: give scattering, neb, md or rattle, or set "
            "include_training"
        )
    run_waiting(units.all(), parallel=parallel, label="sampling by the teacher")
    _collect(units, visited, config.selection)
    labelled = [atoms for unit in units.training for atoms in unit.labelled()]
    visited.calls["labels"] = len(labelled)
    # Sums over threads would make the selection depend on their number.
    with threadpool_limits(1):
        selected, held_out, selection = _select(visited, config.selection, str(teacher), out, seed)
    kept = selected + visited.paths + labelled
    write_structures(out / "selected.xyz", kept)
    write_structures(out / "held_out.xyz", held_out)
    _write_outcomes(out / "outcomes.csv", visited.outcomes)
    total = sum(visited.calls.values())
    write_json(
        out / "sampling.json",
        {
            **visited.summary,
            "selection": selection,
            "selected": {
                "total": len(kept),
                "by_config_type": _by_config_type(kept),
            },
            "held_out": {
                "total": len(held_out),
                "by_config_type": _by_config_type(held_out),
            },
            "teacher_calls": {**visited.calls, "total": total},
        },
    )
    say(
        f"sampling: {len(kept)} labelled structures for the student, {len(held_out)} held out, "
        f"{total} teacher calls"
    )


def _units(config: SamplingConfig, teacher: str, train: Path, out: Path, seed: int) -> _Units:
    from distill.sampling.labels import label_units
    from distill.sampling.md import md_units
    from distill.sampling.neb import path_units
    from distill.sampling.rattle import rattle_units
    from distill.sampling.scattering import trajectory_units
    from distill.structures import read_structures

    training = read_structures(train, require=()) if config.include_training else []
    return _Units(
        trajectories=trajectory_units(config.scattering, model=teacher, out=out, seed=seed)
        if config.scattering
        else [],
        paths=path_units(config.neb, model=teacher, out=out / "neb"),
        md=md_units(config.md, model=teacher, out=out / "md", seed=seed),
        rattle=rattle_units(config.rattle, model=teacher, out=out / "rattle", seed=seed),
        training=label_units(training, model=teacher, folder=out / "labels", name="training"),
    )


def _collect(units: _Units, visited: _Visited, config: SelectionConfig) -> None:
    """Read what finished units left; say what was set aside."""
    if units.trajectories:
        _collect_trajectories(units.trajectories, visited)
    if units.paths:
        paths = [unit.summary() for unit in units.paths]
        visited.calls["neb"] = sum(path["calls"] for path in paths)
        visited.summary["paths"] = paths
        structures = [atoms for unit in units.paths for atoms in unit.kept()]
        visited.paths, dropped = without_unphysical(structures, config)
        if dropped:
            say(f"minimum energy paths: left out {_sentence(dropped)}")
    if units.md:
        runs = [unit.summary() for unit in units.md]
        visited.calls["md"] = sum(run["calls"] for run in runs)
        visited.summary["md"] = runs
        for unit, run in zip(units.md, runs, strict=True):
            visited.pool += unit.structures()
            if run["reason"]:
                say(f"molecular dynamics {unit.name} was set aside: {run['reason']}")
            else:
                visited.endings[unit.name] = "md"
    if units.rattle:
        structures = [atoms for unit in units.rattle for atoms in unit.structures()]
        visited.calls["rattle"] = len(structures)
        visited.pool += structures
        visited.endings.update({atoms.info["trajectory"]: "rattle" for atoms in structures})


def _collect_trajectories(units: Sequence[TrajectoryUnit], visited: _Visited) -> None:
    from distill.sampling.scattering import BLOWN_UP
    from distill.structures import read_structures

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
        outcome.trajectory: outcome.reason for outcome in visited.outcomes if outcome.reason
    }
    named = ", ".join(f"{count} {name}" for name, count in counts.items())
    say(f"scattering: {len(units)} trajectories ({named})")


def _select(
    visited: _Visited, config: SelectionConfig, teacher: str, out: Path, seed: int
) -> tuple[list[Atoms], list[Atoms], dict[str, Any]]:
    """Selected and held-out structures, and the numbers of how they were chosen."""
    pool, dropped = without_unphysical(visited.pool, config)
    if dropped:
        say(f"sampled structures: left out {_sentence(dropped)}")
    summary: dict[str, Any] = {"sampled": len(visited.pool), "left_out": dropped}
    if not visited.calls.keys() & {"scattering", "md", "rattle"}:
        return [], [], summary
    from distill.sampling.descriptors import structure_descriptors

    held_trajectories = held_out_trajectories(visited.endings, config, seed)
    held_pool = [a for a in pool if a.info["trajectory"] in held_trajectories]
    held_out = _drawn(held_pool, config.held_out, seed)
    candidates = [a for a in pool if a.info["trajectory"] not in held_trajectories]
    if not candidates:
        select(np.empty((0, 0)), config, seed)
    descriptors = structure_descriptors(candidates, config.descriptor, teacher)
    unique = distinct(descriptors, config.duplicate_tolerance)
    chosen = unique[select(descriptors[unique], config, seed)]
    coverage = coverage_table(descriptors[unique], np.searchsorted(unique, chosen), config, seed)
    _draw(out / "selection.png", descriptors, chosen)
    summary.update(
        candidates=len(candidates),
        near_duplicates=len(candidates) - len(unique),
        method=config.method,
        descriptor=config.descriptor,
        chosen=len(chosen),
        coverage=coverage,
        held_out_trajectories=sorted(held_trajectories),
        held_out_pool=len(held_pool),
    )
    return [candidates[index] for index in chosen], held_out, summary


def held_out_trajectories(endings: dict[str, str], config: SelectionConfig, seed: int) -> set[str]:
    """Names of whole trajectories whose structures only test the student.

    Their share of all trajectories is that of held-out structures among those kept. They are spread
    evenly over the ways trajectories ended, so that dissociation is tested too.

    Parameters
    ----------
    endings
        How each trajectory ended, by its name.
    config
        Counts of kept and held-out structures.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If structures are to be held out of a single trajectory.
    """
    if config.held_out == 0:
        return set()
    if len(endings) < 2:
        raise UserError(
            "selection.held_out keeps whole trajectories apart, but only one was sampled: sample "
            "more, or set held_out to 0"
        )
    share = config.held_out / (config.held_out + config.count)
    number = min(max(round(share * len(endings)), 1), len(endings) - 1)
    names = stream(seed, "held out").permutation(sorted(endings))
    by_ending = sorted(names, key=lambda name: endings[str(name)])
    places = ((np.arange(number) + 0.5) * len(names) / number).astype(int)
    return {str(by_ending[place]) for place in places}


def _drawn(pool: Sequence[Atoms], count: int, seed: int) -> list[Atoms]:
    if count >= len(pool):
        return list(pool)
    chosen = stream(seed, "held out structures").choice(len(pool), size=count, replace=False)
    return [pool[index] for index in np.sort(chosen)]


def _sentence(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count} with {reason}" for reason, count in dropped.items())


def _by_config_type(structures: Sequence[Atoms]) -> dict[str, int]:
    from distill.structures import config_type

    return dict(sorted(Counter(config_type(atoms) for atoms in structures).items()))


def _write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    from distill.sampling.scattering import Outcome

    names = list(Outcome.__dataclass_fields__)
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(asdict(outcome) for outcome in outcomes)


def _draw(path: Path, descriptors: np.ndarray, chosen: np.ndarray) -> None:
    """The pool and the chosen structures in the plane of the first two principal components."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    plane = (
        descriptors[:, :2] if descriptors.shape[1] > 1 else np.pad(descriptors, ((0, 0), (0, 1)))
    )
    axes.scatter(plane[:, 0], plane[:, 1], s=4, color="0.75", label=f"sampled ({len(plane)})")
    axes.scatter(
        plane[chosen, 0], plane[chosen, 1], s=9, color="C0", label=f"selected ({len(chosen)})"
    )
    axes.set_xlabel("first principal component of the descriptors")
    axes.set_ylabel("second")
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
