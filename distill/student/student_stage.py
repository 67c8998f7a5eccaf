"""The student stage: fit, errors, uncertainties, artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import package_versions, sha256, write_json
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.results import write_result
from distill.student.training_record import LabelErrors

if TYPE_CHECKING:
    from ase import Atoms

    from distill.metrics.errors import ErrorTable
    from distill.student.config import StudentConfig
    from distill.student.student_model import Student
    from distill.student.uncertainty.uncertainty_model import UncertaintyQuality

STUDENT_FILE = "student.npz"
ERRORS_FILE = "errors.json"
UNCERTAINTY_FILE = "uncertainty.json"
PREDICTED_FILE = "test_student.xyz"


def run(
    config: StudentConfig,
    *,
    train: Path,
    test: Path,
    out: Path,
    seed: int,
    teacher_e0: dict[str, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Fit the student, measure it on held-out structures, and write what others use.

    Parameters
    ----------
    config
        Basis, weights, solver and backend.
    train, test
        Structures with REF_ labels (energy in eV, forces in eV/Å, stress in eV/Å³), any subset.
    out
        Folder that gets `student.npz`, `errors.json` (train and test), `uncertainty.json`,
        `pair_curves.json`, `test_student.xyz`, and `factor.npz`, from which a killed fit resumes
        and another solver starts without assembling again.
    seed
        The run's seed.
    teacher_e0
        The teacher's one-body energies, eV.
    provenance
        Further facts to travel with the student, such as the teacher's SHA-256; JSON values.

    Raises
    ------
    UserError
        If labels or elements are missing, the chosen backend cannot run, or the fit is too large
        for the memory.
    """
    from distill.core.executors import available_cores
    from distill.data.isolated_atoms import without_isolated
    from distill.data.label_units import say_contradictions
    from distill.data.structures import read_structures, write_structures
    from distill.metrics.errors import error_table
    from distill.student.fit.preparation import elements_of
    from distill.student.fit_backends import fit_student
    from distill.student.short_range import CURVES_FILE
    from distill.student.uncertainty.uncertainty_model import calibration

    structures = read_structures(train, require=())
    elements = elements_of(structures, config)
    # Nothing is held out where the config says so; a file that the user gives is refused before.
    held_out = read_structures(test, require=(), elements=elements) if test.stat().st_size else []
    found = fit_student(structures, config, seed=seed, teacher_e0=teacher_e0, folder=out)
    student = found.student
    write_result(out / CURVES_FILE, found.curves)
    threads = config.threads or available_cores()
    tables: dict[str, ErrorTable] = {}
    held_out, _ = without_isolated(held_out, test)
    # An error on a free atom is one of E0 alone, and would only make the others look smaller.
    fitted, _ = without_isolated(structures, train)
    for name, reference in (("train", fitted), ("test", held_out)):
        predicted = predicted_structures(student, reference, threads)
        if name == "train":
            say_contradictions(reference, predicted)
        if reference:
            tables[name] = error_table(reference, predicted)
            say(f"student on {name}: {_rmse_line(_rmse(tables[name]))}")
    write_structures(out / PREDICTED_FILE, predicted)
    write_json(out / ERRORS_FILE, tables)
    student = replace(
        student,
        training=student.training.model_copy(
            update={f"{name}_rmse": _rmse(table) for name, table in tables.items()}
        ),
        provenance={
            **student.provenance,
            "train_sha256": sha256(train),
            "test_sha256": sha256(test),
            **(provenance or {}),
            "versions": package_versions(),
        },
    )
    student.save(out / STUDENT_FILE)
    factors = (student.training.solver and student.training.solver.weight_factors) or {}
    weights = {kind: weight.times(factors) for kind, weight in config.weights.items()}
    quality = calibration(student, held_out, weights)
    if held_out:
        say(f"student uncertainties: {_calibration_line(quality)}")
    write_result(out / UNCERTAINTY_FILE, quality)


def predicted_structures(
    student: Student, structures: Sequence[Atoms], threads: int
) -> list[Atoms]:
    """Copies of the structures with the student's labels in place of those they carry."""
    from distill.core.quantities import stress_from_virial, voigt
    from distill.data.structures import reference_stress, set_labels

    results = student.predict_many(structures, threads=threads)
    predicted = []
    for atoms, (energy, forces, virial) in zip(structures, results, strict=True):
        stress = None
        if reference_stress(atoms) is not None:
            stress = stress_from_virial(voigt(virial), atoms.get_volume())
        predicted.append(set_labels(atoms.copy(), energy=energy, forces=forces, stress=stress))
    return predicted


def _rmse(table: ErrorTable) -> LabelErrors:
    labels = LabelErrors.model_fields
    return LabelErrors(
        **{name: found.rmse for name in labels if (found := getattr(table, name)) is not None}
    )


def _rmse_line(errors: LabelErrors) -> str:
    units = {"energy_per_atom": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³"}
    found = errors.model_dump(exclude_none=True)
    parts = [f"{MEV * value:.4g} {units[name]}" for name, value in found.items()]
    return f"RMSE {', '.join(parts)}" if parts else "no labels to compare with"


def _calibration_line(quality: UncertaintyQuality) -> str:
    if not quality.members or quality.extrapolation is None:
        return "none, because the solver has no posterior"
    parts = []
    for name, found in (("energy per atom", quality.energy_per_atom), ("forces", quality.forces)):
        if found:
            parts.append(
                f"{name} inside the 68 % interval {found.coverage['68']:.0%}, "
                f"95 % {found.coverage['95']:.0%}"
            )
    ranked = quality.forces and quality.forces.rank_correlation_atoms
    if ranked is not None:
        parts.append(f"rank correlation with the true force errors {ranked:.2f}")
    beyond = quality.extrapolation
    parts.append(f"{beyond.beyond_training} of {beyond.structures} held-out structures extrapolate")
    return "; ".join(parts)
