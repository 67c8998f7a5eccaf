"""The student stage: its files, its choice of backend, resuming, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import rattled_copper

from distill.config import SolverConfig, StudentConfig
from distill.core.artifacts import read_json, sha256
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.data.structures import read_structures, write_structures
from distill.student import student_stage as stage
from distill.student.fit_backends import choose_backend
from distill.student.julia import acepotentials
from distill.student.student_model import Student
from distill.student.uncertainty.grading import add_uncertainties
from distill.student.uncertainty.uncertainty_model import UncertaintyQuality

CONFIG = StudentConfig(order=2, totaldegree=5.0, rcut=4.5, backend="native", threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    paths = {"train": folder / "train.xyz", "test": folder / "test.xyz"}
    write_structures(paths["train"], rattled_copper(14))
    write_structures(paths["test"], rattled_copper(5, seed=9))
    return paths


def _run(files: dict[str, Path], out: Path, **changes) -> None:
    teacher_e0 = changes.pop("teacher_e0", None)
    stage.run(CONFIG.model_copy(update=changes), **files, out=out, seed=1, teacher_e0=teacher_e0)


def test_stage_writes_what_it_promises(files, tmp_path: Path, capsys) -> None:
    _run(files, tmp_path, teacher_e0={"Cu": 0.25})
    printed = capsys.readouterr().out
    assert printed.count("backend") == 1
    assert "contradict" not in printed
    assert "one-body energies from the teacher (Cu): Cu 0.25 eV" in printed
    student = Student.load(tmp_path / "student.npz")
    assert student.e0 == {"Cu": 0.25}
    assert student.committee.shape == (32, student.basis.n_functions)
    assert student.provenance["backend"] == "native"
    assert student.provenance["e0_source"] == "from the teacher (Cu)"
    errors = read_json(tmp_path / "errors.json")
    predicted = read_structures(tmp_path / "test_student.xyz")
    reference = read_structures(files["test"])
    residuals = [p.arrays["REF_forces"] - r.arrays["REF_forces"] for p, r in zip(
        predicted, reference, strict=True)]  # fmt: skip
    rmse = float(np.sqrt(np.mean(np.square(residuals))))
    assert errors["test"]["forces"]["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert errors["train"]["structures"] == 14
    assert errors["train"]["stress"] is not None
    recorded = student.training.train_rmse.forces
    assert errors["train"]["forces"]["rmse"] == pytest.approx(recorded)
    uncertainty = read_result(tmp_path / "uncertainty.json", UncertaintyQuality)
    assert set(uncertainty.forces.coverage) == {"68", "95"}
    assert uncertainty.extrapolation.structures == 5


def test_forces_of_the_other_sign_are_said(files, tmp_path: Path, capsys) -> None:
    structures = read_structures(files["train"])
    for atoms in structures:
        atoms.arrays["REF_forces"] *= -1
    write_structures(tmp_path / "train.xyz", structures)
    _run({**files, "train": tmp_path / "train.xyz"}, tmp_path / "out")
    assert "energies, forces and stresses contradict each other" in capsys.readouterr().out


def test_stage_again_reuses_the_factor_and_gives_the_same_file(
    files, tmp_path: Path, capsys
) -> None:
    _run(files, tmp_path)
    first = Student.load(tmp_path / "student.npz")
    capsys.readouterr()
    _run(files, tmp_path, threads=2)
    assert "already assembled" in capsys.readouterr().out
    again = Student.load(tmp_path / "student.npz")
    assert np.array_equal(first.coefficients, again.coefficients)
    assert np.array_equal(first.committee, again.committee)


def test_solver_without_posterior_has_errors_but_no_uncertainties(
    files, tmp_path: Path, capsys
) -> None:
    _run(files, tmp_path, solver=SolverConfig(kind="rrqr"))
    assert "no posterior" in capsys.readouterr().out
    assert Student.load(tmp_path / "student.npz").committee is None
    found = read_result(tmp_path / "uncertainty.json", UncertaintyQuality)
    assert found == UncertaintyQuality(members=0)


def test_acepotentials_without_julia_is_refused(monkeypatch) -> None:
    from distill.student.julia import julia_setup

    monkeypatch.setattr(julia_setup, "available", lambda: "Install juliacall.")
    with pytest.raises(UserError, match="Install juliacall"):
        choose_backend(CONFIG.model_copy(update={"backend": "acepotentials"}))


def test_the_stage_takes_the_fit_of_either_backend(files, tmp_path: Path, monkeypatch) -> None:
    """The Julia fit gets what the native one gets, and its student is measured."""
    seen = {}

    def fit(structures, config, *, seed, teacher_e0, folder):
        from distill.student.fit.native_fit import fit as native

        seen.update(count=len(structures), e0=dict(teacher_e0), seed=seed, folder=folder)
        return native(structures, config, seed=seed, teacher_e0=teacher_e0)

    monkeypatch.setattr(acepotentials, "require", lambda: None)
    monkeypatch.setattr(acepotentials, "fit", fit)
    _run(files, tmp_path, backend="acepotentials", teacher_e0={"Cu": 0.5})
    assert seen == {"count": 14, "e0": {"Cu": 0.5}, "seed": 1, "folder": tmp_path}
    student = Student.load(tmp_path / "student.npz")
    assert student.provenance["e0_source"] == "from the teacher (Cu)"
    assert student.training.is_graded
    assert not (tmp_path / "factor.npz").exists()


def test_test_file_with_an_unknown_element_is_refused(files, tmp_path: Path) -> None:
    other = rattled_copper(1)
    other[0].symbols[0] = "Ni"
    write_structures(tmp_path / "other.xyz", other)
    with pytest.raises(UserError, match=r"other.xyz: structure 0: element Ni"):
        _run({**files, "test": tmp_path / "other.xyz"}, tmp_path)
    assert not (tmp_path / "student.npz").exists()


def test_student_file_says_where_it_comes_from(files, tmp_path):
    stage.run(
        CONFIG,
        **files,
        out=tmp_path,
        seed=1,
        teacher_e0={"Cu": 0.0},
        provenance={"teacher_sha256": "abc"},
    )
    student = Student.load(tmp_path / "student.npz")
    assert student.provenance["train_sha256"] == sha256(files["train"])
    assert student.provenance["teacher_sha256"] == "abc"
    assert student.provenance["versions"]["numpy"] == np.__version__
    assert student.training.test_rmse.forces > 0


def test_predictions_carry_uncertainties_and_warn_outside_the_training_data(
    files, tmp_path, capsys
):
    stage.run(CONFIG, **files, out=tmp_path, seed=1, teacher_e0={"Cu": 0.0})
    student = Student.load(tmp_path / "student.npz")
    inside = read_structures(files["train"])[0]
    outside = inside.copy()
    outside.positions[1] += 0.45 * (outside.positions[0] - outside.positions[1])
    capsys.readouterr()
    add_uncertainties([inside, outside], student)
    assert "1 of 2 structures are outside the training data" in capsys.readouterr().out
    assert (
        inside.arrays["extrapolation_grade"].max()
        <= 1.0
        < outside.arrays["extrapolation_grade"].max()
    )
    assert outside.info["energy_std"] > inside.info["energy_std"] > 0
    assert outside.arrays["forces_std"].shape == (4,)


def test_a_student_is_fitted_where_nothing_is_held_out(files, tmp_path: Path, capsys) -> None:
    nothing = tmp_path / "held_out.xyz"
    nothing.write_text("")
    _run({**files, "test": nothing}, tmp_path)
    assert "student on test" not in capsys.readouterr().out
    assert read_json(tmp_path / "errors.json").keys() == {"train"}
    assert Student.load(tmp_path / "student.npz").training.test_rmse is None
    quality = read_result(tmp_path / "uncertainty.json", UncertaintyQuality)
    assert quality.forces is None and quality.extrapolation.structures == 0
