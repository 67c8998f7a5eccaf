"""Committee deviations against brute force, the posterior, and planted errors."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from helpers import rattled_copper

from distill.config import LabelWeights, SolverConfig, StudentConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.simulation.rovibrational import diatomic_curve
from distill.student.fit.fit_result import Fit
from distill.student.fit.native_fit import fit
from distill.student.training_record import DeviationScale, TrainingRecord
from distill.student.uncertainty.committee import Committee
from distill.student.uncertainty.grading import (
    WATCH_EVERY,
    ExtrapolationWarning,
    add_uncertainties,
    unwatched,
)
from distill.student.uncertainty.uncertainty_model import (
    UncertaintyModel,
    UncertaintyQuality,
    calibration,
    extrapolation,
    with_training_deviations,
)

WEIGHTS = {"default": LabelWeights()}
SMALL = StudentConfig(order=3, totaldegree=5.0, rcut=4.5, backend="native", threads=1)


def _with(student, **changes):
    """The student with another training record."""
    return replace(student, training=student.training.model_copy(update=changes))


def _alloy(seed: int, atoms_of: Atoms | None = None) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True) * (2, 2, 1) if atoms_of is None else atoms_of.copy()
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    atoms.symbols[rng.permutation(len(atoms))[: len(atoms) // 3]] = "Ag"
    return atoms


@pytest.fixture(scope="module")
def fitted() -> Fit:
    config = SMALL.model_copy(update={"solver": SolverConfig(committee=2000)})
    result = fit(rattled_copper(12), config, seed=0)
    # The bare posterior: its scale and the model of errors have tests of their own.
    student = replace(_with(result.student, deviation_scale=None), errors=None)
    return replace(result, student=student)


@pytest.fixture(scope="module")
def student(fitted: Fit):
    small = replace(fitted.student, committee=fitted.student.committee[:13])
    return with_training_deviations(small, fitted.structures)


def test_committee_kernel_agrees_with_one_evaluation_a_member(student) -> None:
    committee = Committee(student, force_members=3)
    for atoms in (*rattled_copper(2, seed=5), Atoms("Cu"), Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]])):
        energies, mean, forces, projections = committee.evaluate(atoms)
        assert projections.shape == (len(atoms), 0)
        assert energies.shape == (len(atoms), 13)
        assert forces.shape == (3, len(atoms), 3)
        for found, expected in zip(mean, student.evaluate(atoms), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-11)
        for member, coefficients in enumerate(student.committee):
            one = replace(student, coefficients=coefficients).evaluate(atoms)
            np.testing.assert_allclose(
                energies[:, member], one.energies - mean.energies, atol=1e-11
            )
            if member < 3:
                np.testing.assert_allclose(forces[member], one.forces - mean.forces, atol=1e-10)


def test_committee_kernel_handles_several_elements_and_the_core() -> None:
    """Random coefficients over two elements, more than eight atoms of each, with a ZBL core."""
    from distill.student.basis.basis import BasisSpec, build_basis
    from distill.student.student_model import Student

    basis = build_basis(BasisSpec(("Ag", "Cu"), 3, (5.0, 4.0, 4.0), rcut=4.0, zbl=True))
    rng = np.random.default_rng(0)
    n = basis.n_functions
    student = Student(
        basis=basis,
        coefficients=rng.normal(size=n),
        e0={"Ag": 1.0, "Cu": 2.0},
        committee=rng.normal(size=(5, n)),
    )
    atoms = _alloy(1, bulk("Cu", cubic=True) * (3, 2, 1))
    forms = rng.normal(size=(4, n))
    energies, mean, forces, projections = Committee(student, 5, forms).evaluate(atoms)
    np.testing.assert_allclose(projections, student.descriptors(atoms) @ forms.T, atol=1e-9)
    assert energies.shape == (len(atoms), 5)
    for found, expected in zip(mean, student.evaluate(atoms), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    for member in range(5):
        one = replace(student, coefficients=student.committee[member]).evaluate(atoms)
        np.testing.assert_allclose(energies[:, member], one.energies - mean.energies, atol=1e-9)
        np.testing.assert_allclose(forces[member], one.forces - mean.forces, atol=1e-9)


def test_committee_of_a_pair_model_agrees_with_its_members() -> None:
    """Order 1 has no product of neighbours, so that some tables are empty."""
    config = StudentConfig(order=1, totaldegree=5, rcut=4.0, backend="native", threads=1)
    structures = rattled_copper(12)
    student = fit(structures, config, seed=0).student
    found = Committee(student, 1).evaluate(structures[0])
    member = replace(student, coefficients=student.committee[0], committee=None)
    expected = member.evaluate(structures[0]).forces - student.evaluate(structures[0]).forces
    assert np.allclose(found.forces[0], expected, atol=1e-9)


def test_deviations_are_those_of_the_posterior(fitted: Fit) -> None:
    """2000 draws give the standard deviation of the posterior within four of their errors."""
    root = fitted.posterior_root
    model = UncertaintyModel(fitted.student)
    tolerance = 4 / np.sqrt(2 * len(fitted.student.committee))
    for atoms in rattled_copper(3, seed=7, amplitude=0.2):
        sites = fitted.student.descriptors(atoms)
        found = model.predict(atoms)[1]
        expected = np.linalg.norm(sites @ root, axis=1)
        np.testing.assert_allclose(found.energies, expected, rtol=tolerance)
        total = np.linalg.norm(sites.sum(axis=0) @ root)
        assert found.energy == pytest.approx(total, rel=tolerance)


def test_force_deviation_is_that_of_its_members(student) -> None:
    atoms = rattled_copper(1, seed=9)[0]
    forces = [
        replace(student, coefficients=c).forces(atoms) - student.forces(atoms)
        for c in student.committee[:3]
    ]
    expected = np.sqrt(np.mean(np.square(forces), axis=(0, 2)))
    mean, found = UncertaintyModel(student, force_members=3).predict(atoms)
    np.testing.assert_allclose(found.forces, expected)
    np.testing.assert_allclose(mean.forces, student.forces(atoms), atol=1e-11)


def test_scale_multiplies_deviations_but_not_grades(student) -> None:
    atoms = rattled_copper(1, seed=9)[0]
    larger = _with(student, deviation_scale=DeviationScale(energy=2.0, forces=3.0))
    _, plain = UncertaintyModel(student).predict(atoms)
    _, scaled = UncertaintyModel(larger).predict(atoms)
    assert scaled.energy == pytest.approx(2 * plain.energy)
    np.testing.assert_allclose(scaled.energies, 2 * plain.energies)
    np.testing.assert_allclose(scaled.forces, 3 * plain.forces)
    np.testing.assert_allclose(scaled.grade, plain.grade)


def test_grade_is_one_at_most_on_training_sites_and_large_far_away(student, fitted: Fit) -> None:
    model = UncertaintyModel(student)
    found = [model.predict(atoms)[1] for atoms in fitted.structures]
    for name in ("energy_grade", "force_grade", "grade"):
        assert max(getattr(one, name).max() for one in found) == pytest.approx(1.0), name
    crushed = bulk("Cu", cubic=True)
    crushed.set_cell(crushed.cell * 0.75, scale_atoms=True)
    assert model.predict(crushed)[1].grade.min() > 3.0
    assert np.all(model.predict(Atoms("Cu"))[1].grade == 0.0)


def test_a_force_can_be_beyond_where_its_energy_is_not(student) -> None:
    """Where training forces are known better, grades of forces rise and those of energies not."""
    atoms = rattled_copper(1, seed=9)[0]
    known = student.training.largest_force_deviation
    largest = {symbol: 1e-3 * value for symbol, value in known.items()}
    sharper = _with(student, largest_force_deviation=largest)
    _, plain = UncertaintyModel(student).predict(atoms)
    _, found = UncertaintyModel(sharper).predict(atoms)
    np.testing.assert_array_equal(found.energy_grade, plain.energy_grade)
    np.testing.assert_allclose(found.force_grade, 1e3 * plain.force_grade)
    np.testing.assert_array_equal(found.grade, found.force_grade)
    with pytest.warns(ExtrapolationWarning):
        sharper.predict(atoms)


def test_element_without_training_sites_is_always_beyond(fitted: Fit) -> None:
    config = StudentConfig(
        elements=["Cu", "Ag"], order=2, totaldegree=4.0, rcut=4.5, backend="native", threads=1,
        e0={"Cu": 0.0, "Ag": 0.0},
    )  # fmt: skip
    result = fit(fitted.structures, config, seed=0)
    model = UncertaintyModel(result.student)
    atoms = _alloy(3)
    grade = model.predict(atoms)[1].grade
    assert np.all(np.isinf(grade[atoms.symbols == "Ag"]))


def test_student_without_committee_says_so(student) -> None:
    bare = replace(student, committee=None)
    with pytest.raises(UserError, match="no committee"):
        UncertaintyModel(bare)
    assert calibration(bare, rattled_copper(1), WEIGHTS) == UncertaintyQuality(members=0)
    assert with_training_deviations(bare, rattled_copper(1)) is bare


def test_student_without_training_deviations_is_not_graded(student, capsys) -> None:
    """As one of another program, or saved by a version that did not know forces' deviations."""
    for bare in (
        replace(student, training=TrainingRecord()),
        _with(student, largest_force_deviation=None),
    ):
        structures = rattled_copper(2)
        add_uncertainties(structures, bare)
        assert "fit it again" in capsys.readouterr().out
        assert all("extrapolation_grade" not in atoms.arrays for atoms in structures)
        assert all(atoms.info["energy_std"] > 0 for atoms in structures)
        assert extrapolation(bare, structures) is None
    found = extrapolation(student, rattled_copper(12))
    assert (found.structures, found.beyond_training, found.beyond_training_indices) == (12, 0, [])
    assert found.largest_grade == pytest.approx(1.0)


