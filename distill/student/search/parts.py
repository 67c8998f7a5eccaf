"""How structures are left out to measure a basis: whole trajectories, and whole kinds of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.data.splits import sources_of
from distill.data.structures import config_type

if TYPE_CHECKING:
    from ase import Atoms

FOLDS = 4
_FEWEST_STRUCTURES = 12
# With fewer sources than this, folds are of structures.
_FEWEST_SOURCES = 6
# A kind is left out as a whole if the rest can still be learnt from.
_LARGEST_KIND = 0.6
_MOST_KINDS = 2
_FEWEST_OF_KIND = 4


@dataclass(frozen=True)
class Parts:
    """A part of each structure that the search looks at.

    Attributes
    ----------
    chosen
        Indices of the structures, ascending.
    fold
        Fold of each, from 0; frames of one source share one.
    kind
        Place in `kinds` of each, or -1.
    kinds
        Config types that are left out as a whole.
    sources
        Number of trajectories and single structures.
    by_structure
        Whether the sources are too few, so that folds are of structures.
    """

    chosen: NDArray[np.int64]
    fold: NDArray[np.int64]
    kind: NDArray[np.int64]
    kinds: tuple[str, ...]
    sources: int
    by_structure: bool

    def cells(self) -> list[tuple[int, int]]:
        """(fold, kind) of which there is a structure."""
        return sorted({(int(f), int(k)) for f, k in zip(self.fold, self.kind, strict=True)})

    def members(self, cell: tuple[int, int]) -> list[int]:
        """Indices of a cell's structures."""
        return self.chosen[(self.fold == cell[0]) & (self.kind == cell[1])].tolist()


def parted(structures: Sequence[Atoms], most: int, seed: int) -> Parts:
    """Choose structures evenly over the set, and part them.

    Sources (trajectories, as `data.splits.sources_of` knows them) are dealt to the folds in random
    order, each to the fold that has the fewest structures of its kind, then of all.

    Parameters
    ----------
    structures
        Labelled structures.
    most
        Structures to look at.
    seed
        Of the order.

    Raises
    ------
    UserError
        If there are too few to leave any out.
    """
    if len(structures) < _FEWEST_STRUCTURES:
        raise UserError(
            f"student.basis: auto leaves structures out to choose a basis, and needs at least "
            f"{_FEWEST_STRUCTURES}; the training set has {len(structures)}. Give order and "
            "totaldegree (basis: given), or add structures"
        )
    chosen = np.unique(np.linspace(0, len(structures) - 1, most).round().astype(int))
    if most >= len(structures):
        chosen = np.arange(len(structures))
    every = sources_of(structures)
    sources = [every[index] for index in chosen]
    by_structure = len(set(sources)) < _FEWEST_SOURCES
    groups = [str(index) for index in chosen] if by_structure else sources
    types = [config_type(structures[index]) for index in chosen]
    counts = Counter(types)
    kinds = tuple(
        kind
        for kind, count in counts.most_common()
        if _FEWEST_OF_KIND <= count <= _LARGEST_KIND * len(chosen)
    )[:_MOST_KINDS]
    return Parts(
        chosen=chosen,
        fold=_dealt(groups, types, seed),
        kind=np.array([kinds.index(kind) if kind in kinds else -1 for kind in types]),
        kinds=kinds,
        sources=len(set(sources)),
        by_structure=by_structure,
    )


def _dealt(groups: Sequence[str], types: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Fold of each structure."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    names = sorted(members)
    order = stream(seed, "basis search").permutation(len(names))
    fold = np.zeros(len(groups), dtype=np.int64)
    filled: Counter[tuple[str, int]] = Counter()
    total: Counter[int] = Counter()
    for name in sorted((names[k] for k in order), key=lambda name: -len(members[name])):
        kind = types[members[name][0]]
        target = min(range(FOLDS), key=lambda f: (filled[kind, f], total[f]))
        filled[kind, target] += len(members[name])
        total[target] += len(members[name])
        fold[members[name]] = target
    return fold
