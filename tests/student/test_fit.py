"""The native fit: ACEpotentials' own numbers, any labels, clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers import GOLDEN_DATA, label_by_emt, rattled_copper

from distill.config import LabelWeights, SolverConfig, StudentConfig
from distill.core.errors import UserError
from distill.data.structures import read_structures, set_labels
from distill.student.fit.native_fit import fit
from distill.student.student_model import Student
from distill.student.uncertainty.grading import ExtrapolationWarning
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

SMALL = StudentConfig(order=2, totaldegree=5, rcut=4.5, backend="native", threads=1)


def _with(**changes) -> StudentConfig:
    return SMALL.model_copy(update=changes)


def _rms(student: Student, structures: list[Atoms]) -> tuple[float, float]:
    """RMS errors of energies (eV/atom) and forces (eV/Å)."""
    energies, forces = [], []
    for atoms in structures:
        energy, force, _ = student.predict(atoms)
        energies.append((energy - atoms.info["REF_energy"]) / len(atoms))
        forces.append((force - atoms.arrays["REF_forces"]).ravel())
    return tuple(float(np.sqrt(np.mean(np.concatenate(v) ** 2))) for v in ([energies], forces))


@pytest.fixture(scope="module")
def copper() -> list[Atoms]:
    return rattled_copper(16)


@pytest.fixture(scope="module")
def golden() -> tuple[list[Atoms], list[Atoms], Path]:
    folder = GOLDEN_DATA
    train, test = (
        read_structures(folder / name, virial_key="virial") for name in ("train.xyz", "test.xyz")
    )
    return train, test, folder


def _golden_config(**changes) -> StudentConfig:
    values = {
        "elements": ["Cu", "H"],
        "order": 3,
        "totaldegree": [10, 8, 6],
        "rcut": 6.0,
        "e0": {"Cu": 0.1, "H": -0.2},
        "weights": {
            "default": LabelWeights(energy=30, forces=1, virial=1),
            "slab": LabelWeights(energy=60, forces=2, virial=1),
        },
        "threads": 1,
        **changes,
    }
    return StudentConfig(**values)


@pytest.mark.reference
def test_qr_gives_the_model_of_acepotentials(golden) -> None:
    """Predictions within 1e-10 eV/atom and 1e-8 eV/Å of the model that ACEpotentials fitted."""
    train, test, folder = golden
    config = _golden_config(solver=SolverConfig(kind="qr", strength=1e-3), smoothness=4)
    student = fit(train, config, seed=0).student
    reference = Student.load(folder / "cuh_order3.npz")
    for atoms in test:
        energy, forces, virial = student.predict(atoms)
        expected = reference.predict(atoms)
        assert abs(energy - expected[0]) / len(atoms) < 1e-10
        assert np.abs(forces - expected[1]).max() < 1e-8
        assert np.abs(virial - expected[2]).max() < 1e-8


@pytest.mark.reference
def test_bayesian_fit_is_that_of_acepotentials(golden) -> None:
    """Same evidence, same model; ACEfit's own result varies by 1e-6 from run to run."""
    train, test, folder = golden
    student = fit(train, _golden_config(smoothness=2), seed=0).student
    reference = Student.load(folder / "cuh_order3_blr.npz")
    for atoms in test:
        energy, forces, _ = student.predict(atoms)
        expected = reference.predict(atoms)
        assert abs(energy - expected[0]) / len(atoms) < 1e-7
        assert np.abs(forces - expected[1]).max() < 1e-5
    energy_error, force_error = _rms(student, test)
    assert energy_error == pytest.approx(2.0e-3, rel=0.05)
    assert force_error == pytest.approx(34e-3, rel=0.05)


