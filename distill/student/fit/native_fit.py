"""Native fit of the linear ACE student: labels in, coefficients and their posterior out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill._version import __version__
from distill.core.artifacts import hash_of
from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.progress import format_duration, listed, say
from distill.core.quantities import voigt
from distill.student.engine.assembly import design_rows
from distill.student.engine.evaluate import make_potential
from distill.student.fit import training_set
from distill.student.fit.accumulate import DesignRows, accumulate, plan_blocks, threads_that_fit
from distill.student.fit.leave_out_scale import deviation_scale
from distill.student.fit.solvers import Solution, draw_committee, most_evident_smoothness, solve

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import Basis
    from distill.student.config import StudentConfig
    from distill.student.fit.triangular_factor import Factor
    from distill.student.student_model import Student

RIDGE_FOLDS = 5


@dataclass(frozen=True)
class Prepared:
    """What a fit needs to know of its training set.

    Attributes
    ----------
    elements
        Elements of the model, in order.
    fitted
        Indices of the structures to fit: without duplicates and isolated atoms.
    e0
        One-body energies, eV.
    e0_source
        Where they come from.
    """

    elements: list[str]
    fitted: list[int]
    e0: dict[str, float]
    e0_source: str


@dataclass(frozen=True)
class Fit:
    """A fitted student and what was done to get it.

    Attributes
    ----------
    student
        The model.
    solution
        Coefficients, posterior and the solver's report.
    structures
        The structures it was fitted to: the training set without duplicates and isolated atoms.
    seconds
        Wall time of `assembly` and `solve`.
    """

    student: Student
    solution: Solution
    structures: list[Atoms]
    seconds: dict[str, float]


def fit(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    checkpoint: Path | None = None,
) -> Fit:
    """Fit a student to labelled structures.

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
    checkpoint
        File for the accumulated factor: a killed fit resumes from it, and another solver on the
        same data and basis starts from it. None keeps nothing.

    Raises
    ------
    UserError
        If labels are missing, an element is not in the model, the system does not fit in memory,
        or the solver needs more rows than there are.
    """
    from threadpoolctl import threadpool_limits

    from distill.student.basis.basis import BasisSpec, build_basis
    from distill.student.student_model import Student

    start = time.monotonic()
    data = prepare(structures, config, teacher_e0)
    e0, fitted = data.e0, [structures[index] for index in data.fitted]
    basis = build_basis(BasisSpec.from_config(config, data.elements))
    rows = [
        training_set.rows_of(atoms, _baseline(atoms, basis, e0), config.weights, index)
        for atoms, index in zip(fitted, data.fitted, strict=True)
    ]
    n, n_rows = basis.n_functions, sum(r.count for r in rows)
    folds = _folds(len(fitted), config, seed)
    blocks = plan_blocks(folds, [r.count for r in rows], n)
    threads = threads_that_fit(blocks, n, len(folds), config.threads or available_cores())
    factors = accumulate(
        design_of(basis),
        fitted,
        rows,
        blocks,
        n,
        folds=len(folds),
        threads=threads,
        checkpoint=checkpoint,
        key=_key(config, data.elements, e0, fitted, folds),
    )
    assembled = time.monotonic()
    # On one BLAS thread the result is the same on any machine of a kind, however busy it is.
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    with threadpool_limits(1):
        solution = _solve(factors, basis, config)
        committee = draw_committee(solution, config.solver.committee, rng)
        scale = deviation_scale(design_of(basis), fitted, rows, solution, rng)
    seconds = {"assembly": assembled - start, "solve": time.monotonic() - assembled}
    took = " and ".join(format_duration(value) for value in seconds.values())
    say(f"student fit: {_summary(solution.report)}; assembly and solve took {took}")
    student = Student(
        basis=basis,
        coefficients=solution.coefficients,
        e0=e0,
        committee=committee,
        provenance={
            "backend": "native",
            "distill": __version__,
            "config": config.model_dump(mode="json", exclude={"threads", "backend"}),
            "e0_source": data.e0_source,
            "seed": seed,
        },
        training={
            "solver": solution.report,
            "row_noise": solution.noise,
            "deviation_scale": scale,
            "labels": training_set.label_counts(fitted),
            "structures": len(fitted),
            "left_out": len(structures) - len(fitted),
            "rows": n_rows,
        },
    )
    return Fit(student, solution, fitted, seconds)


def prepare(
    structures: Sequence[Atoms],
    config: StudentConfig,
    teacher_e0: Mapping[str, float] | None = None,
) -> Prepared:
    """Check the labels, leave out duplicates, settle the one-body energies, and say all that.

    Raises
    ------
    UserError
        If no structure carries a label, an element is not in the model, or a one-body energy is
        missing.
    """
    from distill.student.basis.basis import BasisSpec

    training_set.label_counts(structures)
    elements = elements_of(structures, config)
    spec = BasisSpec.from_config(config, elements)
    cutoff = max(spec.cutoff(a, b) for a in elements for b in elements)
    indices = _without_duplicates(structures)
    e0, source = training_set.one_body_energies(
        [structures[index] for index in indices],
        elements,
        config.e0,
        cutoff=cutoff,
        teacher=teacher_e0,
    )
    shown = ", ".join(f"{symbol} {value:.6g} eV" for symbol, value in e0.items())
    say(f"student fit: one-body energies {source}: {shown}")
    _report_outliers(structures, e0)
    fitted = [k for k in indices if not training_set.is_isolated_atom(structures[k], cutoff)]
    if not fitted:
        raise UserError(
            "the training set holds isolated atoms only: expected structures whose atoms have "
            f"neighbours within the cutoff of {cutoff:g} Å"
        )
    return Prepared(elements, fitted, e0, source)


def smoothness_prior(basis: Basis, power: float) -> np.ndarray:
    """Diagonal of ACEpotentials' algebraic smoothness prior, shape (n,); ones for power 0."""
    return np.ones(basis.n_functions) if power == 0 else basis.gamma(power)


