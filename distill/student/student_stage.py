"""The student stage: fit, errors, uncertainties, artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import package_versions, sha256, write_json
from distill.core.errors import UserError
from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms

    from distill.metrics.errors import ErrorTable
    from distill.student.config import StudentConfig
    from distill.student.student_model import Student

STUDENT_FILE = "student.npz"
ERRORS_FILE = "errors.json"
UNCERTAINTY_FILE = "uncertainty.json"
PREDICTED_FILE = "test_student.xyz"
FACTOR_FILE = "factor.npz"


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
        `test_student.xyz`, and `factor.npz`, from which a killed fit resumes and another solver
        starts without assembling again.
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
    from distill.data.structures import read_structures, write_structures
    from distill.metrics.errors import error_table
    from distill.student.fit.native_fit import elements_of
    from distill.student.uncertainty.uncertainty_model import (
        calibration,
        with_training_deviations,
    )

    structures = read_structures(train, require=())
    elements = elements_of(structures, config)
    held_out = read_structures(test, require=(), elements=elements)
    if choose_backend(config) == "native":
        student, fitted = _native(structures, config, out, seed, teacher_e0)
    else:
        student, fitted = _acepotentials(structures, config, out, seed, teacher_e0)
    student = with_training_deviations(student, fitted)
    threads = config.threads or available_cores()
    tables: dict[str, ErrorTable] = {}
    for name, reference in (("train", structures), ("test", held_out)):
        predicted = predicted_structures(student, reference, threads)
        tables[name] = error_table(reference, predicted, seed=seed)
        say(f"student on {name}: {_rmse_line(tables[name])}")
    write_structures(out / PREDICTED_FILE, predicted)
    write_json(out / ERRORS_FILE, tables)
    student = replace(
        student,
        training={
            **student.training,
            "train_rmse": _rmse(tables["train"]),
            "test_rmse": _rmse(tables["test"]),
        },
        provenance={
            **student.provenance,
            "train_sha256": sha256(train),
            "test_sha256": sha256(test),
            **(provenance or {}),
            "versions": package_versions(),
        },
    )
    student.save(out / STUDENT_FILE)
    quality = calibration(student, held_out, config.weights)
    say(f"student uncertainties: {_calibration_line(quality)}")
    write_json(out / UNCERTAINTY_FILE, quality or {"members": 0})


def choose_backend(config: StudentConfig) -> str:
    """`native` or `acepotentials`, said once where the choice was left open.

    Raises
    ------
    UserError
        If `acepotentials` is asked for and cannot run.
    """
    if config.backend == "native":
        say("student fit: backend native")
        return "native"
    from distill.student.julia.acepotentials import obstacle, require

    if config.backend == "acepotentials":
        require()
    missing = None if config.backend == "acepotentials" else obstacle(config)
    if missing is None:
        say("student fit: backend acepotentials (ACEpotentials.jl)")
        return "acepotentials"
    if config.julia_options:
        raise UserError(
            f"student: {', '.join(config.julia_options)} is an option of the backend "
            f"acepotentials alone, which cannot run: {missing}"
        )
    say(f"student fit: backend native, the same model as ACEpotentials.jl ({missing})")
    return "native"


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


def _native(
    structures: Sequence[Atoms],
    config: StudentConfig,
    out: Path,
    seed: int,
    teacher_e0: Mapping[str, float] | None,
) -> tuple[Student, list[Atoms]]:
    from distill.student.fit.native_fit import fit

    result = fit(structures, config, seed=seed, teacher_e0=teacher_e0, checkpoint=out / FACTOR_FILE)
    return result.student, result.structures


def _acepotentials(
    structures: Sequence[Atoms],
    config: StudentConfig,
    out: Path,
    seed: int,
    teacher_e0: Mapping[str, float] | None,
) -> tuple[Student, list[Atoms]]:
    from distill.student.fit.native_fit import prepare
    from distill.student.julia import acepotentials
    from distill.student.student_model import Student

    data = prepare(structures, config, teacher_e0)
    fitted = [structures[index] for index in data.fitted]
    path = acepotentials.fit(fitted, config, e0=data.e0, out=out, seed=seed)
    student = Student.load(path)
    provenance = {**student.provenance, "e0_source": data.e0_source}
    return replace(student, provenance=provenance), fitted


def _rmse(table: ErrorTable) -> dict[str, float]:
    names = ("energy_per_atom", "forces", "stress")
    return {name: found.rmse for name in names if (found := getattr(table, name))}


def _rmse_line(table: ErrorTable) -> str:
    units = {"energy_per_atom": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³"}
    parts = [f"{1000 * value:.4g} {units[name]}" for name, value in _rmse(table).items()]
    return f"RMSE {', '.join(parts)}" if parts else "no labels to compare with"


def _calibration_line(quality: Mapping[str, Any] | None) -> str:
    if quality is None:
        return "none, because the solver has no posterior"
    parts = []
    for name in ("energy_per_atom", "forces"):
        found = quality[name]
        if found:
            inside = found["coverage"]
            parts.append(
                f"{name.replace('_', ' ')} inside the 68 % interval {inside['68']:.0%}, "
                f"95 % {inside['95']:.0%}"
            )
    beyond = quality["extrapolation"]
    parts.append(
        f"{beyond['beyond_training']} of {beyond['structures']} held-out structures extrapolate"
    )
    return "; ".join(parts)