@pytest.mark.reference
def test_published_accuracy_on_tial(reference_data: Path) -> None:
    """The ACEpotentials tutorial's RMSE (eV/atom, eV/Å), its settings, within 2 %."""
    structures = read_structures(
        reference_data / "acedata" / "TiAl_tutorial.xyz",
        energy_key="energy",
        forces_key="force",
        virial_key="virial",
    )
    config = StudentConfig(
        elements=["Ti", "Al"],
        order=3,
        totaldegree=6.0,
        rcut=5.5,
        e0={"Ti": -1586.0195, "Al": -105.5954},
        weights={
            "default": LabelWeights(energy=30),
            "FLD_TiAl": LabelWeights(energy=60),
            "TiAl_T5000": LabelWeights(energy=5),
        },
        threads=1,
    )
    student = fit(structures[::5], config, seed=0).student
    assert _rms(student, structures[::5]) == pytest.approx((4.155e-3, 0.254), rel=0.02)
    assert _rms(student, structures[1::10]) == pytest.approx((7.632e-3, 0.274), rel=0.02)


@pytest.mark.parametrize("weighting", ["given", "evidence"])
@pytest.mark.parametrize("zbl", [False, True])
def test_known_model_is_found_again(copper, zbl: bool, weighting: str) -> None:
    """Labels made by a student on the same basis, core or not, are reproduced to rounding."""
    truth = fit(copper, _with(zbl=zbl), seed=0).student
    labelled = []
    for atoms in copper:
        energy, forces, virial = truth.predict(atoms)
        stress = -virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / atoms.get_volume()
        labelled.append(set_labels(atoms.copy(), energy=energy, forces=forces, stress=stress))
    config = _with(e0=dict(truth.e0), zbl=zbl, weighting=weighting)
    again = fit(labelled, config, seed=0).student
    errors = _rms(again, labelled)
    assert errors[0] < 1e-6
    assert errors[1] < 1e-5


def test_smoothness_by_evidence_is_a_fit_with_the_power_found(copper) -> None:
    found = fit(copper, _with(smoothness="evidence"), seed=0)
    power = found.student.training.solver.smoothness
    same = fit(copper, _with(smoothness=power), seed=0)
    off = found.student.predict(copper[0])[1] - same.student.predict(copper[0])[1]
    assert np.abs(off).max() < 0.05 * same.student.training.row_noise
    given = fit(copper, _with(smoothness=4.0), seed=0)
    assert found.student.training.solver.log_evidence > given.student.training.solver.log_evidence


def test_smoothness_by_evidence_needs_the_evidence() -> None:
    with pytest.raises(ValueError, match="evidence needs solver"):
        StudentConfig(smoothness="evidence", solver=SolverConfig(kind="ridge"))


@pytest.mark.parametrize("smoothness", [2.0, "evidence"])
def test_weights_by_evidence_are_a_fit_with_the_weights_found(copper, smoothness) -> None:
    found = fit(copper, _with(weighting="evidence", smoothness=smoothness), seed=0).student
    report = found.training.solver
    assert set(report.weight_factors) == {"forces", "energy", "virial"}
    assert report.weight_factors["forces"] == 1.0
    given = _with().weights["default"]
    weights = {kind: f * getattr(given, kind) for kind, f in report.weight_factors.items()}
    power = smoothness if report.smoothness is None else report.smoothness
    same = fit(
        copper, _with(weights={"default": LabelWeights(**weights)}, smoothness=power), seed=0
    ).student
    off = found.predict(copper[0])[1] - same.predict(copper[0])[1]
    assert np.abs(off).max() < 0.05 * same.training.row_noise
    assert found.training.row_noise == pytest.approx(same.training.row_noise, rel=0.02)
    scales = found.training.deviation_scale, same.training.deviation_scale
    assert scales[0].energy == pytest.approx(scales[1].energy, rel=0.05)
    assert scales[0].forces == pytest.approx(scales[1].forces, rel=0.05)


