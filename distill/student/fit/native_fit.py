"""Native fit of the linear ACE student: labels in, coefficients and their posterior out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill._version import __version__
from distill.core.artifacts import hash_of
from distill.core.executors import available_cores
from distill.core.progress import format_duration, say
from distill.core.quantities import voigt
from distill.student.basis.basis import Basis, build_basis
from distill.student.engine.assembly import design_rows
from distill.student.engine.evaluate import make_potential
from distill.student.fit import training_set
from distill.student.fit.accumulate import DesignRows, accumulate, plan_blocks, threads_that_fit
from distill.student.fit.error_fit import fit_error_model
from distill.student.fit.fit_result import Fit, recorded
from distill.student.fit.left_out import deviation_scale, left_out_errors
from distill.student.fit.preparation import Prepared, prepare
from distill.student.fit.solvers import Solution, by_evidence, draw_committee, solve
from distill.student.short_range import nearest_distances, pair_curves, restraint_dimers
from distill.student.student_model import Student
from distill.student.training_record import SolverReport, TrainingRecord
from distill.student.uncertainty.uncertainty_model import FORCE_MEMBERS, with_training_deviations

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import StudentConfig
    from distill.student.fit.triangular_factor import Factor

FACTOR_FILE = "factor.npz"
# Of the fit that is made anew with a core.
_CORE_FACTOR_FILE = "factor_zbl.npz"
# Dimers of each pair that a core by `zbl: auto` is given as data.
_RESTRAINTS = 12
RIDGE_FOLDS = 5


def fit(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    folder: Path | None = None,
) -> Fit:
    """Fit a student to labelled structures.

    Where a pair of elements would attract each other below the nearest distance in the data,
    `zbl: auto` fits once more: above the ZBL core, and with dimers that have the core's energy
    alone, by a small weight, as data of those pairs.

    Parameters
    ----------
    structures
        With any of the labels REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³).
    config
        Basis, weights, prior and solver.
    seed
        Of cross-validation folds and committee draws.
    teacher_e0
        The teacher's one-body energies, eV.
    folder
        Where accumulated factors are kept (`factor.npz`, and `factor_zbl.npz` of a second fit): a
        killed fit resumes from them, and another solver on the same data and basis starts from
        them. None keeps nothing.

    Raises
    ------
    UserError
        If labels are missing, an element is not in the model, the system does not fit in memory,
        or the solver needs more rows than there are.
    """
    if config.basis != "given":
        raise ValueError("the basis is not settled: see search.search.settled")
    data = prepare(structures, config, teacher_e0)
    cutoff = max(data.spec.cutoff(a, b) for a in data.spec.elements for b in data.spec.elements)
    nearest = nearest_distances(data.structures, data.spec.elements, cutoff)
    plain = config.model_copy(update={"zbl": config.zbl is True})
    factor = None if folder is None else folder / FACTOR_FILE
    found = _fit(data, plain, nearest, seed, factor, restraints=[])
    if found.curves.problems and config.zbl == "auto":
        problems = found.curves.summary()
        say(f"student fit: {problems}: fitted once more, with the ZBL core (zbl: false: without)")
        found = _fit(
            replace(data, spec=replace(data.spec, zbl=True)),
            config.model_copy(update={"zbl": True}),
            nearest,
            seed,
            None if folder is None else folder / _CORE_FACTOR_FILE,
            restraints=restraint_dimers(found.curves, _RESTRAINTS),
        )
        remedy = f"ZBL core, because {problems}"
        found = replace(found, curves=found.curves.model_copy(update={"remedy": remedy}))
    return replace(found, student=with_training_deviations(recorded(found), found.structures))


def _fit(
    data: Prepared,
    config: StudentConfig,
    nearest: Mapping[str, float],
    seed: int,
    checkpoint: Path | None,
    *,
    restraints: list[Atoms],
) -> Fit:
    """One fit, with or without a core as the basis of `data` says, to data and restraints."""
    from threadpoolctl import threadpool_limits

    start = time.monotonic()
    e0, fitted = data.e0, data.structures
    basis = build_basis(data.spec)
    rows = [
        training_set.rows_of(atoms, baseline_of(atoms, basis, e0), config.weights, index)
        for atoms, index in zip(fitted, data.indices, strict=True)
    ]
    # The energy of a restraint is the baseline's, whose remainder is zero.
    held = [
        training_set.Rows(index, 0.0, config.restraint_weight, None, 0.0, None, 0.0)
        for index in range(len(restraints))
    ]
    kinds = training_set.by_kind(rows) if config.weighting == "evidence" else {}
    parts = [*kinds.values()] or [rows]
    assembled_rows = [*chain.from_iterable(parts), *held]
    assembled_from = [*fitted * len(parts), *restraints]
    if kinds:
        folds = [list(range(k * len(rows), (k + 1) * len(rows))) for k in range(len(kinds))]
        # Restraints keep their weight.
        folds[0].extend(range(len(assembled_rows) - len(held), len(assembled_rows)))
    else:
        folds = _folds(len(assembled_from), config, seed)
    n = basis.n_functions
    blocks = plan_blocks(folds, [r.count for r in assembled_rows], n)
    threads = threads_that_fit(blocks, n, len(folds), config.threads or available_cores())
    factors = accumulate(
        design_of(basis),
        assembled_from,
        assembled_rows,
        blocks,
        n,
        folds=len(folds),
        threads=threads,
        checkpoint=checkpoint,
        key=factor_key(config, data, folds, restraints),
    )
    assembled = time.monotonic()
    # On one BLAS thread the result is the same on any machine of a kind, however busy it is.
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    with threadpool_limits(1):
        solution = _solve(factors, basis, config)
        if kinds:
            solution, rows = _weighed(solution, [*kinds], rows)
        committee = draw_committee(solution, config.solver.committee, rng)
        left_out = left_out_errors(design_of(basis), fitted, rows, solution, rng, threads=threads)
    assembly, solving = assembled - start, time.monotonic() - assembled
    say(
        f"student fit: {_summary(solution.report)}; assembly and solve took "
        f"{format_duration(assembly)} and {format_duration(solving)}"
    )
    student = Student(
        basis=basis,
        coefficients=solution.coefficients,
        e0=e0,
        committee=committee,
        provenance={
            "backend": "native",
            "distill": __version__,
            "config": config.model_dump(
                mode="json", exclude={"threads", "backend", "assembly", "basis", "search"}
            ),
            "e0_source": data.e0_source,
            "seed": seed,
        },
        training=TrainingRecord(
            solver=solution.report,
            row_noise=solution.noise,
            deviation_scale=deviation_scale(left_out),
            labels=training_set.label_counts(fitted),
            structures=len(fitted),
            left_out=data.left_out,
            rows=sum(r.count for r in rows),
        ),
    )
    errors = fit_error_model(student, fitted, left_out, FORCE_MEMBERS, rng)
    return Fit(
        replace(student, errors=errors),
        fitted,
        pair_curves(student, nearest),
        assembly,
        solving,
        solution.covariance_root,
    )


def smoothness_prior(basis: Basis, power: float) -> np.ndarray:
    """Diagonal of ACEpotentials' algebraic smoothness prior, shape (n,); ones for power 0."""
    return np.ones(basis.n_functions) if power == 0 else basis.gamma(power)


