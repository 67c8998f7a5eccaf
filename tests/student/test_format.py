"""The student file: old files stay readable, other programs open it, damage is told."""

import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from helpers import GOLDEN_DATA, ROOT

from distill.core.errors import UserError
from distill.student import npz
from distill.student.npz import read_npz
from distill.student.student_file import write_arrays
from distill.student.student_model import Student
from distill.student.training_record import TrainingRecord
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

DATA = ROOT / "tests" / "data" / "students"
SAMPLE = DATA / "student_v1.npz"


def test_the_first_version_stays_readable():
    """A file written by the first version; it is never made anew."""
    expected = json.loads((DATA / "student_v1.json").read_text())
    student = Student.load(SAMPLE)
    assert student.elements == ("Cu", "H")
    assert student.basis.n_functions == expected["n_functions"]
    assert student.coefficients.sum() == pytest.approx(expected["coefficients_sum"], rel=1e-14)
    assert student.committee.shape == (2, expected["n_functions"])
    assert student.training == TrainingRecord()
    assert student.provenance == {"settings": {"order": 3}}
    assert student.basis.spec.cutoff("H", "Cu") == 4.5
    atoms = Atoms(expected["symbols"], expected["positions"], cell=expected["cell"], pbc=True)
    energy, forces, virial = student.predict(atoms)
    assert energy == pytest.approx(expected["energy"], abs=1e-11)
    np.testing.assert_allclose(forces, expected["forces"], atol=1e-11)
    np.testing.assert_allclose(virial, expected["virial"], atol=1e-11)


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_version_keeps_its_grades_and_its_record(tmp_path, version):
    """A fitted student whose record was a mapping of any keys, and typed; never made anew."""
    expected = json.loads((DATA / "student_v1_graded.json").read_text())
    student = Student.load(DATA / f"student_v{version}_graded.npz")
    record = student.training.model_dump(exclude_none=True, exclude={"version"})
    assert record == expected["training"]
    atoms = Atoms(expected["symbols"], expected["positions"], cell=expected["cell"], pbc=True)
    mean, found = UncertaintyModel(student).predict(atoms)
    assert mean.energies.sum() == pytest.approx(expected["energy"], abs=1e-11)
    assert found.energy == pytest.approx(expected["energy_deviation"], rel=1e-9)
    np.testing.assert_allclose(found.grade, expected["grade"], rtol=1e-9)
    student.save(tmp_path / "again.npz")
    assert Student.load(tmp_path / "again.npz").training == student.training