class TestWatch:
    def squeezed(self) -> Atoms:
        atoms = rattled_copper(1, seed=3)[0]
        atoms.positions[0] += 0.6 * (atoms.positions[1] - atoms.positions[0])
        return atoms

    def test_the_first_structure_far_outside_the_training_data_is_told_once(self, student) -> None:
        fresh = replace(student)
        with pytest.warns(
            ExtrapolationWarning, match=r"atom \d+ \(Cu\) has an extrapolation grade"
        ):
            fresh.predict(self.squeezed())
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fresh.watch.look(self.squeezed(), WATCH_EVERY)  # so many that one is its turn
        assert not told

    @pytest.mark.parametrize(("grade", "warned"), [(1.9, False), (2.1, True)])
    def test_it_warns_from_twice_what_the_training_data_reach(self, student, grade, warned) -> None:
        atoms = rattled_copper(1, seed=3)[0]
        known = student.training.largest_site_deviation
        largest = UncertaintyModel(student).predict(atoms)[1].energy_grade.max() / grade
        scaled = {symbol: largest * value for symbol, value in known.items()}
        graded = _with(student, largest_site_deviation=scaled, largest_force_deviation={"Cu": 1e9})
        assert UncertaintyModel(graded).predict(atoms)[1].grade.max() == pytest.approx(grade)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            graded.predict(atoms)
        assert bool(told) is warned

    def test_the_calculator_warns_too(self, student) -> None:
        atoms = self.squeezed()
        atoms.calc = replace(student).calculator()
        with pytest.warns(ExtrapolationWarning) as told:
            atoms.get_forces()
        assert len(told) == 1

    def test_a_curve_that_leaves_the_training_data_on_purpose_is_not_told(self, student) -> None:
        fresh, atoms = replace(student), self.squeezed()
        atoms.calc = fresh.calculator()
        with warnings.catch_warnings(record=True) as told, unwatched(atoms.calc):
            warnings.simplefilter("always")
            diatomic_curve("Cu2", atoms.calc)
            atoms.get_forces()
        assert not told
        atoms.calc = fresh.calculator()
        with pytest.warns(ExtrapolationWarning):
            atoms.get_forces()
        with unwatched(EMT()):
            pass

    def test_a_run_that_leaves_the_training_data_is_noticed(self, student) -> None:
        fresh, atoms = replace(student), rattled_copper(1, seed=3)[0]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fresh.predict(atoms)
            for _ in range(WATCH_EVERY - 1):
                fresh.watch.look(self.squeezed())
        assert not told
        with pytest.warns(ExtrapolationWarning):
            fresh.watch.look(self.squeezed())

    def test_blocks_of_steps_are_looked_at_as_often(self, student) -> None:
        fresh, atoms = replace(student), rattled_copper(1, seed=3)[0]
        fresh.predict(atoms)
        for _ in range(WATCH_EVERY // 16):
            fresh.watch.look(self.squeezed(), 16)
        assert fresh.watch.evaluations == 193
        with pytest.warns(ExtrapolationWarning):
            fresh.watch.look(self.squeezed(), 16)

    def test_without_grades_nothing_is_said(self, student) -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            replace(student, committee=None).predict(self.squeezed())
            replace(student, training=TrainingRecord()).predict(self.squeezed())
        assert not told


def test_a_calibration_of_the_first_version_is_read() -> None:
    path = Path(__file__).parents[1] / "data" / "records" / "uncertainty_v1.json"
    found = read_result(path, UncertaintyQuality)
    assert (found.version, found.members, found.forces.rank_correlation) == (2, 32, 0.21)
    assert found.forces.rank_correlation_atoms is None and found.forces.variation is None


class TestCalibration:
    def _labelled_by_a_draw(self, student, count: int, noise: float) -> list[Atoms]:
        """Structures whose labels come from one posterior draw, with noise on energies."""
        rng = np.random.default_rng(4)
        structures = []
        for k in range(count):
            truth = replace(student, coefficients=student.committee[k % len(student.committee)])
            atoms = rattled_copper(1, seed=1000 + k, amplitude=0.1)[0]
            found = truth.evaluate(atoms)
            energy, forces = float(found.energies.sum()), found.forces
            atoms.info["REF_energy"] = energy + noise * np.sqrt(len(atoms)) / 30 * rng.normal()
            atoms.arrays["REF_forces"] = forces + noise * rng.normal(size=forces.shape)
            structures.append(atoms)
        return structures

    def test_labels_from_the_model_itself_are_covered(self, fitted: Fit) -> None:
        base = fitted.student
        student = replace(base, committee=base.committee[:64])
        noise = student.training.row_noise
        structures = self._labelled_by_a_draw(student, 150, noise)
        found = calibration(student, structures, WEIGHTS)
        for name in ("energy_per_atom", "forces"):
            quality = getattr(found, name)
            assert quality.coverage["68"] == pytest.approx(0.68, abs=0.1), name
            assert quality.coverage["95"] == pytest.approx(0.95, abs=0.05), name
            assert quality.scale == pytest.approx(1.0, abs=0.2), name
            assert sum(part.count for part in quality.bins) == quality.count

    def test_planted_errors_lower_the_coverage(self, fitted: Fit) -> None:
        base = fitted.student
        student = replace(base, committee=base.committee[:64])
        structures = self._labelled_by_a_draw(student, 40, student.training.row_noise)
        for atoms in structures:
            atoms.arrays["REF_forces"] = atoms.arrays["REF_forces"] + 1.0
        found = calibration(student, structures, WEIGHTS).forces
        assert found.coverage["95"] < 0.2
        assert found.scale > 5.0

    def test_only_the_labels_that_are_there(self, student) -> None:
        atoms = rattled_copper(1)[0]
        del atoms.info["REF_energy"]
        found = calibration(student, [atoms], WEIGHTS)
        assert found.energy_per_atom is None
        assert found.forces.count == 12