def test_weights_by_evidence_find_the_noise_of_the_labels(copper) -> None:
    """Noise of energies alone makes their weight smaller, and the forces no worse."""
    rng = np.random.default_rng(5)
    noisy = [atoms.copy() for atoms in copper]
    for atoms in noisy:
        atoms.info["REF_energy"] += 0.05 * len(atoms) * rng.normal()
    clean = fit(copper, _with(weighting="evidence"), seed=0).student
    given, found = (
        fit(noisy, _with(weighting=how), seed=0).student for how in ("given", "evidence")
    )
    factors = [s.training.solver.weight_factors["energy"] for s in (clean, found)]
    assert factors[1] < 0.2 * factors[0]
    assert _rms(found, copper)[1] < _rms(given, copper)[1]
    assert _rms(found, copper)[1] < 1.2 * _rms(clean, copper)[1]


def test_weights_by_evidence_take_one_kind_of_label_as_it_is(copper) -> None:
    forces = []
    for atoms in copper:
        bare = atoms.copy()
        del bare.info["REF_energy"], bare.info["REF_stress"]
        forces.append(bare)
    config = _with(e0={"Cu": 0.0})
    found = fit(forces, config.model_copy(update={"weighting": "evidence"}), seed=0).student
    given = fit(forces, config, seed=0).student
    assert found.training.solver.weight_factors == {"forces": 1.0}
    off = found.predict(copper[0])[1] - given.predict(copper[0])[1]
    assert np.abs(off).max() < 0.05 * given.training.row_noise


def test_weights_by_evidence_need_the_evidence() -> None:
    with pytest.raises(ValueError, match="weighting: evidence needs"):
        StudentConfig(weighting="evidence", solver=SolverConfig(kind="ridge"))


@pytest.mark.parametrize("kind", ["blr", "ridge", "ard", "rrqr", "tsvd", "lsqr"])
def test_every_solver_learns_the_forces(copper, kind: str) -> None:
    spread = np.std(np.concatenate([a.arrays["REF_forces"].ravel() for a in copper]))
    config = _with(solver=SolverConfig(kind=kind))
    assert _rms(fit(copper, config, seed=0).student, copper)[1] < 0.2 * spread


@pytest.mark.parametrize("kinds", [("energy",), ("forces",), ("stress",), ("forces", "stress")])
def test_labels_of_one_kind_are_enough(copper, kinds: tuple[str, ...], capsys) -> None:
    keys = {"energy": "REF_energy", "stress": "REF_stress"}
    stripped = []
    for atoms in copper:
        copy = atoms.copy()
        if "forces" not in kinds:
            del copy.arrays["REF_forces"]
        for name, key in keys.items():
            if name not in kinds:
                del copy.info[key]
        stripped.append(copy)
    student = fit(stripped, SMALL, seed=0).student
    energy_error, force_error = _rms(student, copper)
    if "energy" in kinds:
        assert energy_error < 0.02
    else:
        assert student.e0 == {"Cu": 0.0}
        assert "no energies" in capsys.readouterr().out
    if "forces" in kinds:
        assert force_error < 0.2


def test_number_of_threads_changes_nothing(copper) -> None:
    one, three = (fit(copper, _with(threads=t), seed=0).student for t in (1, 3))
    assert np.array_equal(one.coefficients, three.coefficients)
    assert np.array_equal(one.committee, three.committee)


def test_second_solver_does_not_assemble_again(copper, tmp_path: Path, capsys) -> None:
    fit(copper, SMALL, seed=0, folder=tmp_path)
    capsys.readouterr()
    config = _with(solver=SolverConfig(kind="tsvd"))
    reused = fit(copper, config, seed=0, folder=tmp_path).student
    assert "already assembled" in capsys.readouterr().out
    assert np.array_equal(reused.coefficients, fit(copper, config, seed=0).student.coefficients)
    fit(copper, _with(totaldegree=4.0), seed=0, folder=tmp_path)
    assert "already" not in capsys.readouterr().out


@pytest.mark.parametrize("label", ["REF_energy", "REF_forces", "REF_stress"])
def test_other_labels_are_assembled_anew(copper, label: str, tmp_path: Path, capsys) -> None:
    fit(copper, SMALL, seed=0, folder=tmp_path)
    relabelled = [atoms.copy() for atoms in copper]
    holder = relabelled[5].arrays if label == "REF_forces" else relabelled[5].info
    holder[label] = holder[label] + 0.01
    capsys.readouterr()
    found = fit(relabelled, SMALL, seed=0, folder=tmp_path).student
    assert "already assembled" not in capsys.readouterr().out
    assert np.array_equal(found.coefficients, fit(relabelled, SMALL, seed=0).student.coefficients)