@pytest.mark.parametrize("options", [{}, {"zbl": True}, {"pair": False}, {"r0": 2.0, "wL": 1.1}])
def test_reading_back_changes_nothing(options, random_student, tmp_path):
    student = random_student(("Cu", "H"), (5.0, 4.0), **options)
    student.save(tmp_path / "student.npz")
    copy = Student.load(tmp_path / "student.npz")
    assert copy.basis.spec == student.basis.spec
    assert copy.e0 == student.e0
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "H"
    for mine, theirs in zip(copy.predict(atoms), student.predict(atoms), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(copy.basis.gamma(), student.basis.gamma())
    assert [path.name for path in tmp_path.iterdir()] == ["student.npz"]


def _without(name):
    def change(arrays, meta):
        del arrays[name]

    return change


def _meta(**entries):
    def change(arrays, meta):
        meta.update(entries)

    return change


def _own(**entries):
    def change(arrays, meta):
        own = {**json.loads(bytes(arrays["distill_json"])), **entries}
        arrays["distill_json"] = np.frombuffer(json.dumps(own).encode(), np.uint8)

    return change


def _array(name, function):
    def change(arrays, meta):
        arrays[name] = function(arrays[name])

    return change


def _one(name, value, place=0):
    """One number of an array in place of another."""

    def function(array):
        changed = array.copy()
        changed.flat[place] = value
        return changed

    return _array(name, function)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_meta(schema_version=2), "schema version 2; this program reads up to 1"),
        (_meta(schema_version="1"), "its schema version is '1'"),
        (_meta(radial_kind="analytic"), "expected radial_kind 'spline', found 'analytic'"),
        (_meta(ybasis_kind="real_solidharmonics"), "ybasis_kind"),
        (_meta(pair_envelope_kind="poly1sr"), "pair_envelope_kind"),
        (_meta(nnll=[[]]), "nnll.0: List should have at least 1 item"),
        (_meta(nnll=[[[1, -1]]]), "nnll.0.0.1"),
        (_meta(aa_orders=[1, 7]), "aa_orders.1"),
        (_meta(rnl_spline={"x0": -1.0, "h": 0.0, "n": 100}), "rnl_spline.h"),
        (_meta(rnl_spline={"x0": -1.0, "h": 0.1, "n": 99}), r"expected \(2, 2, 101, 22\)"),
        (_meta(distill_spec=[]), "distill_spec"),
        (_meta(distill_spec={"order": 3}), "elements: Field required"),
        (_own(version=4), "version 4; this program reads up to 3. It comes from a newer program"),
        (_own(version=2, training={"version": 4}), "layout 4, expected 3"),
        (_own(version=2, training={"rows": -1}), "rows: Input should be greater"),
        (_own(version=2, training={"row_noise": "x"}), "row_noise"),
        (_own(version=2, training={"unknown": 1}), "unknown: Extra inputs"),
        (_own(training=None), "training record is not a mapping"),
        (_own(provenance="here"), "provenance is not a mapping"),
        (_own(provenance={"noise": float("nan")}), "found NaN, expected finite"),
        (_without("WB"), "no entry 'WB'"),
        (_without("aspec_r"), "no entry 'aspec_r'"),
        (_without("E0"), "no entry 'E0'"),
        (_array("WB", lambda a: a[:-1]), r"WB has shape \(37, 2\), expected \(38, 2\)"),
        (_array("WB", lambda a: a + 0j), "WB holds complex128, expected real numbers"),
        (_array("WB", lambda a: a.astype(str)), "WB holds <U"),
        (_array("aspec_y", lambda a: a.astype(float)), "aspec_y holds float64, expected whole"),
        (_array("A2B_rows", lambda a: np.array(1)), r"A2B_rows has shape \(\)"),
        (_array("rnl_transform", lambda a: a[..., :5]), "rnl_transform has shape"),
        (_array("rnl_transform", lambda a: a + 0.5), "whole numbers"),
        (_array("rnl_transform", lambda a: a * [3, 1, 1, 1, 1, 1, 1]), "p > q"),
        (_array("rnl_transform", lambda a: a * [1, 1e9, 1, 1, 1, 1, 1]), "whole numbers"),
        (_array("rnl_transform", lambda a: a * [1, 1, 1, 1, -1, 1, 1]), "lengths in order"),
        (_array("rnl_envelope", lambda a: a[..., [1, 0, 2, 3, 4]]), "ends in order"),
        (_array("pair_envelope", lambda a: a * [2, 1, 1]), "a cutoff within rcuts"),
        (_array("rcuts", lambda a: -a), "rcuts: expected 0 to 20 Å"),
        (_array("rcuts", lambda a: np.full_like(a, np.nan)), "rcuts has numbers that are not fin"),
        (_array("rnl_spline_coefs", lambda a: a[..., :2]), "rnl_spline_coefs has shape"),
        (_array("pair_spline_coefs", lambda a: np.concatenate([a, a], -1)), "pair_spline_coefs"),
        (_one("rnl_spline_coefs", np.inf), "rnl_spline_coefs has numbers that are not finite"),
        (_one("E0", np.nan), "E0 has numbers"),
        (_one("distill_committee", np.nan), "distill_committee has numbers"),
        (_array("distill_committee", lambda a: a[:, :-1]), "distill_committee has shape"),
        (_one("elements", 119), "elements has numbers from 1 to 119, expected 1 to 118"),
        (_one("elements", 1), "expected elements that differ"),
        (_one("aspec_y", -(2**31)), "aspec_y has numbers from -2147483648"),
        (_one("aspec_y", -1), "aspec_y has numbers from -1"),
        (_one("aspec_y", 2**31 - 1), "aspec_y has numbers from"),
        (_one("aspec_y", 3), "the l of aspec_y are not those of the radial functions"),
        (_one("aspec_r", 22), r"aspec_r .*expected 0 to 21 \(radial functions\)"),
        (_one("aspec_r", -1), "aspec_r has numbers from -1"),
        (_one("A2B_rows", 38), r"A2B_rows .*expected 0 to 37 \(many-body functions\)"),
        (_one("A2B_rows", -1), "A2B_rows has numbers from -1"),
        (_one("A2B_cols", 40), r"A2B_cols .*expected 0 to 39 \(products\)"),
        (_one("A2B_cols", -1), "A2B_cols has numbers from -1"),
        (_array("aa_spec_2", lambda a: a + 1000), r"aa_spec_2 .*\(one-particle functions\)"),
        (_one("aa_spec_2", -1), "aa_spec_2 has numbers from -1"),
        (_array("aa_spec_2", lambda a: np.concatenate([a[:-1], a[:1]])), "lists a product twice"),
        (_one("A2B_shape", 7), r"A2B_shape is \[7, 40\], but the file holds \[38, 40\]"),
        (_array("WB", lambda a: a * np.nan), "not finite"),
    ],
)  # fmt: skip
def test_wrong_contents_are_refused(change, message, tmp_path):
    arrays = read_npz(SAMPLE)
    meta = json.loads(bytes(arrays.pop("meta_json")))
    change(arrays, meta)
    path = tmp_path / "changed.npz"
    write_arrays(path, arrays, meta)
    with pytest.raises(UserError, match=message) as refused:
        Student.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_header_that_asks_for_more_than_is_there_is_refused_unread(tmp_path):
    """Also that of an entry nobody needs: it would ask for 745 GB."""
    path = tmp_path / "greedy.npz"
    path.write_bytes(SAMPLE.read_bytes())
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }\n"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("extra.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(UserError, match="its header says 8"):
        Student.load(path)


