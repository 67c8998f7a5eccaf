"""The reference fit: ACEpotentials.jl through juliacall, exported to the one student file.

Julia runs in a process of its own (`julia_session`), and every call into ACEpotentials is in the
Julia package `julia/`. What comes back is the model's own arrays, from which the student file is
made; it is accepted only if the native engine then reproduces Julia's energies, forces and
virials.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill._version import __version__
from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.progress import format_duration, progress, say
from distill.core.results import write_result
from distill.student.basis_arrays import basis_from_arrays
from distill.student.fit.fit_result import Fit
from distill.student.fit.preparation import prepare
from distill.student.fit.training_set import label_counts
from distill.student.julia import julia_arguments, parity
from distill.student.julia.julia_calculator import JuliaCalculator
from distill.student.julia.julia_session import JuliaFailure, JuliaSession
from distill.student.julia.julia_setup import (
    available,
    check_versions,
    require,
    setup,
    status,
)
from distill.student.parameters import joined_coefficients
from distill.student.short_range import nearest_distances, pair_curves
from distill.student.student_model import Student
from distill.student.training_record import SolverReport, TrainingRecord
from distill.student.uncertainty.uncertainty_model import with_training_deviations

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import BasisSpec
    from distill.student.config import StudentConfig
    from distill.student.julia.parity import Parity

__all__ = [
    "JuliaCalculator",
    "JuliaFailure",
    "available",
    "fit",
    "require",
    "setup",
    "status",
]

STUDENT_FILE = "student.npz"
MODEL_FILE = "ace_model.json"
PARITY_FILE = "parity.json"
# What a fit leaves for others than the reader of its log.
KEPT_FILES = (STUDENT_FILE, MODEL_FILE, PARITY_FILE)
LOG_FILE = "julia.log"
_BATCHES_PER_THREAD = 2
# Copies of the matrix of rows that each factorisation holds, the assembled one included.
_COPIES = {"cholesky": 1, "svd": 2, "qr": 3, "rrqr": 3, "lsqr": 1, "tsvd": 5}
# Bytes that Julia and its compiled packages take before there is any data.
_JULIA_ITSELF = 2 * 2**30
# The gradient of a least-squares solution, relative to its scale, beyond which it is none.
_SOLVED = 1e-8


def fit(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    folder: Path | None = None,
) -> Fit:
    """Fit a student with ACEpotentials.jl.

    Parameters
    ----------
    structures
        Training set with labels REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³).
    config
        Basis, weights, prior and solver.
    seed
        Of posterior draws and of what is held out.
    teacher_e0
        The teacher's one-body energies, eV.
    folder
        Gets `student.npz`, `ace_model.json` (ACEpotentials' own format), `parity.json` and
        `julia.log`; none of the first three appears unless all went well. None keeps
        nothing, but the log of a fit that failed.

    Raises
    ------
    UserError
        If Julia is missing, labels or options do not fit, the regression does not fit in memory,
        Julia raises an error (its trace is in `julia.log`), or Julia and the native engine
        disagree about the exported model.
    """
    julia_arguments.check_options(config)
    data = prepare(structures, config, teacher_e0)
    julia_arguments.refuse_absent_elements(data.structures, data.spec.elements)
    model = julia_arguments.model_arguments(data.spec, data.e0)
    labels = julia_arguments.label_arrays(data.structures, config.weights)
    solver = julia_arguments.solver_arguments(config.solver, len(data.structures), seed)
    require()
    out = folder or Path(tempfile.mkdtemp(prefix="distill-julia-"))
    if config.solver.kind != "blr" and config.solver.committee:
        say(
            f"student fit: {config.solver.kind} of ACEfit has no posterior: the student gets no "
            "committee, and no uncertainties from one"
        )
    with JuliaSession(log=out / LOG_FILE, threads=config.threads) as julia:
        versions = start(julia)
        described = julia.call("build_model", **model)
        geometry = julia_arguments.geometry_arrays(data.structures, described["cutoff"])
        arrays = {**geometry, **labels}
        _check_size(arrays, described, config.pair, solver)
        report = _regress(julia, config, solver, arrays, versions["threads"])
        student = student_from_arrays(
            julia.call("export_arrays"),
            data.spec,
            provenance={
                "backend": "acepotentials",
                "distill": __version__,
                "julia": versions,
                "config": config.model_dump(mode="json", exclude={"threads", "backend"}),
                "e0_source": data.e0_source,
                "solver": report,
                "seed": seed,
            },
            training=TrainingRecord(
                solver=SolverReport(
                    solver=config.solver.kind,
                    log_evidence=report.get("lml"),
                    factorization=report["factorization"],
                ),
                labels=label_counts(data.structures),
                structures=len(data.structures),
                left_out=data.left_out,
                rows=report["rows"],
            ),
        )
        graded = _accept(julia, student, data.structures, out, seed)
    if folder is None:
        shutil.rmtree(out)
    nearest = nearest_distances(data.structures, graded.elements, graded.cutoff)
    curves = pair_curves(graded, nearest)
    return Fit(graded, data.structures, curves, report["assembly_s"], report["solve_s"])


def start(julia: JuliaSession) -> dict[str, Any]:
    """Start Julia, check its versions and say them; `DistillACE.versions`.

    Raises
    ------
    UserError
        If Julia or ACEpotentials is older than what distill knows, or ACEpotentials newer.
    """
    began = time.monotonic()
    say(f"starting Julia with {julia.threads} threads (trace in {julia.log})")
    versions = julia.call("versions")
    check_versions(versions)
    say(
        f"ACEpotentials {versions['ACEpotentials']} on Julia {versions['julia']}, "
        f"ready in {format_duration(time.monotonic() - began)}"
    )
    return versions


def _check_size(
    data: Mapping[str, np.ndarray],
    described: Mapping[str, Any],
    pair: bool,
    solver: Mapping[str, Any],
) -> None:
    """Say the size of the regression; refuse one that does not fit in memory, or has too few rows.

    ACEfit holds the whole matrix, unlike the native fit.
    """
    import psutil

    atoms = np.diff(data["offsets"])
    by_structure = np.stack([atoms**0, 3 * atoms, 6 * atoms**0], 1) * (data["weights"] > 0)
    rows = int(by_structure.sum())
    columns = int(described["functions"])
    if not pair:
        columns -= int(described["pair"]) * len(described["elements"])
    method = solver.get("factorization", solver["kind"])
    needed = 8.0 * columns * (rows * _COPIES[method] + 3 * columns) + _JULIA_ITSELF
    free = psutil.virtual_memory().available
    say(
        f"student fit: {columns} functions, {rows} rows, up to {needed / 2**30:.2g} GB with Julia "
        f"({free / 2**30:.3g} GB free)"
    )
    if needed > free:
        raise UserError(
            f"ACEfit holds all {rows} rows of {columns} functions in memory, "
            f"{needed / 2**30:.3g} GB with {method}; {free / 2**30:.3g} GB are free. Use fewer "
            "structures, lower student.totaldegree, solver.committee 0 (then blr uses cholesky, "
            "with half the memory of svd), or backend native, which keeps only a triangle of it"
        )
    if method == "tsvd":
        kept = rows - int(by_structure[solver["validation"] - 1].sum())
        if kept <= columns:
            raise UserError(
                "student.solver: ACEfit's tsvd needs more rows than functions beside those that "
                f"it holds out, found {kept} rows of {columns} functions; choose blr, add "
                "structures, or lower student.totaldegree"
            )


def _regress(
    julia: JuliaSession,
    config: StudentConfig,
    solver: Mapping[str, Any],
    data: Mapping[str, np.ndarray],
    threads: int,
) -> dict[str, Any]:
    """Assemble and solve; returns what there is to say of it."""
    shape = julia.call(
        "least_squares",
        smoothness=config.smoothness,
        pair=config.pair,
        restraint_weight=config.restraint_weight if config.repulsion_restraint else None,
        **data,
    )
    began = time.monotonic()
    count = shape["structures"]
    # Julia compiles at the first structure, which would mislead an estimate of the time left.
    say("student fit: compiling the assembly")
    julia.call("assemble", first=1, last=1)
    size = _BATCHES_PER_THREAD * threads
    for first in progress(range(2, count + 1, size), "assembly", unit=f"batches of {size}"):
        julia.call("assemble", first=first, last=min(first + size - 1, count))
    assembled = time.monotonic()
    say(f"student fit: solving with {config.solver.kind}")
    report = {"solver": config.solver.kind, **julia.call("solve", **solver)}
    report["rows"], report["functions"] = shape["rows"], shape["columns"]
    report["assembly_s"] = round(assembled - began, 3)
    report["solve_s"] = round(time.monotonic() - assembled, 3)
    say(
        f"student fit: {shape['columns']} coefficients from {shape['rows']} rows; assembly "
        f"{format_duration(report['assembly_s'])}, solve {format_duration(report['solve_s'])}"
    )
    if report.get("gradient", 0.0) > _SOLVED:
        say(
            f"student fit: WARNING: lsqr stopped before its solution: the gradient is "
            f"{report['gradient']:.1e} of its scale, expected {_SOLVED:g}; raise "
            "student.solver.max_iterations, give a strength, or choose blr"
        )
    return report


def student_from_arrays(
    arrays: dict[str, Any],
    spec: BasisSpec | None,
    *,
    provenance: Mapping[str, Any] | None = None,
    training: TrainingRecord | None = None,
) -> Student:
    """The student that the arrays of `DistillACE.export_arrays` describe.

    Parameters
    ----------
    arrays
        As exported.
    spec
        The settings of the basis, where distill made it; without a pair term, Julia's is dropped.
    provenance, training
        As in `Student`.

    Raises
    ------
    UserError
        If the native engine cannot evaluate such a model.
    """
    n_many = arrays["WB"].size
    if spec is not None and not spec.pair:
        arrays = {
            **arrays,
            "Wpair": arrays["Wpair"][:0],
            "pair_spline_coefs": arrays["pair_spline_coefs"][..., :0],
            "pairspec": arrays["pairspec"][:0],
        }
        if "committee" in arrays:
            arrays["committee"] = arrays["committee"][:, :n_many]
    basis = basis_from_arrays(arrays, _description(arrays), "the model from ACEpotentials")
    return Student(
        basis=dataclasses.replace(basis, spec=spec),
        coefficients=joined_coefficients(arrays["WB"], arrays["Wpair"]),
        e0=dict(zip(basis.elements, arrays["E0"].tolist(), strict=True)),
        committee=arrays.get("committee"),
        provenance=provenance or {},
        training=training or TrainingRecord(),
    )


def _description(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `meta_json` that go with arrays from Julia."""
    factors, offsets = arrays["nnll"].tolist(), arrays["nnll_offsets"].tolist()
    orders = sum(name.startswith("aa_spec_") for name in arrays)
    return {
        "nnll": [factors[a:b] for a, b in itertools.pairwise(offsets)],
        "aa_orders": list(range(1, orders + 1)),
        "rnl_spline": _grid(arrays["rnl_spline_grid"]),
        "pair_spline": _grid(arrays["pair_spline_grid"]),
    }


def _grid(values: np.ndarray) -> dict[str, float]:
    return {"x0": float(values[0]), "h": float(values[1]), "n": int(values[2])}


def _accept(
    julia: JuliaSession, student: Student, structures: Sequence[Atoms], out: Path, seed: int
) -> Student:
    """Write the files of a fit, if the student file gives Julia's numbers; the graded student."""
    with atomic_path(out / STUDENT_FILE) as student_part, atomic_path(out / MODEL_FILE) as model:
        student.save(student_part)
        julia.call("save", path=str(model))
        chosen = parity.sample(structures, seed)
        compared = parity.compare(
            julia, Student.load(student_part), [structures[k] for k in chosen]
        ).model_copy(update={"structures": chosen})
        say(
            f"student fit: native engine against Julia on {len(chosen)} structures: "
            f"{compared.largest_differences}"
        )
        refuse_other_numbers(compared, f"nothing was written to {out}")
        if compared.is_limited_by_rounding:
            say(
                "student fit: WARNING: the coefficients are so large that their terms cancel, and "
                f"rounding alone leaves {compared.tolerances}: give student.solver.strength, for "
                "example 1e-3, or choose blr"
            )
        graded = with_training_deviations(student, structures)
        graded.save(student_part)
    write_result(out / PARITY_FILE, compared)
    return graded


def refuse_other_numbers(compared: Parity, consequence: str) -> None:
    """Refuse a model that the native engine and Julia evaluate differently.

    Raises
    ------
    UserError
        With the differences, and `consequence`.
    """
    if not compared.holds:
        raise UserError(
            "the exported student does not give Julia's numbers: largest differences "
            f"{compared.largest_differences}, expected at most {compared.tolerances}; "
            f"{consequence}. The installed ACEpotentials may be newer than this program knows: "
            "compare its version in julia.log with docs/julia.md"
        )
