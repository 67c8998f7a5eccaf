"""The families of linear ACE: the contract of every family, and their fits."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from family_tests import FamilyContract, FamilyPhysics
from helpers import rattled_copper
from julia_support import small_config, some_structures

from distill.config import SolverConfig, StudentConfig
from distill.models.base import Job
from distill.student.family import LinearAce
from distill.student.julia.family import AcePotentials


class TestLinearAce(FamilyContract, FamilyPhysics):
    @pytest.fixture
    def structures(self, atoms) -> list[Atoms]:
        return [atoms, Atoms("CuH", [(0, 0, 0), (0, 0, 1.6)])]

    @pytest.fixture
    def model(self, random_student) -> LinearAce:
        return LinearAce(random_student(("Cu", "H"), (5.0, 4.0, 3.5), rcut=4.5))


class TestFittedLinearAce(FamilyPhysics):
    """With a committee, hence uncertainties."""

    @pytest.fixture
    def model(self, graded_student) -> LinearAce:
        return LinearAce(graded_student, threads=2)


class TestAcePotentials(FamilyPhysics):
    """With a stand-in for Julia that evaluates a student."""

    @pytest.fixture
    def model(self, fake_julia, tmp_path) -> AcePotentials:
        saved = '{"model_spec": {}, "model_parameters": []}'
        (tmp_path / "ace_model.json").write_text(saved)
        return AcePotentials(tmp_path / "ace_model.json")


def test_a_fit_of_the_family_is_that_of_its_config(tmp_path) -> None:
    from distill.student.fit.native_fit import fit

    config = StudentConfig(
        order=2, totaldegree=4.0, rcut=4.0, backend="native", threads=1,
        solver=SolverConfig(committee=4),
    )  # fmt: skip
    frames = rattled_copper(6)
    model = LinearAce.fit(frames, config, Job(folder=tmp_path, seed=5))
    expected = fit(frames, config, seed=5).student
    np.testing.assert_array_equal(model.student.coefficients, expected.coefficients)
    np.testing.assert_array_equal(model.student.committee, expected.committee)
    assert model.student.training.is_graded
    assert (tmp_path / "factor.npz").is_file()
    with pytest.raises(TypeError, match="StudentConfig"):
        LinearAce.fit(frames, SolverConfig(), Job(folder=tmp_path))


def test_both_families_come_out_of_one_fit_of_acepotentials(fake_julia, tmp_path) -> None:
    structures = some_structures()
    ours = LinearAce.fit(structures, small_config(), Job(folder=tmp_path / "ours", seed=7))
    julia = AcePotentials.fit(structures, small_config(), Job(folder=tmp_path / "julia", seed=7))
    one, other = ours.predict(structures[:3]), julia.predict(structures[:3])
    np.testing.assert_allclose(one.energies, other.energies, atol=1e-9)
    assert julia.elements == ours.elements == {"Cu", "H"}