def test_a_file_that_unpacks_to_more_than_any_student_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "LARGEST_BYTES", 10_000)
    with pytest.raises(UserError, match="GB unpacked"):
        Student.load(SAMPLE)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, positions=np.zeros((2, 3)))
    with pytest.raises(UserError, match="no entry 'meta_json'"):
        Student.load(foreign)
    np.savez(foreign, meta_json=np.frombuffer(b'{"other": 1}', np.uint8))
    with pytest.raises(UserError, match="its schema version is None"):
        Student.load(foreign)
    single = tmp_path / "single.npz"
    with open(single, "wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(UserError, match="not a student file"):
        Student.load(single)
    text = tmp_path / "text.npz"
    shutil.copy(__file__, text)
    with pytest.raises(UserError, match="not a student file"):
        Student.load(text)
    with pytest.raises(UserError, match="there is no such file"):
        Student.load(tmp_path / "absent.npz")


@pytest.mark.slow
def test_ace_jax_opens_it_as_it_is(tmp_path):
    """Energies of the written file in ace-jax agree to 1e-10 eV an atom."""
    ace_jax = pytest.importorskip("ace_jax")
    import jax

    jax.config.update("jax_enable_x64", True)
    from ace_jax.calc import ACECalculator

    student = Student.load(GOLDEN_DATA / "cuh_order3.npz")
    for path, model in ((tmp_path / "fitted.npz", student), (SAMPLE, Student.load(SAMPLE))):
        if not path.exists():
            model.save(path)
        ace_jax.load(path)
        for atoms in read(GOLDEN_DATA / "test.xyz", ":3"):
            energy, forces, _ = model.predict(atoms)
            atoms.calc = ACECalculator(str(path))
            assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10 * len(atoms))
            np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)
