"""Streaming factorisation of the regression: blocks of structures in, triangular factors out.

The design matrix never exists whole. Threads assemble a block of structures each and factor it
at once; the triangles are merged in the order of the blocks. Blocks depend on the data alone, so
the result is the same bit for bit with any number of threads, and after a kill and resume.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.progress import progress, say
from distill.student.fit.triangular_factor import Factor, empty_factor, factor_rows, merge

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.training_set import Rows

# Rows of a block in units of the number of columns: at 3 the merges cost a tenth of the whole.
BLOCK_RATIO = 3
CHECKPOINT_INTERVAL_S = 60.0
# A singular value decomposition holds about this many n × n matrices at once.
_SOLVE_MATRICES = 8

# (atoms, wants energy, forces, virial) -> the rows of each kind: (n,), (3 N, n), (6, n) or None.
DesignRows = Callable[
    ["Atoms", bool, bool, bool],
    tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
]


@dataclass(frozen=True)
class Block:
    """Structures that are assembled and factored together."""

    fold: int
    members: tuple[int, ...]
    rows: int


def plan_blocks(folds: Sequence[Sequence[int]], counts: Sequence[int], n: int) -> list[Block]:
    """Cut each fold into blocks of at least BLOCK_RATIO (n + 1) rows, in the order given.

    Parameters
    ----------
    folds
        Structure indices of each fold.
    counts
        Rows of each structure.
    n
        Number of basis functions.
    """
    least = BLOCK_RATIO * (n + 1)
    blocks = []
    for fold, members in enumerate(folds):
        current: list[int] = []
        rows = 0
        for index in members:
            if counts[index] == 0:
                continue
            current.append(index)
            rows += counts[index]
            if rows >= least:
                blocks.append(Block(fold, tuple(current), rows))
                current, rows = [], 0
        if current:
            blocks.append(Block(fold, tuple(current), rows))
    return blocks


def memory_needed(blocks: Sequence[Block], n: int, folds: int, threads: int) -> float:
    """Largest memory of assembly and of the solve after it, bytes."""
    columns = n + 1
    largest = sorted((block.rows for block in blocks), reverse=True)[:threads]
    triangles = (folds + threads + 3) * columns**2
    assembly = sum(largest) * columns + triangles
    return 8.0 * max(assembly, (folds + _SOLVE_MATRICES) * columns**2)


def threads_that_fit(blocks: Sequence[Block], n: int, folds: int, threads: int) -> int:
    """Say the size of the regression, and how many of the threads the free memory allows.

    Raises
    ------
    UserError
        If not even one thread's blocks, or the solve, fit in the free memory.
    """
    import psutil

    free = psutil.virtual_memory().available
    allowed = threads
    while allowed > 1 and memory_needed(blocks, n, folds, allowed) > free:
        allowed -= 1
    needed = memory_needed(blocks, n, folds, allowed)
    fewer = f", {allowed} of {threads} threads so that it fits" if allowed < threads else ""
    say(
        f"student fit: {n} functions, {sum(block.rows for block in blocks)} rows, up to "
        f"{needed / 2**30:.2g} GB ({free / 2**30:.3g} GB free){fewer}"
    )
    if needed > free:
        raise UserError(
            f"a fit of {n} functions needs {needed / 2**30:.3g} GB of memory, "
            f"{free / 2**30:.3g} GB are free: lower student.totaldegree or student.order, or use "
            "a machine with more memory"
        )
    return allowed


def accumulate(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    blocks: Sequence[Block],
    n: int,
    *,
    folds: int = 1,
    threads: int = 1,
    checkpoint: Path | None = None,
    key: str = "",
) -> list[Factor]:
    """Factor the weighted rows of all blocks, one factor for each fold.

    Parameters
    ----------
    design
        Gives a structure's rows; thread-safe.
    structures, rows
        All structures and their weighted targets.
    blocks
        From `plan_blocks`.
    n
        Number of basis functions.
    folds
        Number of folds.
    threads
        Blocks in work at once.
    checkpoint
        File that the factors are kept in, every minute and at the end; work that it holds under
        the same `key` is not done again.
    key
        Identifies data, basis and weights.
    """
    # Loaded here so that the limit below reaches SciPy's own BLAS.
    from scipy.linalg import lapack  # noqa: F401
    from threadpoolctl import threadpool_limits

    factors, done = _resume(checkpoint, key, n, folds)
    if done:
        say(f"student fit: {done} of {len(blocks)} blocks are already assembled")
    waiting = blocks[done:]
    if not waiting:
        return factors
    saved = time.monotonic()
    with threadpool_limits(1):
        factored = _in_order(
            lambda block: factor_rows(weighted_rows(design, structures, rows, block, n)),
            waiting,
            threads,
        )
        shown = progress(factored, "student fit: assembly", total=len(waiting), unit="blocks")
        for block, factor in zip(waiting, shown, strict=True):
            factors[block.fold] = merge(factors[block.fold], factor)
            done += 1
            if checkpoint and time.monotonic() - saved > CHECKPOINT_INTERVAL_S:
                _save(checkpoint, key, factors, done)
                saved = time.monotonic()
    if checkpoint:
        _save(checkpoint, key, factors, done)
    return factors


def weighted_rows(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    block: Block,
    n: int,
) -> np.ndarray:
    """The weighted rows [A | y] of a block, (rows, n + 1), Fortran order."""
    matrix = np.empty((block.rows, n + 1), order="F")
    start = 0
    for index in block.members:
        start = _fill(matrix, start, design, structures[index], rows[index])
    return matrix


def _fill(matrix: np.ndarray, start: int, design: DesignRows, atoms: Atoms, labels: Rows) -> int:
    """Write the weighted rows [A | y] of one structure from row `start` on; return the next row."""
    parts = design(
        atoms, labels.energy is not None, labels.forces is not None, labels.virial is not None
    )
    targets = (
        (labels.energy, labels.energy_weight),
        (labels.forces, labels.forces_weight),
        (labels.virial, labels.virial_weight),
    )
    for part, (target, weight) in zip(parts, targets, strict=True):
        if target is None or part is None:
            continue
        values = np.atleast_1d(target)
        stop = start + len(values)
        np.multiply(np.atleast_2d(part), weight, out=matrix[start:stop, :-1])
        np.multiply(values, weight, out=matrix[start:stop, -1])
        if not np.isfinite(matrix[start:stop].sum()):
            raise UserError(
                f"training structure {labels.index} ({atoms.get_chemical_formula()}): its basis "
                "values or labels are not finite; check its positions, cell and labels"
            )
        start = stop
    return start


def _in_order(
    function: Callable[[Block], Factor], blocks: Sequence[Block], threads: int
) -> Iterator[Factor]:
    """Results in the order of the blocks, with at most `threads` of them in work or waiting."""
    if threads == 1:
        yield from map(function, blocks)
        return
    with ThreadPoolExecutor(threads) as executor:
        pending: deque[Future[Factor]] = deque()
        try:
            for block in blocks:
                if len(pending) > threads:
                    yield pending.popleft().result()
                pending.append(executor.submit(function, block))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _save(path: Path, key: str, factors: Sequence[Factor], done: int) -> None:
    upper = np.triu_indices(factors[0].triangle.shape[0])
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            key=np.array(key),
            done=np.array(done),
            rows=np.array([factor.rows for factor in factors]),
            triangles=np.array([factor.triangle[upper] for factor in factors]),
        )


def _resume(path: Path | None, key: str, n: int, folds: int) -> tuple[list[Factor], int]:
    """Factors and number of finished blocks of an earlier run with the same key, else of none."""
    fresh = [empty_factor(n) for _ in range(folds)], 0
    if path is None or not path.exists():
        return fresh
    upper = np.triu_indices(n + 1)
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return fresh
            triangles, rows = data["triangles"], data["rows"]
            factors = []
            for fold in range(folds):
                triangle = np.zeros((n + 1, n + 1), order="F")
                triangle[upper] = triangles[fold]
                factors.append(Factor(triangle, int(rows[fold])))
            return factors, int(data["done"])
    except (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile):
        say(f"{path} cannot be used to resume; the assembly starts anew")
        return fresh
