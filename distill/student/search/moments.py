"""Second moments of the design rows by part of the data, from which any smaller fit follows.

The moments of all columns give those of any of them, and of the data without a part, with no
further assembly. They square the condition number, which the prior's diagonal bounds: for 1302
functions the evidence agrees with that of a QR factorisation to 1e-3 down to a strength of 1e-16 of
the largest squared column.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Moments:
    """Moments of the weighted rows [A | y] of a part of the data.

    Attributes
    ----------
    forces
        Of the force rows, (n + 1, n + 1).
    others
        The rows of energies and virials themselves, (k, n + 1).
    rows
        Number of all rows.
    force_weight
        Sum of the squared weights of the force rows.
    """

    forces: Array
    others: Array
    rows: int
    force_weight: float

    def of(self, columns: NDArray[np.int64]) -> Array:
        """Moments of all rows in some columns, the targets' included."""
        others = self.others[:, columns]
        return self.forces[np.ix_(columns, columns)] + others.T @ others

    def squared_force_error(self, columns: NDArray[np.int64], coefficients: Array) -> float:
        """Weighted sum of squared force errors of coefficients on some columns, (eV/Å)²."""
        v = np.append(coefficients, -1.0)
        return max(float(v @ self.forces[np.ix_(columns, columns)] @ v), 0.0)


def gathered(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    members: Sequence[int],
    n: int,
    threads: int,
) -> Moments:
    """Moments of some structures' rows; the same with any number of threads.

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

    def block_moments(block: Block) -> tuple[Array, Array]:
        matrix = weighted_rows(design, structures, rows, block, n)
        are_forces = np.concatenate([_are_forces(rows[index]) for index in block.members])
        forces = np.asfortranarray(matrix[are_forces])
        return blas.dsyrk(1.0, forces, trans=1), matrix[~are_forces]

    total, others = np.zeros((n + 1, n + 1), order="F"), [np.zeros((0, n + 1))]
    with ThreadPoolExecutor(threads) as executor:
        blocks = _blocks(rows, members)
        # A few at a time, so that no more moments wait than threads work.
        for start in range(0, len(blocks), threads):
            for square, rest in executor.map(block_moments, blocks[start : start + threads]):
                total += square
                others.append(rest)
    total += np.triu(total, 1).T
    weighed = [rows[index] for index in members if rows[index].forces is not None]
    return Moments(
        forces=total,
        others=np.concatenate(others),
        rows=sum(rows[index].count for index in members),
        force_weight=sum(
            r.forces_weight**2 * len(r.forces) for r in weighed if r.forces is not None
        ),
    )


def _are_forces(labels: Rows) -> NDArray[np.bool_]:
    """Which of a structure's rows are of forces."""
    return np.repeat(
        [False, True, False],
        [
            labels.energy is not None,
            0 if labels.forces is None else len(labels.forces),
            0 if labels.virial is None else len(labels.virial),
        ],
    )


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
