"""Labels by the teacher, in shards that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from distill.calculators import labelled_copy
from distill.config import ParallelConfig
from distill.parallel import run_units
from distill.sampling.models import cached_calculator
from distill.structures import STRESS_KEY, read_structures, write_structures

_SHARD = 40


@dataclass(frozen=True)
class _Shard:
    model: str
    structures: tuple[Atoms, ...]
    first: int
    path: Path


def label_in_shards(
    structures: Sequence[Atoms], *, model: str, folder: Path, name: str, parallel: ParallelConfig
) -> list[Atoms]:
    """Copies of structures with the model's labels in place of any they had, in their order.

    Structures that carried a stress are given one.

    Parameters
    ----------
    structures
        What to label; not changed.
    model
        What `distill.calculators.load_calculator` takes.
    folder
        Where shards of 40 structures are kept as `NAME_FIRST.xyz`; those there are not made again.
    name
        Stem of the shards' files.
    parallel
        Where the shards run, one unit each.

    Raises
    ------
    UserError
        If the model lacks an element or fails on a structure, naming its index.
    """
    shards = [
        _Shard(
            model=model,
            structures=tuple(structures[first : first + _SHARD]),
            first=first,
            path=folder / f"{name}_{first:06d}.xyz",
        )
        for first in range(0, len(structures), _SHARD)
    ]
    waiting = [shard for shard in shards if not shard.path.exists()]
    run_units(_label_shard, waiting, config=parallel, label=f"labels of {name}")
    return [atoms for shard in shards for atoms in read_structures(shard.path)]


def _label_shard(shard: _Shard) -> None:
    calculator = cached_calculator(shard.model)
    labelled = []
    for index, atoms in enumerate(shard.structures, start=shard.first):
        bare = atoms.copy()
        stress = bare.info.pop(STRESS_KEY, None) is not None
        labelled.append(labelled_copy(bare, calculator, index=index, stress=stress))
    write_structures(shard.path, labelled)
