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
from distill.core.artifacts import atomic_path, write_json
from distill.core.errors import UserError
from distill.core.progress import format_duration, progress, say
from distill.data.structures import config_type
from distill.student.basis_arrays import basis_from_arrays
from distill.student.fit.fit_result import Fit
from distill.student.fit.preparation import prepare
from distill.student.fit.training_set import label_counts
from distill.student.julia import julia_arguments
from distill.student.julia.julia_calculator import JuliaCalculator
from distill.student.julia.julia_session import JuliaFailure, JuliaSession
from distill.student.julia.julia_setup import available, require, setup, status
from distill.student.parameters import joined_coefficients
from distill.student.short_range import nearest_distances, pair_curves
from distill.student.student_model import Student
from distill.student.training_record import SolverReport, TrainingRecord
from distill.student.uncertainty.uncertainty_model import with_training_deviations

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import BasisSpec
    from distill.student.config import StudentConfig

__all__ = [
    "JuliaCalculator",
    "JuliaFailure",
    "available",
    "fit",
    "obstacle",
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
# Largest difference between Julia and the native engine: eV/atom, eV/Å, eV/atom.
TOLERANCES = {"energy": 1e-8, "forces": 1e-8, "virial": 1e-8}
PARITY_STRUCTURES = 8
_BATCHES_PER_THREAD = 2
# Copies of the matrix of rows that each factorisation holds, the assembled one included.
_COPIES = {"cholesky": 1, "svd": 2, "ard": 1, "qr": 3, "rrqr": 3, "lsqr": 1, "tsvd": 5}


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
    with JuliaSession(log=out / LOG_FILE, threads=config.threads) as julia:
        versions = _start(julia)
        described = julia.call("build_model", **model)
        geometry = julia_arguments.geometry_arrays(data.structures, described["cutoff"])
        arrays = {**geometry, **labels}
        _check_size(arrays, described, config.pair, solver)
        report = _regress(julia, config, solver, arrays, versions["threads"])
        student = _student(
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


def obstacle(config: StudentConfig) -> str | None:
    """Why `fit` cannot run at once, or cannot do what the config asks for; None if it can."""
    reason = available()
    if reason is not None:
        return reason
    try:
        julia_arguments.check_options(config)
    except UserError as error:
        return str(error)
    return None


def _start(julia: JuliaSession) -> dict[str, Any]:
    start = time.monotonic()
    say(f"student fit: starting Julia with {julia.threads} threads (trace in {julia.log})")
    versions = julia.call("versions")
    say(
        f"student fit: ACEpotentials {versions['ACEpotentials']} on Julia {versions['julia']}, "
        f"ready in {format_duration(time.monotonic() - start)}"
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
    rows = int(((data["weights"] > 0) * np.stack([atoms**0, 3 * atoms, 6 * atoms**0], 1)).sum())
    columns = int(described["functions"])
    if not pair:
        columns -= int(described["pair"]) * len(described["elements"])
    method = solver.get("factorization", solver["kind"])
    needed = 8.0 * columns * (rows * _COPIES[method] + 3 * columns)
    free = psutil.virtual_memory().available
    say(
        f"student fit: {columns} functions, {rows} rows, up to {needed / 2**30:.2g} GB "
        f"({free / 2**30:.3g} GB free)"
    )
    if needed > free:
        raise UserError(
            f"ACEfit holds all {rows} rows of {columns} functions in memory, "
            f"{needed / 2**30:.3g} GB with {method}; {free / 2**30:.3g} GB are free. Use fewer "
            "structures, lower student.totaldegree, solver.committee 0 (then blr uses cholesky, "
            "with half the memory of svd), or backend native, which keeps only a triangle of it"
        )
    if method == "tsvd" and rows <= columns:
        raise UserError(
            f"student.solver: ACEfit's tsvd needs more rows than functions, found {rows} rows of "
            f"{columns} functions; choose blr, add structures, or lower student.totaldegree"
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
    start = time.monotonic()
    count = shape["structures"]
    size = _BATCHES_PER_THREAD * threads
    for first in progress(range(1, count + 1, size), "assembly", unit=f"batches of {size}"):
        julia.call("assemble", first=first, last=min(first + size - 1, count))
    assembled = time.monotonic()
    say(f"student fit: solving with {config.solver.kind}")
    report = {"solver": config.solver.kind, **julia.call("solve", **solver)}
    report["rows"], report["functions"] = shape["rows"], shape["columns"]
    report["assembly_s"] = round(assembled - start, 3)
    report["solve_s"] = round(time.monotonic() - assembled, 3)
    say(
        f"student fit: {shape['columns']} coefficients from {shape['rows']} rows; assembly "
        f"{format_duration(report['assembly_s'])}, solve {format_duration(report['solve_s'])}"
    )
    return report


def _student(
    arrays: dict[str, Any],
    spec: BasisSpec,
    provenance: Mapping[str, Any],
    training: TrainingRecord,
) -> Student:
    """The student that the arrays of `DistillACE.export_arrays` describe."""
    n_many = arrays["WB"].size
    if not spec.pair:
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
        provenance=provenance,
        training=training,
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
        chosen = parity_sample(structures, seed)
        sample = [structures[k] for k in chosen]
        differences = _differences(julia, Student.load(student_part), sample)
        shown = (
            f"energy {differences['energy']:.1e} eV/atom, forces {differences['forces']:.1e} eV/Å, "
            f"virial {differences['virial']:.1e} eV/atom"
        )
        say(f"student fit: native engine against Julia on {len(chosen)} structures: {shown}")
        if not all(differences[name] <= bound for name, bound in TOLERANCES.items()):
            raise UserError(
                f"the exported student does not give Julia's numbers: largest differences {shown}, "
                "expected 1e-8 at most; nothing was written. The installed ACEpotentials may be "
                "newer than this program knows: compare its version in julia.log with docs/julia.md"
            )
        graded = with_training_deviations(student, structures)
        graded.save(student_part)
    write_json(
        out / PARITY_FILE,
        {
            "structures": chosen,
            "largest_differences": differences,
            "tolerances": TOLERANCES,
            "units": {"energy": "eV/atom", "forces": "eV/Å", "virial": "eV/atom"},
        },
    )
    return graded


def parity_sample(structures: Sequence[Atoms], seed: int) -> list[int]:
    """Indices of the structures on which the export is checked, each config_type in turn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    kinds = np.array([config_type(atoms) for atoms in structures])
    queues = [list(rng.permutation(np.flatnonzero(kinds == kind))) for kind in np.unique(kinds)]
    chosen: list[int] = []
    while len(chosen) < min(PARITY_STRUCTURES, len(structures)):
        for queue in queues:
            if queue and len(chosen) < PARITY_STRUCTURES:
                chosen.append(int(queue.pop()))
    return sorted(chosen)


def _differences(
    julia: JuliaSession, student: Student, structures: Sequence[Atoms]
) -> dict[str, float]:
    """Largest differences of energy and virial (eV/atom) and of forces (eV/Å)."""
    found = julia.call("evaluate", **julia_arguments.geometry_arrays(structures, student.cutoff))
    largest = dict.fromkeys(TOLERANCES, 0.0)
    first = 0
    for k, atoms in enumerate(structures):
        energy, forces, virial = student.predict(atoms)
        n = len(atoms)
        differences = {
            "energy": abs(energy - found["energies"][k]) / n,
            "forces": np.abs(forces - found["forces"][first : first + n]).max(),
            "virial": np.abs(virial - found["virials"][k]).max() / n,
        }
        # A value that is not finite counts as the largest difference there is.
        for name, value in differences.items():
            largest[name] = max(largest[name], float(value) if np.isfinite(value) else np.inf)
        first += n
    return largest
