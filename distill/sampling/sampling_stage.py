"""The sampling stage: what the teacher visits, what is kept of it, and its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import write_json
from distill.core.executors import ParallelConfig
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.tables import write_table_csv
from distill.core.work import WorkFolder
from distill.metrics.selection import coverage, distinct
from distill.sampling.config import SamplingBase, SelectionConfig
from distill.sampling.held_out import held_out_trajectories
from distill.sampling.method import SAMPLING_METHODS, Sampler, Visited
from distill.sampling.pictures import draw_selection, draw_trajectories
from distill.sampling.selection import choices, select
from distill.sampling.unphysical import without_unphysical
from distill.sampling.visiting import (
    collect,
    every_unit,
    in_words,
    plan_units,
    refuse_what_cannot_work,
)

if TYPE_CHECKING:
    from ase import Atoms

    from distill.sampling.driven import Driven


def run(
    config: SamplingBase,
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
        Anything `distill.models.calculators.load_calculator` takes as a file.
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
    from distill.data.structures import write_structures

    refuse_what_cannot_work(config)
    out.mkdir(parents=True, exist_ok=True)
    sample = _by_student if config.driven else _by_teacher
    sampled = sample(config, teacher=teacher, train=train, out=out, seed=seed, parallel=parallel)
    write_structures(out / "selected.xyz", sampled.selected)
    write_structures(out / "held_out.xyz", sampled.held_out)
    for name, rows in sampled.tables.items():
        write_table_csv(out / f"{name}.csv", rows)
    total = sum(sampled.calls.values())
    write_json(
        out / "sampling.json",
        {
            **sampled.summary,
            "selected": {
                "total": len(sampled.selected),
                "by_config_type": _by_config_type(sampled.selected),
            },
            "held_out": {
                "total": len(sampled.held_out),
                "by_config_type": _by_config_type(sampled.held_out),
            },
            "teacher_calls": {**sampled.calls, "total": total},
        },
    )
    say(
        f"sampling: {len(sampled.selected)} labelled structures for the student, "
        f"{len(sampled.held_out)} held out, {total} teacher calls"
    )


@dataclass(frozen=True)
class _Sampled:
    """What the stage writes."""

    selected: list[Atoms]
    held_out: list[Atoms]
    tables: dict[str, list[dict[str, Any]]]
    calls: dict[str, int]
    summary: dict[str, Any]


def _by_teacher(
    config: SamplingBase,
    *,
    teacher: Path,
    train: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> _Sampled:
    """The teacher runs everything, and a diverse subset is kept."""
    from threadpoolctl import threadpool_limits

    from distill.data.structures import read_structures
    from distill.models.labelling import label_units

    work = WorkFolder(out, seed, parallel)
    units = plan_units(config, Sampler(str(teacher), work))
    training = read_structures(train, require=()) if config.include_training else []
    labels = label_units(
        training,
        model=str(teacher),
        folder=out / "labels",
        name="training",
        options=config.labels,
    )
    work.run([*every_unit(units), *labels], "sampling by the teacher")
    visited = collect(units, config.selection)
    draw_trajectories(out / "plots", visited.pool, visited.endings)
    labelled = [atoms for unit in labels for atoms in unit.labelled()]
    # Sums over threads would make the selection depend on their number.
    with threadpool_limits(1):
        selected, held_out, selection = (
            _select(visited, config.selection, str(teacher), out, seed)
            if any(SAMPLING_METHODS.load(name).selects for name in units)
            else ([], [], {})
        )
    return _Sampled(
        selected=selected + visited.paths + labelled,
        held_out=held_out,
        tables=visited.tables,
        calls={**visited.calls, "labels": len(labelled)},
        summary={**visited.summary, "selection": selection},
    )


def _by_student(
    config: SamplingBase,
    *,
    teacher: Path,
    train: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> _Sampled:
    """Students of growing training sets run everything, and the teacher labels."""
    from distill.sampling.driven import run_driven

    driven = run_driven(
        config,
        teacher=teacher,
        train=train,
        out=out / "driven",
        seed=seed,
        parallel=parallel,
    )
    last = driven.last
    draw_trajectories(out / "plots", last.pool, last.endings)
    return _Sampled(
        selected=driven.selected,
        held_out=driven.held_out,
        tables=last.tables,
        calls=driven.calls,
        summary={
            **last.summary,
            "selection": _driven_selection(config, driven, str(teacher), out),
            "driven": driven.summary(),
        },
    )


def _driven_selection(
    config: SamplingBase, driven: Driven, teacher: str, out: Path
) -> dict[str, Any]:
    """How the labelled structures cover the last trajectories."""
    from threadpoolctl import threadpool_limits

    from distill.sampling.descriptors import structure_descriptors

    summary: dict[str, Any] = {
        "sampled": sum(entry["structures"] for entry in driven.rounds),
        "left_out": {},
        "chosen": len(driven.selected),
    }
    visited = [*driven.last.pool, *driven.last.paths]
    if not visited:
        return summary
    with threadpool_limits(1):
        descriptors = structure_descriptors(
            [*visited, *driven.selected], config.selection.descriptor, teacher
        )
    chosen = np.arange(len(visited), len(descriptors))
    draw_selection(out / "selection.png", descriptors, {"labelled": chosen})
    covered = coverage(descriptors[: len(visited)], descriptors[chosen])
    return {**summary, "coverage": {"driven": covered}}


def _select(
    visited: Visited, config: SelectionConfig, teacher: str, out: Path, seed: int
) -> tuple[list[Atoms], list[Atoms], dict[str, Any]]:
    """Selected and held-out structures, and the numbers of how they were chosen."""
    pool, dropped = without_unphysical(visited.pool, config)
    if dropped:
        say(f"sampled structures: left out {in_words(dropped)}")
    summary: dict[str, Any] = {"sampled": len(visited.pool), "left_out": dropped}
    from distill.sampling.descriptors import structure_descriptors

    held_trajectories = held_out_trajectories(visited.endings, visited.starts, config, seed)
    held_pool = [a for a in pool if a.info["trajectory"] in held_trajectories]
    held_out = _drawn(held_pool, config.held_out, seed)
    candidates = [a for a in pool if a.info["trajectory"] not in held_trajectories]
    if not candidates:
        select(np.empty((0, 0)), config, seed)
    descriptors = structure_descriptors(candidates, config.descriptor, teacher)
    unique = distinct(descriptors, config.duplicate_tolerance)
    chosen = unique[select(descriptors[unique], config, seed)]
    coverage = _compared(descriptors[unique], np.searchsorted(unique, chosen), config, out, seed)
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


def _drawn(pool: Sequence[Atoms], count: int, seed: int) -> list[Atoms]:
    if count >= len(pool):
        return list(pool)
    chosen = stream(seed, "held out structures").choice(len(pool), size=count, replace=False)
    return [pool[index] for index in np.sort(chosen)]


def _by_config_type(structures: Sequence[Atoms]) -> dict[str, int]:
    from distill.data.structures import config_type

    return dict(sorted(Counter(config_type(atoms) for atoms in structures).items()))


def _compared(
    descriptors: np.ndarray, chosen: np.ndarray, config: SelectionConfig, out: Path, seed: int
) -> dict[str, dict[str, float]]:
    """Coverage of the pool by each method's choice; `selection.png` shows them."""
    found = choices(descriptors, chosen, config, seed)
    draw_selection(out / "selection.png", descriptors, found)
    return {method: coverage(descriptors, descriptors[kept]) for method, kept in found.items()}