def _solve(factors: Sequence[Factor], basis: Basis, config: StudentConfig) -> Solution:
    kinds = config.weighting == "evidence"
    power = None if config.smoothness == "evidence" else config.smoothness
    if power is None or kinds:
        return by_evidence(factors, lambda p: smoothness_prior(basis, p), power=power, kinds=kinds)
    return solve(factors, smoothness_prior(basis, power), config.solver)


def _weighed(
    solution: Solution, kinds: Sequence[str], rows: Sequence[training_set.Rows]
) -> tuple[Solution, list[training_set.Rows]]:
    """With the factors on the weights of labels in the report and in the rows."""
    factors = dict(zip(kinds, solution.weights, strict=True))
    report = solution.report.model_copy(update={"weight_factors": factors})
    return replace(solution, report=report), [row.reweighted(factors) for row in rows]


def design_of(basis: Basis) -> DesignRows:
    """The rows that `basis` gives of a structure, as `accumulate` asks for them."""

    def design(
        atoms: Atoms, energy: bool, forces: bool, virial: bool
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        return design_rows(basis, atoms, energy=energy, forces=forces, virial=virial)

    return design


def baseline_of(
    atoms: Atoms, basis: Basis, e0: Mapping[str, float]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and virial that the linear model does not fit: one-body and ZBL core."""
    if basis.spec is None or not basis.spec.zbl:
        return training_set.one_body_baseline(atoms, e0)
    core = make_potential(basis, np.zeros(basis.n_functions), e0).evaluate(atoms)
    return float(core.energies.sum()), core.forces, voigt(core.virial)


def _folds(count: int, config: StudentConfig, seed: int) -> list[list[int]]:
    """Structures of each fold; one fold unless the solver cross-validates."""
    solver = config.solver
    if solver.kind != "ridge" or solver.strength is not None:
        return [list(range(count))]
    folds = min(RIDGE_FOLDS, count)
    order = np.random.default_rng(np.random.SeedSequence([seed, 0])).permutation(count)
    return [sorted(int(index) for index in order[fold::folds]) for fold in range(folds)]


def factor_key(
    config: StudentConfig,
    data: Prepared,
    folds: Sequence[Sequence[int]],
    restraints: Sequence[Atoms],
) -> str:
    """Hash of all that the factors depend on: basis, weights, data and folds."""
    digest = hashlib.sha256()
    settings = config.model_dump(
        mode="json",
        exclude={"solver", "smoothness", "threads", "backend", "assembly", "e0", "basis", "search"},
    )
    elements = list(data.spec.elements)
    parts = [__version__, settings, elements, data.e0, [list(fold) for fold in folds]]
    digest.update(hash_of(parts).encode())
    for atoms in (*data.structures, *restraints):
        kind = training_set.config_type(atoms)
        digest.update(f"{kind} {atoms.pbc.tolist()}".encode())
        digest.update(repr(training_set.reference_energy(atoms)).encode())
        for array in (
            atoms.numbers,
            atoms.positions,
            atoms.cell[:],
            training_set.reference_forces(atoms),
            training_set.reference_stress(atoms),
        ):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _summary(report: SolverReport) -> str:
    """The solver's report in one line."""
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in report.model_dump(exclude={"solver"}, exclude_none=True).items()
    ]
    return f"{report.solver}: {', '.join(shown)}"