def _solve(factors: Sequence[Factor], basis: Basis, config: StudentConfig) -> Solution:
    if config.smoothness == "evidence":
        return most_evident_smoothness(factors, lambda power: smoothness_prior(basis, power))
    return solve(factors, smoothness_prior(basis, config.smoothness), config.solver)


def design_of(basis: Basis) -> DesignRows:
    """The rows that `basis` gives of a structure, as `accumulate` asks for them."""

    def design(
        atoms: Atoms, energy: bool, forces: bool, virial: bool
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        return design_rows(basis, atoms, energy=energy, forces=forces, virial=virial)

    return design


def elements_of(structures: Sequence[Atoms], config: StudentConfig) -> list[str]:
    """Elements of the model: those of the config, else those of the structures, sorted.

    Raises
    ------
    UserError
        If a structure has an element that the config does not list.
    """
    found = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    if config.elements is None:
        return found
    for index, atoms in enumerate(structures):
        missing = sorted(set(atoms.get_chemical_symbols()) - set(config.elements))
        if missing:
            raise UserError(
                f"training structure {index} has {', '.join(missing)}, but student.elements is "
                f"{', '.join(config.elements)}: add the element or leave the structure out"
            )
    return list(config.elements)


def _without_duplicates(structures: Sequence[Atoms]) -> list[int]:
    kept, conflicts = training_set.without_duplicates(structures)
    dropped = sorted(set(range(len(structures))) - set(kept))
    if dropped:
        say(
            f"student fit: {len(dropped)} structures repeat an earlier one within "
            f"{training_set.DUPLICATE_TOLERANCE:g} Å and are left out: "
            f"{listed(dropped)}"
        )
    if conflicts:
        say(
            f"student fit: {len(conflicts)} pairs of structures are the same but their labels "
            f"differ; both are used: {listed(conflicts)}"
        )
    return kept


def _report_outliers(structures: Sequence[Atoms], e0: Mapping[str, float]) -> None:
    found = training_set.outliers(structures, e0)
    if found:
        shown = [
            f"structure {o['index']}: {o['quantity']} {o['value']:.4g} "
            f"({o['deviations']:.0f} robust deviations)"
            for o in found
        ]
        say(
            "student fit: labels far from the rest are used as they are; look at them: "
            f"{listed(shown)}"
        )


def _baseline(
    atoms: Atoms, basis: Basis, e0: Mapping[str, float]
) -> tuple[float, np.ndarray, np.ndarray]:
    """What the linear model does not fit: one-body energies and the ZBL core."""
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


def _key(
    config: StudentConfig,
    elements: Sequence[str],
    e0: Mapping[str, float],
    structures: Sequence[Atoms],
    folds: Sequence[Sequence[int]],
) -> str:
    """Hash of all that the factors depend on: basis, weights, data and folds."""
    digest = hashlib.sha256()
    settings = config.model_dump(
        mode="json", exclude={"solver", "smoothness", "threads", "backend", "e0"}
    )
    parts = [__version__, settings, list(elements), dict(e0), [list(fold) for fold in folds]]
    digest.update(hash_of(parts).encode())
    for atoms in structures:
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


def _summary(report: Mapping[str, Any]) -> str:
    """The solver's report in one line."""
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in report.items()
        if name != "solver" and value is not None
    ]
    return f"{report['solver']}: {', '.join(shown)}"
