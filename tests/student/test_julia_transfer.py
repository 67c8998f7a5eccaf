"""Models between ACEpotentials and distill; Julia itself is a stand-in."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from helpers import GOLDEN_DATA
from julia_support import some_structures
from typer.testing import CliRunner

from distill.cli.app import app
from distill.core.errors import UserError
from distill.data.structures import read_structures, write_structures
from distill.deploy.export.base import export_student
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.julia.transfer import (
    export_model,
    import_model,
    probe_structures,
    signs_between,
)
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import is_graded


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"model_spec": {}, "model_parameters": []}))
    return path


def recorded(folder):
    with open(folder / "record.pickle", "rb") as handle:
        calls = []
        while handle.peek(1):
            calls.append(pickle.load(handle))
    return dict(calls)


def test_coefficients_of_real_acepotentials_are_those_of_the_native_basis_up_to_signs():
    theirs = Student.load(GOLDEN_DATA / "cuh_order3.npz")
    ours = build_basis(BasisSpec(("Cu", "H"), 3, (10.0, 8.0, 6.0)))
    signs = signs_between(ours, theirs.basis)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    student = Student(ours, signs * theirs.coefficients, theirs.e0)
    predictions = np.load(GOLDEN_DATA / "cuh_order3_test_predictions.npz")
    for k, atoms in enumerate(read_structures(GOLDEN_DATA / "test.xyz", virial_key="virial")):
        energy, forces, _ = student.predict(atoms)
        assert energy == pytest.approx(float(predictions[f"E{k}"]), abs=1e-10)
        np.testing.assert_allclose(forces, predictions[f"F{k}"], atol=1e-10)


def test_bases_that_differ_by_more_than_signs_are_refused():
    theirs = Student.load(GOLDEN_DATA / "cuh_order3.npz").basis
    with pytest.raises(UserError, match="its functions are others"):
        signs_between(build_basis(BasisSpec(("Cu", "H"), 3, (10.0, 8.0, 5.0))), theirs)
    with pytest.raises(UserError, match="functions differ"):
        signs_between(build_basis(BasisSpec(("Cu", "H"), 3, (10.0, 8.0, 6.0), rcut=5.9)), theirs)


def test_probes_have_every_element_near_every_other():
    for elements in (("Cu", "H"), ("Si",), ("C", "H", "N", "O", "S")):
        probes = probe_structures(elements)
        assert {symbol for atoms in probes for symbol in atoms.symbols} == set(elements)
        distances = [atoms.get_all_distances(mic=True) for atoms in probes]
        assert min(d[d > 0].min() for d in distances) > 0.5


def test_a_saved_model_becomes_a_graded_student(fake_julia, tmp_path, saved):
    write_structures(tmp_path / "train.xyz", some_structures())
    output = tmp_path / "student.npz"
    arguments = ["import", str(saved), "-o", str(output), "--data", str(tmp_path / "train.xyz")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found, truth = Student.load(output), Student.load(tmp_path / "truth.npz")
    assert found.training.is_graded
    np.testing.assert_array_equal(found.coefficients, truth.coefficients)
    assert found.provenance["imported"]["file"] == "model.json"
    assert not import_model(saved).training.is_graded


def test_a_model_without_a_committee_gets_one_by_its_data(fake_julia, tmp_path, saved):
    # As ACEpotentials' `save_model` leaves it.
    fake_julia("alone")
    assert import_model(saved).committee is None
    found = import_model(saved, some_structures())
    assert is_graded(found)
    truth = Student.load(tmp_path / "truth.npz")
    np.testing.assert_array_equal(found.coefficients, truth.coefficients)
    unlabelled = [Atoms("CuH", [[0, 0, 0], [0, 0, 1.6]])]
    with pytest.raises(UserError, match="carries a label"):
        import_model(saved, unlabelled)


@pytest.mark.parametrize("fault", ["corrupt:WB", "nan"])
def test_a_model_that_the_engines_disagree_on_is_not_imported(fake_julia, saved, fault):
    fake_julia(fault)
    with pytest.raises(UserError, match="does not give Julia's numbers"):
        import_model(saved)


def test_a_student_goes_over_with_the_signs_of_acepotentials(fake_julia, tmp_path):
    truth = Student.load(tmp_path / "truth.npz")
    # The stand-in's basis has the couplings of every third function turned round.
    turned = np.where(np.arange(truth.basis.n_many_body) % 3 == 0, -1.0, 1.0)
    coupling = truth.basis.coupling
    other = coupling._replace(values=coupling.values * turned[coupling.rows])
    Student(replace(truth.basis, coupling=other), truth.coefficients, truth.e0).save(
        tmp_path / "truth.npz"
    )
    student = replace(truth, committee=np.stack([truth.coefficients, 2 * truth.coefficients]))
    compared = export_model(student, tmp_path / "model.json")
    assert compared.holds
    many = len(turned) * truth.basis.n_species
    signs = np.concatenate([np.tile(turned, 2), np.ones(truth.basis.n_functions - many)])
    sent = recorded(tmp_path)["set_parameters"]
    np.testing.assert_array_equal(sent["parameters"], signs * truth.coefficients)
    np.testing.assert_array_equal(sent["committee"][1], 2 * signs * truth.coefficients)
    saved = json.loads((tmp_path / "model.json").read_text())
    np.testing.assert_array_equal(saved["model_parameters"], sent["parameters"])


def test_the_export_is_read_back_by_julia(fake_julia, tmp_path):
    out = tmp_path / "out.json"
    report = export_student(tmp_path / "truth.npz", out, to="acepotentials")
    assert max(report.force.values()) < 1e-10
    assert json.loads(out.read_text())["model_parameters"]
    fake_julia("corrupt:pair_spline_coefs")
    with pytest.raises(UserError, match="functions differ"):
        export_student(tmp_path / "truth.npz", tmp_path / "second.json", to="acepotentials")
    assert not (tmp_path / "second.json").exists()


def test_what_acepotentials_cannot_hold_is_refused(random_student, tmp_path):
    with pytest.raises(UserError, match="a ZBL core"):
        export_model(random_student(zbl=True), tmp_path / "model.json")
    golden = Student.load(GOLDEN_DATA / "cuh_order3.npz")
    with pytest.raises(UserError, match="another program built"):
        export_model(golden, tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()