def test_a_fitted_student_grades_structures_and_warns(copper) -> None:
    result = fit(copper, _with(solver=SolverConfig(committee=8)), seed=0)
    model = UncertaintyModel(result.student)
    for atoms in result.structures:
        assert np.isfinite(model.predict(atoms)[1].grade).all()
        assert model.predict(atoms)[1].grade.max() <= 1.0 + 1e-9
    squeezed = copper[0].copy()
    squeezed.set_cell(0.8 * squeezed.cell, scale_atoms=True)
    squeezed.calc = result.student.calculator()
    with pytest.warns(ExtrapolationWarning):
        squeezed.get_forces()


def test_the_record_of_a_fit_has_its_numbers(copper) -> None:
    result = fit([*copper, copper[0].copy()], SMALL, seed=0)
    record = result.student.training
    assert (record.structures, record.left_out) == (16, 1)
    assert record.rows == 16 * (1 + 12 + 6)
    assert record.labels.model_dump() == {"energy": 16, "forces": 16, "stress": 16}
    assert record.solver.solver == "blr"
    assert record.row_noise == record.solver.noise > 0
    assert 0 < record.solver.effective_parameters <= result.student.basis.n_functions
    assert record.deviation_scale.energy > 0


def test_isolated_atoms_set_the_one_body_energy(copper) -> None:
    atom = set_labels(Atoms("Cu"), energy=-1.25)
    student = fit([atom, *copper], SMALL, seed=0).student
    assert student.e0 == {"Cu": -1.25}
    assert student.energy(Atoms("Cu")) == pytest.approx(-1.25, abs=1e-12)
    with pytest.raises(UserError, match="isolated atoms only"):
        fit([atom], SMALL, seed=0)


def test_duplicates_are_left_out_and_outliers_named(copper, capsys) -> None:
    wrong = copper[3].copy()
    wrong.positions[0] += 0.01
    wrong.info["REF_energy"] += 1000.0
    result = fit([*copper, copper[2].copy(), wrong], SMALL, seed=0)
    printed = capsys.readouterr().out
    assert "1 structures repeat an earlier one" in printed
    assert ": 16" in printed
    assert "structure 17: energy" in printed
    assert len(result.structures) == 17


class TestRefusals:
    def test_no_labels(self) -> None:
        bare = [Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.5]])]
        with pytest.raises(UserError, match="carries a label"):
            fit(bare, SMALL, seed=0)

    def test_element_that_is_not_listed(self, copper) -> None:
        nickel = label_by_emt(Atoms("CuNi", positions=[[0, 0, 0], [0, 0, 2.5]]))
        with pytest.raises(UserError, match="structures 16 have Ni"):
            fit([*copper, nickel], _with(elements=["Cu"]), seed=0)

    def test_fewer_rows_than_functions_without_regularisation(self, copper) -> None:
        config = _with(totaldegree=12.0, solver=SolverConfig(kind="qr"))
        with pytest.raises(UserError, match="determine all"):
            fit(copper[:1], config, seed=0)

    def test_cross_validation_of_one_structure(self, copper) -> None:
        with pytest.raises(UserError, match="at least 2 structures"):
            fit(copper[:1], _with(solver=SolverConfig(kind="ridge")), seed=0)

    def test_one_body_energy_that_is_missing(self, copper) -> None:
        with pytest.raises(UserError, match="no one-body energy for Cu"):
            fit(copper, _with(e0={"Ni": 1.0}), seed=0)

    def test_zero_weights(self, copper) -> None:
        config = _with(weights={"default": LabelWeights(energy=0, forces=0, virial=0)})
        with pytest.raises(UserError, match="nonzero weight"):
            fit(copper, config, seed=0)
