"""The model of a student's errors, against errors that are planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import rattled_copper
from scipy.stats import spearmanr

from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.student.file_entries import ERROR_MODEL
from distill.student.fit.error_fit import fit_error_model
from distill.student.fit.fit_result import Fit
from distill.student.fit.left_out import LeftOut
from distill.student.fit.native_fit import fit
from distill.student.student_model import Student
from distill.student.uncertainty.grading import add_uncertainties
from distill.student.uncertainty.uncertainty_model import FORCE_MEMBERS, UncertaintyModel

CONFIG = StudentConfig(order=2, totaldegree=[6, 4], rcut=4.5, zbl=False, threads=1)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit(rattled_copper(12), CONFIG, seed=0)


@pytest.fixture
def student(fitted: Fit) -> Student:
    return fitted.student


def _size(student: Student, atoms) -> np.ndarray:
    """An error that grows with the size of the force, eV/Å, (N,)."""
    return 0.02 + 0.3 * np.linalg.norm(student.evaluate(atoms).forces, axis=1)


def _planted(student: Student, structures, rng: np.random.Generator) -> list[LeftOut]:
    errors = []
    for index, atoms in enumerate(structures):
        sizes = _size(student, atoms)
        forces = (sizes[:, None] * rng.normal(size=(len(atoms), 3))).ravel()
        energy = rng.normal(size=1) * 0.5 * np.sqrt(np.sum(sizes**2))
        none = np.zeros(1)
        errors.append(LeftOut(index, index, energy, none, none, forces, 0 * forces, 0 * forces))
    return errors


def test_planted_errors_are_found_again(student: Student) -> None:
    rng = np.random.default_rng(0)
    known, unseen = rattled_copper(60, seed=1), rattled_copper(20, seed=2)
    errors = _planted(student, known, rng)
    model = fit_error_model(student, known, errors, FORCE_MEMBERS, rng)
    predict = UncertaintyModel(replace(student, errors=model)).predict
    found = [predict(atoms)[1] for atoms in unseen]
    expected = np.concatenate([one.force_errors for one in found])
    true = np.concatenate([_size(student, atoms) for atoms in unseen])
    assert spearmanr(expected, true).statistic > 0.9
    np.testing.assert_allclose(np.median(expected / true), 1.0, atol=0.1)
    errors = _planted(student, unseen, rng)
    inside = [
        np.abs(left.forces) < 1.96 * np.repeat(one.force_errors, 3)
        for left, one in zip(errors, found, strict=True)
    ]
    assert 0.92 < np.mean(inside) < 0.98
    # The scale of 60 energies is uncertain, and conformal calibration is on the safe side.
    sizes = [0.5 * np.linalg.norm(_size(student, atoms)) for atoms in unseen]
    energies = [one.energy_error / size for one, size in zip(found, sizes, strict=True)]
    assert 0.8 < np.median(energies) < 1.5


def test_without_left_out_forces_there_is_no_model(student: Student) -> None:
    rng = np.random.default_rng(0)
    assert fit_error_model(student, [], [], FORCE_MEMBERS, rng) is None
    bare = replace(student, committee=None)
    assert fit_error_model(bare, [], [], FORCE_MEMBERS, rng) is None


def test_predictions_and_calculator_give_the_expected_errors(student: Student) -> None:
    atoms = rattled_copper(1, seed=9)[0]
    found = UncertaintyModel(student).predict(atoms)[1]
    assert not np.allclose(found.force_errors, found.forces)
    predicted = atoms.copy()
    add_uncertainties([predicted], student)
    np.testing.assert_array_equal(predicted.arrays["forces_std"], found.force_errors)
    assert predicted.info["energy_std"] == found.energy_error
    atoms.calc = student.calculator(uncertainty=True)
    plain = student.evaluate(atoms)
    np.testing.assert_allclose(atoms.get_forces(), plain.forces, atol=1e-10)
    np.testing.assert_allclose(atoms.calc.results["forces_std"], found.force_errors)
    np.testing.assert_allclose(atoms.calc.results["extrapolation_grade"], found.grade)
    assert atoms.calc.results["energy_std"] == pytest.approx(found.energy_error)
    atoms.calc = student.calculator()
    atoms.get_forces()
    assert "forces_std" not in atoms.calc.results


def test_without_an_error_model_the_deviations_take_its_place(student: Student) -> None:
    atoms = rattled_copper(1, seed=9)[0]
    found = UncertaintyModel(replace(student, errors=None)).predict(atoms)[1]
    np.testing.assert_array_equal(found.force_errors, found.forces)
    assert found.energy_error == found.energy


def test_a_file_keeps_the_error_model(student: Student, tmp_path) -> None:
    student.save(tmp_path / "student.npz")
    again = Student.load(tmp_path / "student.npz")
    for name in ERROR_MODEL:
        np.testing.assert_array_equal(getattr(again.errors, name), getattr(student.errors, name))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights", lambda values: values[:, :-1], "weights for"),
        ("posterior", lambda values: values - 1e6, "not negative"),
        ("means", lambda values: values[:, :-1], "error components"),
        ("scales", lambda values: values * np.nan, "not finite"),
    ],
)
def test_a_file_with_a_broken_error_model_is_refused(
    student: Student, tmp_path, name, change, message
) -> None:
    broken = replace(student.errors, **{name: change(getattr(student.errors, name))})
    replace(student, errors=broken).save(tmp_path / "student.npz")
    with pytest.raises(UserError, match=message):
        Student.load(tmp_path / "student.npz")
