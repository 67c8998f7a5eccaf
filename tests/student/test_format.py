"""The student file: old files stay readable, other programs open it, damage is told."""

import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from helpers import GOLDEN_DATA, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.core.errors import UserError
from distill.student.file_schema import read_arrays, write_arrays
from distill.student.student_model import Student

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
    assert student.training == {"force_rmse": 0.0123}
    assert student.provenance == {"settings": {"order": 3}}
    assert student.basis.spec.cutoff("H", "Cu") == 4.5
    atoms = Atoms(expected["symbols"], expected["positions"], cell=expected["cell"], pbc=True)
    energy, forces, virial = student.predict(atoms)
    assert energy == pytest.approx(expected["energy"], abs=1e-11)
    np.testing.assert_allclose(forces, expected["forces"], atol=1e-11)
    np.testing.assert_allclose(virial, expected["virial"], atol=1e-11)


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


@given(fraction=st.floats(0, 0.999))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_file_cut_short_is_refused(fraction, tmp_path):
    whole = SAMPLE.read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(UserError, match=r"cut\.npz"):
        Student.load(path)


@given(place=st.floats(0, 0.999), value=st.integers(0, 255))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_flipped_byte_is_refused_or_harmless(place, value, tmp_path):
    data = bytearray(SAMPLE.read_bytes())
    data[int(place * len(data))] = value
    path = tmp_path / "flipped.npz"
    path.write_bytes(bytes(data))
    try:
        student = Student.load(path)
    except UserError as error:
        assert "flipped.npz" in str(error)
    else:
        np.testing.assert_array_equal(student.coefficients, Student.load(SAMPLE).coefficients)


def _without(name):
    def change(arrays, meta):
        del arrays[name]

    return change


def _meta(**entries):
    def change(arrays, meta):
        meta.update(entries)

    return change


def _array(name, function):
    def change(arrays, meta):
        arrays[name] = function(arrays[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_meta(schema_version=2), "schema version 2"),
        (_meta(radial_kind="analytic"), "expected radial_kind 'spline', found 'analytic'"),
        (_meta(ybasis_kind="real_solidharmonics"), "ybasis_kind"),
        (_meta(pair_envelope_kind="poly1sr"), "pair_envelope_kind"),
        (_without("WB"), "WB"),
        (_without("aspec_r"), "aspec_r"),
        (_without("E0"), "E0"),
        (_array("WB", lambda a: a[:-1]), "coefficients have shapes"),
        (_array("rnl_transform", lambda a: a[..., :5]), "rnl_transform has shape"),
        (_array("rnl_transform", lambda a: a + 0.5), "not whole numbers"),
        (_array("rnl_transform", lambda a: a * [3, 1, 1, 1, 1, 1, 1]), "p > q"),
        (_array("rnl_spline_coefs", lambda a: a[..., :2]), "not there"),
        (_array("aa_spec_2", lambda a: a + 1000), "not there"),
        (_array("WB", lambda a: a * np.nan), "not finite"),
    ],
)
def test_wrong_contents_are_refused(change, message, tmp_path):
    arrays, meta = read_arrays(SAMPLE)
    del arrays["meta_json"]
    change(arrays, meta)
    write_arrays(tmp_path / "changed.npz", arrays, meta)
    with pytest.raises(UserError, match=message):
        Student.load(tmp_path / "changed.npz")


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, positions=np.zeros((2, 3)))
    with pytest.raises(UserError, match="no entry 'meta_json'"):
        Student.load(foreign)
    np.savez(foreign, meta_json=np.frombuffer(b'{"other": 1}', np.uint8))
    with pytest.raises(UserError, match="description cannot be read"):
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
