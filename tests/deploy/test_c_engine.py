"""The C++ engine against the numba engine, through the C interface."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers import GOLDEN_DATA, ROOT
from lammps_fixtures import alloys
from product_forms import both_forms

from distill.core.errors import UserError
from distill.deploy.c_engine import CEngine
from distill.deploy.export.lammps_arrays import VERSION, lammps_bytes, read_lammps_file
from distill.deploy.export.lammps_format import arrays_of, lammps_arrays
from distill.student.basis.basis import build_basis
from distill.student.engine import tables
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import UncertaintyModel


@pytest.fixture
def opened(engine_build, ace_file):
    def opened(student: Student, precision: str = "double") -> CEngine:
        return CEngine(engine_build.library, ace_file(student), precision)

    return opened


def _same(engine: CEngine, student: Student, atoms: Atoms, threads: int = 1) -> None:
    expected, found = student.evaluate(atoms), engine.evaluate(atoms, threads)
    scale = 1 + np.abs(expected.forces).max(initial=0.0)
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-12 * scale)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-11 * scale)
    np.testing.assert_allclose(found.virial, expected.virial, atol=1e-10 * scale)


@pytest.mark.parametrize("name", [path.stem for path in sorted(GOLDEN_DATA.glob("cuh_order?.npz"))])
def test_a_model_of_acepotentials_has_the_same_energies_and_forces(opened, name) -> None:
    student = Student.load(GOLDEN_DATA / f"{name}.npz")
    engine = opened(student)
    assert engine.elements == student.elements
    assert engine.cutoff == student.cutoff
    for atoms in alloys().values():
        _same(engine, student, atoms)


@pytest.mark.parametrize(
    ("elements", "degrees", "options"),
    [
        (("Si",), (4.0,), {}),
        (("Li", "F"), (8.0, 7.0, 5.0, 4.5, 4.0), {"zbl": True}),
        (("Cu", "H", "O"), (5.0, 4.0), {"pair": False, "wL": 0.6}),
        (("Cu", "H"), (9.0, 9.0), {"wL": 0.7, "zbl": True}),
    ],
)
def test_any_model_has_the_same_energies_and_forces(
    opened, random_student, elements, degrees, options
) -> None:
    student = random_student(elements, degrees, seed=4, rcut=4.5, **options)
    engine, generator = opened(student), np.random.default_rng(1)
    assert engine.elements == student.elements
    for atoms in alloys().values():
        atoms.symbols = generator.choice(elements, len(atoms))
        _same(engine, student, atoms)


@pytest.mark.parametrize(
    ("elements", "degrees", "options"),
    [
        (("Si",), (9.0, 9.0, 9.0, 9.0), {"wL": 0.8}),
        (("Cu", "H"), (6.0, 6.0, 5.0, 4.0), {"wL": 0.7, "zbl": True}),
        (("Li",), (6.0, 6.0, 6.0, 6.0, 6.0), {"wL": 0.9}),
    ],
)
def test_products_by_coupled_pairs_are_the_same_products(
    engine_build, random_student, tmp_path, elements, degrees, options
) -> None:
    student = random_student(elements, degrees, rcut=4.5, **options)
    path, generator = tmp_path / "pairs.ace", np.random.default_rng(1)
    for form in both_forms(student):
        path.write_bytes(lammps_bytes(arrays_of(form)))
        engine = CEngine(engine_build.library, path)
        assert engine.elements == student.elements
        for atoms in alloys().values():
            atoms.symbols = generator.choice(elements, len(atoms))
            _same(engine, student, atoms)


@pytest.fixture
def by_pairs(knowing_student, monkeypatch) -> Student:
    """A graded student whose products are coupled pairs whatever they cost."""
    monkeypatch.setattr(tables, "WORTHWHILE", np.inf)
    basis = build_basis(knowing_student.basis.spec)
    student = replace(knowing_student, basis=basis)
    assert len(student.potential.layout.pairs.row_value) > 0
    return student


def test_threads_and_virials_of_atoms_change_nothing_else(opened, knowing_student) -> None:
    engine = opened(knowing_student)
    atoms = bulk("Cu", cubic=True).repeat((3, 2, 2))
    atoms.rattle(0.1, seed=2)
    atoms.symbols[::3] = "H"
    _same(engine, knowing_student, atoms, threads=3)
    for threads in (1, 3):
        found = engine.evaluate(atoms, threads, virials=True)
        sums = found.virial.ravel()[[0, 4, 8, 1, 2, 5, 3, 6, 7]]
        np.testing.assert_allclose(found.centroid_virial.sum(axis=0), sums, atol=1e-9)
        np.testing.assert_allclose(found.atom_virial.sum(axis=0), sums[:6], atol=1e-9)


def test_the_centroid_virials_carry_the_heat(opened, knowing_student) -> None:
    """The potential part of d/dt sum r_i E_i is sum E_i v_i + sum W_i v_i (free cluster)."""
    atoms = alloys()["cluster"]
    engine, generator = opened(knowing_student), np.random.default_rng(3)
    speeds, step = generator.normal(size=(len(atoms), 3)), 1e-4
    forces = engine.evaluate(atoms).forces

    def moment(time: float) -> np.ndarray:
        moved = atoms.copy()
        moved.positions += time * speeds
        return moved.positions.T @ engine.evaluate(moved).energies

    change = (moment(step) - moment(-step)) / (2 * step)
    # The work of the forces moves kinetic energy, whose part of the flux it is.
    change += atoms.positions.T @ np.einsum("ia,ia->i", forces, speeds)
    found = engine.evaluate(atoms, virials=True)
    xx, yy, zz, xy, xz, yz, yx, zx, zy = found.centroid_virial.T
    tensors = np.array([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])
    flux = speeds.T @ found.energies + np.einsum("abi,ib->a", tensors, speeds)
    np.testing.assert_allclose(flux, change, atol=1e-5 * np.abs(change).max())


@pytest.mark.parametrize("student", ["knowing_student", "by_pairs"])
def test_grades_are_those_of_the_uncertainty_model(opened, student, request) -> None:
    student = request.getfixturevalue(student)
    engine, model = opened(student), UncertaintyModel(student)
    for atoms in alloys().values():
        found = engine.evaluate(atoms, 2, grades=True)
        evaluation, expected = model.predict(atoms)
        np.testing.assert_allclose(found.grades, expected.grade, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.forces, evaluation.forces, atol=1e-10)


def test_a_student_without_grades_says_so(opened, random_student) -> None:
    engine = opened(random_student())
    assert not engine.graded
    with pytest.raises(UserError, match="no extrapolation grades"):
        engine.evaluate(bulk("Cu"), grades=True)


def test_mixed_precision_is_near_and_another(opened, knowing_student) -> None:
    engine = opened(knowing_student, "mixed")
    for atoms in alloys().values():
        found, expected = engine.evaluate(atoms), knowing_student.evaluate(atoms)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-4)
        np.testing.assert_allclose(found.energies, expected.energies, atol=1e-5)
    atoms = alloys()["slab"]
    differs = engine.evaluate(atoms).forces - knowing_student.evaluate(atoms).forces
    assert np.abs(differs).max() > 1e-9


def test_atoms_on_the_same_place_are_not_a_number(opened, knowing_student) -> None:
    engine = opened(knowing_student)
    species, first = np.zeros(2, np.int64), np.array([0, 1, 2])
    call, result = engine.prepared(species, first, np.array([1, 0]), np.zeros((2, 3)))
    call(1)
    assert not np.isfinite(result().energies.sum())


def test_wrong_input_is_refused_with_the_reason(opened, knowing_student) -> None:
    engine = opened(knowing_student)
    first, vectors = np.array([0, 1, 2]), np.ones((2, 3))
    for species, neighbours, reason in [
        ([0, 2], [1, 0], "atom 1 has species 2, expected -1 to 1"),
        ([0, 1], [1, 5], "neighbour 5 is no atom"),
    ]:
        call, _ = engine.prepared(np.array(species), first, np.array(neighbours), vectors)
        with pytest.raises(UserError, match=reason):
            call(1)


def test_a_damaged_or_foreign_file_is_refused_with_the_reason(
    engine_build, ace_file, knowing_student, tmp_path
) -> None:
    whole = ace_file(knowing_student).read_bytes()
    wrong = tmp_path / "wrong.ace"

    def refused(contents: bytes) -> str:
        wrong.write_bytes(contents)
        with pytest.raises(UserError):
            read_lammps_file(wrong)
        with pytest.raises(UserError) as caught:
            CEngine(engine_build.library, wrong)
        return str(caught.value)

    for place in (40, 70, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        assert "checksum" in refused(bytes(flipped))
    assert "bytes and should have" in refused(whole[:-64])
    assert f"version 9, this program reads version {VERSION}" in refused(
        whole[:8] + b"\x09" + whole[9:]
    )
    assert "not a student for LAMMPS" in refused(b"PK\x03\x04" + whole)
    assert "not a student for LAMMPS" in refused(b"")
    with pytest.raises(UserError, match="no such file"):
        CEngine(engine_build.library, tmp_path / "missing.ace")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("leaf_factor", 10**6, "leaf_factor has the number 1000000"),
        ("node_parent", 10**6, "node_parent has the number"),
        ("one_particle", -1, "one_particle has the number -1"),
        ("shell_row", 7, "shell"),
        ("node", np.nan, "not finite"),
        ("cutoff", -1.0, "a cutoff is out of bounds"),
        ("transform", 1e9, "an exponent is out of bounds"),
        ("row_count", 12, "row_count has the number 12"),
        ("parent", 10**6, "parent has the number"),
    ],
)
def test_an_index_outside_its_table_is_refused(
    engine_build, knowing_student, tmp_path, name, value, reason
) -> None:
    path = _changed(knowing_student, tmp_path, name, value)
    with pytest.raises(UserError, match=reason):
        CEngine(engine_build.library, path)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("block_first", 10**6, "block_first has the number 1000000"),
        ("block_second", -1, "block_second has the number -1"),
        ("block_target", 10**6, "block_target has the number"),
        ("target_value", 0, "a pair is written where it does not belong"),
        ("pattern_product", 1, "pattern_product is not in order"),
        ("term_product", 10**6, "term_product has the number"),
        ("back_target", 10**6, "back_target has the number"),
        ("row_size", 200, "a row of pairs is out of bounds"),
        ("entry_value", 10**6, "entry_value has the number"),
        ("term_number", np.inf, "not finite"),
        ("n_values", 0, "n_values has the number 0"),
        ("member_parent", 10**6, "member_parent has the number"),
    ],
)
def test_a_pair_outside_its_table_is_refused(
    engine_build, by_pairs, tmp_path, name, value, reason
) -> None:
    path = _changed(by_pairs, tmp_path, name, value)
    with pytest.raises(UserError, match=reason):
        CEngine(engine_build.library, path)


def _changed(student, folder, name, value) -> Path:
    arrays = {key: array.copy() for key, array in lammps_arrays(student).items()}
    arrays[name].flat[0] = value
    path = folder / "wrong.ace"
    path.write_bytes(lammps_bytes(arrays))
    return path


def test_another_shared_library_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="is not the C\\+\\+ engine"):
        CEngine(tmp_path / "libnone.so", tmp_path / "student.ace")


def test_the_example_in_c_gives_the_energy(engine_build, ace_file, knowing_student, tmp_path):
    source = ROOT / "lammps" / "examples" / "dimer.c"
    program = tmp_path / "dimer"
    folder = engine_build.library.parent
    include = ROOT / "lammps" / "include"
    subprocess.run(
        ["cc", "-std=c99", "-Wall", "-Werror", "-pedantic", source, f"-I{include}", f"-L{folder}",
         "-ldistill_ace", f"-Wl,-rpath,{folder}", "-o", program],
        check=True,
    )  # fmt: skip
    file = ace_file(knowing_student)
    done = subprocess.run([program, file, "2.3"], capture_output=True, text=True, check=True)
    dimer = Atoms("Cu2", [[0, 0, 0], [2.3, 0, 0]])
    expected = knowing_student.evaluate(dimer)
    words = done.stdout.split()
    assert float(words[1]) == pytest.approx(expected.energies.sum(), abs=1e-9)
    assert float(words[4]) == pytest.approx(expected.forces[1, 0], abs=1e-9)
    missing = subprocess.run([program, "none.ace", "2.3"], capture_output=True, text=True)
    assert missing.returncode == 1
    assert "no such file" in missing.stderr


def test_deviations_of_an_unknown_element_are_outside_the_training_data(
    opened, knowing_student
) -> None:
    record = knowing_student.training.model_copy(
        update={"largest_site_deviation": {"Cu": 1.0}, "largest_force_deviation": {"Cu": 1.0}}
    )
    engine = opened(replace(knowing_student, training=record))
    atoms = alloys()["slab"]
    grades = engine.evaluate(atoms, grades=True).grades
    assert np.isinf(grades[atoms.symbols == "H"]).all()
    assert np.isfinite(grades[atoms.symbols == "Cu"]).all()
