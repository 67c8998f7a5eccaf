"""Which snapshots of a thermal surface are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from distill.metrics.autocorrelation import vector_inefficiency
from distill.systems.constraints import mobile_atoms

# A walk of fewer groups does not tell how long they are.
_WALK_IN_GROUPS = 5
_WALKS = 4


@dataclass(frozen=True)
class Independence:
    """Which snapshots of thermal motion are independent of which.

    Attributes
    ----------
    groups
        Number of the group of each snapshot, from 0 on; snapshots of different groups are
        independent.
    correlation_time
        Integrated, of the displacements of the atoms that move, fs, half an interval at least; None
        where each walk is a group, because it is too short to tell.
    """

    groups: tuple[int, ...]
    correlation_time: float | None

    @property
    def independent(self) -> int:
        """Number of groups."""
        return max(self.groups) + 1


def independence(walks: Sequence[Sequence[Atoms]], interval: float) -> Independence:
    """Which snapshots of independent walks are independent, by their displacements.

    A group is as many successive snapshots as tell no more than one (the statistical inefficiency
    of the displacements of all atoms that move), or a whole walk where that is too short to say.

    Parameters
    ----------
    walks
        Snapshots of each walk, in the order of time, the longest walks first.
    interval
        Time between snapshots, fs.
    """
    mobile = mobile_atoms(walks[0][0])
    # The mean of a single walk, where displacements are counted from, would be off by its own.
    length = min(map(len, walks[:_WALKS]))
    series = np.array(
        [
            [s.positions[mobile].ravel() for s in walk[:length]]
            for walk in walks
            if len(walk) >= length
        ]
    )
    inefficiency = vector_inefficiency(series)
    # A tenth of the variance is not worth halving the number of groups.
    size = max(math.ceil(inefficiency - 0.1), 1)
    told = size * _WALK_IN_GROUPS <= length
    if not told:
        size = len(walks[0])
    groups: list[int] = []
    for walk in walks:
        first = groups[-1] + 1 if groups else 0
        groups += [first + number // size for number in range(len(walk))]
    return Independence(tuple(groups), inefficiency * interval / 2 if told else None)
