"""The reference fit: ACEpotentials.jl through juliacall, exported to the one student file.

Julia runs in a process of its own (`julia_session`), and every call into ACEpotentials is in the
Julia package `julia/`. What comes back is the model's own arrays, from which the student file is
made; it is accepted only if the native engine then reproduces Julia's energies, forces and
virials.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill._version import __version__
from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.progress import format_duration, say
from distill.core.results import write_result
from distill.student.fit.fit_result import Fit
from distill.student.fit.preparation import prepare
from distill.student.fit.training_set import label_counts
from distill.student.julia import julia_arguments, parity
from distill.student.julia.exported import student_from_arrays
from distill.student.julia.julia_calculator import JuliaCalculator
from distill.student.julia.julia_session import JuliaFailure, JuliaSession
from distill.student.julia.julia_setup import (
    available,
    check_versions,
    require,
    setup,
    status,
)
from distill.student.julia.regression import regress
from distill.student.short_range import nearest_distances, pair_curves
from distill.student.student_model import Student
from distill.student.training_record import SolverReport, TrainingRecord
from distill.student.uncertainty.uncertainty_model import with_training_deviations

if TYPE_CHECKING:
    from ase import Atoms

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
        Gets `student.npz`, `ace_model.json` (ACEpotentials' own format), `parity.json`,
        `julia.log` and, of a native assembly, `factor.npz`, from which a killed fit resumes; none
        of the first three appears unless all went well. None keeps nothing, but the log of a fit
        that failed.

    Raises
    ------
    UserError
        If Julia is missing, labels or options do not fit, the regression does not fit in memory,
        Julia raises an error (its trace is in `julia.log`), or Julia and the native engine
        disagree about rows of the regression or the exported model.
    """
    julia_arguments.check_options(config)
    data = prepare(structures, config, teacher_e0)
    julia_arguments.refuse_absent_elements(data.structures, data.spec.elements)
    model = julia_arguments.model_arguments(data.spec, data.e0)
    labels = julia_arguments.label_arrays(data.structures, config.weights)
    require()
    out = folder or Path(tempfile.mkdtemp(prefix="distill-julia-"))
    if config.solver.kind != "blr" and config.solver.committee:
        say(
            f"student fit: {config.solver.kind} of ACEfit has no posterior: the student gets no "
            "committee, and no uncertainties from one"
        )
    with JuliaSession(log=out / LOG_FILE, threads=config.threads) as julia:
        versions = start(julia)
        julia.call("build_model", **model)
        report = regress(
            julia, config, data, labels, seed=seed, threads=versions["threads"], folder=out
        )
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
        graded = _accept(julia, student, data.structures, out, seed, report.get("row_difference"))
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


def _accept(
    julia: JuliaSession,
    student: Student,
    structures: Sequence[Atoms],
    out: Path,
    seed: int,
    row_difference: float | None,
) -> Student:
    """Write the files of a fit, if the student file gives Julia's numbers; the graded student."""
    with atomic_path(out / STUDENT_FILE) as student_part, atomic_path(out / MODEL_FILE) as model:
        student.save(student_part)
        julia.call("save", path=str(model))
        chosen = parity.sample(structures, seed)
        compared = parity.compare(
            julia, Student.load(student_part), [structures[k] for k in chosen]
        ).model_copy(update={"structures": chosen, "rows": row_difference})
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
