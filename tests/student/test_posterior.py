"""A committee for coefficients that another program found."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from helpers import GOLDEN_DATA
from julia_support import small_config, some_structures

from distill.config import LabelWeights
from distill.core.errors import UserError
from distill.data.structures import read_structures
from distill.student.fit import native_fit
from distill.student.fit.posterior import with_posterior
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import (
    UncertaintyModel,
    is_graded,
    with_training_deviations,
)

WEIGHTS = {"default": LabelWeights()}


def test_the_committee_is_that_of_the_native_fit():
    structures = read_structures(GOLDEN_DATA / "train.xyz", virial_key="virial")[::4]
    config = small_config(backend="native", weights=WEIGHTS, zbl=False)
    fitted = native_fit.fit(structures, config, seed=0)
    native = fitted.student
    found = with_posterior(
        replace(native, committee=None), fitted.structures, WEIGHTS, power=4.0, members=32, seed=0
    )
    spread = np.abs(native.committee - native.coefficients).max()
    np.testing.assert_allclose(found.committee, native.committee, atol=1e-9 * spread)
    np.testing.assert_array_equal(found.coefficients, native.coefficients)
    assert found.training.structures == len(fitted.structures)
    # Other coefficients get the same deviations around them.
    moved = replace(native, committee=None, coefficients=native.coefficients + 1.0)
    around = with_posterior(moved, fitted.structures, WEIGHTS, power=4.0, members=32, seed=0)
    np.testing.assert_allclose(around.committee, native.committee + 1.0, atol=1e-9)


def test_a_model_of_acepotentials_is_graded_by_its_training_structures():
    structures = read_structures(GOLDEN_DATA / "train.xyz", virial_key="virial")
    student = Student.load(GOLDEN_DATA / "cuh_order3.npz")
    assert not is_graded(student)
    found = with_posterior(student, structures, WEIGHTS, power=4.0, members=8, seed=0)
    graded = with_training_deviations(found, structures)
    assert is_graded(graded)
    model = UncertaintyModel(graded)
    far = Atoms("CuH2", [[0, 0, 0], [0.9, 0.3, 0.8], [1.2, -0.4, 0.2]])
    assert model.predict(structures[0])[1].grade.max() <= 1.0 + 1e-9
    assert model.predict(far)[1].grade.max() > 1.0


def test_structures_that_cannot_grade_are_refused(random_student):
    student = replace(random_student(("Cu",)), committee=None)
    with pytest.raises(UserError, match=r"training structures 1, 2, 3 have other elements"):
        with_posterior(student, some_structures(), WEIGHTS, power=4.0, members=4, seed=0)
    with pytest.raises(UserError, match="carries a label"):
        with_posterior(student, [Atoms("Cu2")], WEIGHTS, power=4.0, members=4, seed=0)
