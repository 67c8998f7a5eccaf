"""Second moments of the design rows by part of the data, from which any smaller fit follows.

The moments of all columns give those of any of them, and of the data without a part, with no
further assembly. They square the condition number, which the prior's diagonal bounds: for 1302
functions the evidence agrees with that of a QR factorisation to 1e-3 down to a strength of 1e-16 of
the largest squared column.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.student.fit.accumulate import Block, DesignRows, weighted_rows

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.training_set import Rows

Array = NDArray[np.float64]

# Rows that are multiplied at once.
_BLOCK_ROWS = 1500


def moments_of(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    members: Sequence[int],
    n: int,
    threads: int,
) -> Array:
    """Moments of some structures' weighted rows [A | y], (n + 1, n + 1).

    They are the same with any number of threads.

    Parameters
    ----------
    design, structures, rows, n
        As in `fit.accumulate.accumulate`.
    members
        Indices of the structures.
    threads
        Blocks in work at once.
    """
    from scipy.linalg import blas

    def square(block: Block) -> Array:
        matrix = np.asfortranarray(weighted_rows(design, structures, rows, block, n))
        return np.asarray(blas.dsyrk(1.0, matrix, trans=1))

    total = np.zeros((n + 1, n + 1), order="F")
    with ThreadPoolExecutor(threads) as executor:
        blocks = _blocks(rows, members)
        # A few at a time, so that no more moments wait than threads work.
        for start in range(0, len(blocks), threads):
            for each in executor.map(square, blocks[start : start + threads]):
                total += each
    total += np.triu(total, 1).T
    return total


def _blocks(rows: Sequence[Rows], members: Sequence[int]) -> list[Block]:
    blocks: list[Block] = []
    current: list[int] = []
    for index in members:
        if rows[index].count == 0:
            continue
        current.append(index)
        if sum(rows[k].count for k in current) >= _BLOCK_ROWS:
            blocks.append(Block(0, tuple(current), sum(rows[k].count for k in current)))
            current = []
    if current:
        blocks.append(Block(0, tuple(current), sum(rows[k].count for k in current)))
    return blocks
