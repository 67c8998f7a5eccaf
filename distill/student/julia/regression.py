"""The regression that ACEfit solves: all rows, or their triangular factor from the native kernels.

With the weighted rows [A | y] = Q R, the misfit ‖A c - y‖ is that of R, so least squares finds the
same solution in R, which has one row more than there are functions. R is made as in the native fit,
from the basis that Julia exported, and its rows are compared with Julia's own each time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.fingerprint import fingerprint
from distill.core.progress import format_duration, progress, say
from distill.data.structures import config_type
from distill.student.fit import training_set
from distill.student.fit.accumulate import (
    Block,
    accumulate,
    plan_blocks,
    threads_that_fit,
    weighted_rows,
)
from distill.student.fit.native_fit import FACTOR_FILE, design_of, factor_key
from distill.student.julia import julia_arguments, parity
from distill.student.julia.exported import student_from_arrays

if TYPE_CHECKING:
    from distill.student.basis.basis import Basis
    from distill.student.config import StudentConfig
    from distill.student.fit.preparation import Prepared
    from distill.student.julia.julia_session import JuliaSession

_BATCHES_PER_THREAD = 2
# Copies of the matrix of rows that each factorisation holds, the assembled one included.
_COPIES = {"cholesky": 1, "svd": 2, "qr": 3, "rrqr": 3, "lsqr": 1, "tsvd": 5}
# Bytes that Julia and its compiled packages take before there is any data.
_JULIA_ITSELF = 2 * 2**30
# The gradient of a least-squares solution, relative to its scale, beyond which it is none.
_SOLVED = 1e-8
# Structures whose rows both assemble. A function's rows may differ by the first share of their
# largest value, and by the second of that of all functions, which rounding leaves.
_COMPARED = 4
ROW_TOLERANCE = 1e-9
_ROUNDING = 1e-12


def regress(
    julia: JuliaSession,
    config: StudentConfig,
    data: Prepared,
    labels: Mapping[str, np.ndarray],
    *,
    seed: int,
    threads: int,
    folder: Path,
) -> dict[str, Any]:
    """Assemble and solve the regression of Julia's model.

    Parameters
    ----------
    julia
        With the model.
    config, data
        What is fitted.
    labels
        Of all structures, from `julia_arguments.label_arrays`.
    seed
        Of posterior draws and of what is held out.
    threads
        Julia's.
    folder
        Keeps the factor of a native assembly, from which a killed fit resumes.

    Returns
    -------
    dict
        `DistillACE.solve!`'s report, `rows`, `functions`, seconds of `assembly_s` and `solve_s`,
        and, of a native assembly, `row_difference`.

    Raises
    ------
    UserError
        If the regression does not fit in memory or has too few rows, or the native rows are not
        those of Julia.
    """
    solver = julia_arguments.solver_arguments(config.solver, len(data.structures), seed)
    held_out = [int(k) - 1 for k in solver.get("validation", [])]
    began = time.monotonic()
    if config.assembly == "native":
        solver = julia_arguments.of_factors(solver)
        found = _factored(julia, config, data, solver, held_out, seed, folder)
    else:
        found = _assembled(julia, config, data, labels, solver, held_out, threads)
    assembled = time.monotonic()
    say(f"student fit: solving with {config.solver.kind}")
    report = {"solver": config.solver.kind, **found, **julia.call("solve", **solver)}
    report["assembly_s"] = round(assembled - began, 3)
    report["solve_s"] = round(time.monotonic() - assembled, 3)
    say(
        f"student fit: {report['functions']} coefficients from {report['rows']} rows; assembly "
        f"{format_duration(report['assembly_s'])}, solve {format_duration(report['solve_s'])}"
    )
    if report.get("gradient", 0.0) > _SOLVED:
        say(
            f"student fit: WARNING: lsqr stopped before its solution: the gradient is "
            f"{report['gradient']:.1e} of its scale, expected {_SOLVED:g}; raise "
            "student.solver.max_iterations, give a strength, or choose blr"
        )
    return report


def _assembled(
    julia: JuliaSession,
    config: StudentConfig,
    data: Prepared,
    labels: Mapping[str, np.ndarray],
    solver: Mapping[str, Any],
    held_out: Sequence[int],
    threads: int,
) -> dict[str, Any]:
    """All rows, by Julia."""
    described = julia.call("describe")
    columns = int(described["functions"])
    if not config.pair:
        columns -= int(described["pair"]) * len(described["elements"])
    atoms = np.array([len(structure) for structure in data.structures])
    by_label = np.stack([atoms**0, 3 * atoms, 6 * atoms**0], axis=1) * (labels["weights"] > 0)
    counts = by_label.sum(axis=1)
    _refuse_few_rows(config, counts, held_out, columns)
    _refuse_large_fits(
        int(counts.sum()), columns, solver, "assembly: native needs a triangle of it"
    )
    shape = julia.call(
        "least_squares",
        **_prior_of(config),
        **_restraint_of(config),
        **julia_arguments.geometry_arrays(data.structures, described["cutoff"]),
        **labels,
    )
    count = shape["structures"]
    # Julia compiles at the first structure, which would mislead an estimate of the time left.
    say("student fit: compiling the assembly")
    julia.call("assemble", first=1, last=1)
    size = _BATCHES_PER_THREAD * threads
    for first in progress(range(2, count + 1, size), "assembly", unit=f"batches of {size}"):
        julia.call("assemble", first=first, last=min(first + size - 1, count))
    return {"rows": shape["rows"], "functions": shape["columns"]}


def _factored(
    julia: JuliaSession,
    config: StudentConfig,
    data: Prepared,
    solver: Mapping[str, Any],
    held_out: Sequence[int],
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """The triangular factor of all rows, by the native kernels; two where some are held out."""
    basis = student_from_arrays(julia.call("export_arrays"), data.spec).basis
    rows = [
        training_set.rows_of(
            atoms, training_set.one_body_baseline(atoms, data.e0), config.weights, index
        )
        for atoms, index in zip(data.structures, data.indices, strict=True)
    ]
    n, counts = basis.n_functions, np.array([row.count for row in rows])
    _refuse_few_rows(config, counts, held_out, n)
    folds = [[k for k in range(len(rows)) if k not in held_out], *([held_out] if held_out else [])]
    _refuse_large_fits(len(folds) * (n + 1), n, solver, "backend: native needs no Julia beside it")
    blocks = plan_blocks(folds, counts.tolist(), n)
    difference = _difference_of_rows(julia, config, data, basis, rows, seed)
    factors = accumulate(
        design_of(basis),
        data.structures,
        rows,
        blocks,
        n,
        folds=len(folds),
        threads=threads_that_fit(blocks, n, len(folds), config.threads or available_cores()),
        checkpoint=folder / FACTOR_FILE,
        key=fingerprint(["acepotentials", basis, factor_key(config, data, folds, [])]),
    )
    shape = julia.call(
        "factored_least_squares",
        **_prior_of(config),
        **_restraint_of(config),
        triangles=np.array([factor.triangle for factor in factors]),
        labels=sum(factor.rows for factor in factors),
    )
    return {"rows": shape["rows"], "functions": shape["columns"], "row_difference": difference}


def _difference_of_rows(
    julia: JuliaSession,
    config: StudentConfig,
    data: Prepared,
    basis: Basis,
    rows: Sequence[training_set.Rows],
    seed: int,
) -> float:
    """Largest difference of native rows from Julia's, as a share of their largest, of any function.

    Raises
    ------
    UserError
        If it is more than `ROW_TOLERANCE`.
    """
    used = [k for k, row in enumerate(rows) if row.count]
    sampled = parity.sample([data.structures[k] for k in used], seed, _COMPARED)
    chosen = [used[k] for k in sampled]
    structures = [data.structures[k] for k in chosen]
    kinds = {config_type(atoms) for atoms in structures} | {"default"}
    weights = {kind: weight for kind, weight in config.weights.items() if kind in kinds}
    say(f"student fit: comparing the rows of {len(chosen)} structures with Julia's own")
    julia.call(
        "least_squares",
        **_prior_of(config),
        **julia_arguments.geometry_arrays(structures, basis.cutoff),
        **julia_arguments.label_arrays(structures, weights),
    )
    julia.call("assemble", first=1, last=len(chosen))
    theirs = julia.call("weighted_rows")
    block = Block(0, tuple(chosen), sum(rows[k].count for k in chosen))
    ours = weighted_rows(design_of(basis), data.structures, rows, block, basis.n_functions)
    difference = np.inf
    if ours.shape == theirs.shape:
        largest = np.abs(theirs).max(axis=0)
        scale = np.maximum(largest, _ROUNDING / ROW_TOLERANCE * largest.max())
        difference = float((np.abs(ours - theirs).max(axis=0) / scale).max())
    say(
        f"student fit: largest difference {difference:.1e} of a function's rows, "
        f"expected at most {ROW_TOLERANCE:g}"
    )
    if not difference <= ROW_TOLERANCE:
        raise UserError(
            "the native rows of the regression are not Julia's: a function's differ by "
            f"{difference:.1e} of their largest value, expected at most {ROW_TOLERANCE:g}. Set "
            "student.assembly: julia, which assembles all rows in Julia. The installed "
            "ACEpotentials may be newer than this program knows: compare its version in julia.log "
            "with docs/julia.md"
        )
    return difference


def _prior_of(config: StudentConfig) -> dict[str, Any]:
    return {"smoothness": config.smoothness, "pair": config.pair}


def _restraint_of(config: StudentConfig) -> dict[str, Any]:
    return {"restraint_weight": config.restraint_weight if config.repulsion_restraint else None}


def _refuse_large_fits(rows: int, columns: int, solver: Mapping[str, Any], leaner: str) -> None:
    """Say the size of what Julia solves; refuse what does not fit in memory.

    Raises
    ------
    UserError
        With what needs less.
    """
    import psutil

    method = solver.get("factorization", solver["kind"])
    needed = 8.0 * columns * (rows * _COPIES[method] + 3 * columns) + _JULIA_ITSELF
    free = psutil.virtual_memory().available
    say(
        f"student fit: {columns} functions, {rows} rows in Julia, up to {needed / 2**30:.2g} GB "
        f"with Julia itself ({free / 2**30:.3g} GB free)"
    )
    if needed > free:
        raise UserError(
            f"ACEfit holds {rows} rows of {columns} functions in memory, "
            f"{needed / 2**30:.3g} GB with {method}; {free / 2**30:.3g} GB are free. Lower "
            f"student.totaldegree, or use less memory ({leaner})"
        )


def _refuse_few_rows(
    config: StudentConfig, counts: np.ndarray, held_out: Sequence[int], columns: int
) -> None:
    """Refuse a truncated SVD of fewer rows than functions, which ACEfit cannot do."""
    if config.solver.kind != "tsvd":
        return
    kept = int(counts.sum() - counts[list(held_out)].sum())
    if kept <= columns:
        raise UserError(
            "student.solver: ACEfit's tsvd needs more rows than functions beside those that "
            f"it holds out, found {kept} rows of {columns} functions; choose blr, add "
            "structures, or lower student.totaldegree"
        )
