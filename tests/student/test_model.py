"""The student as users call it: agreement with Julia, many structures, refused input."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from helpers import GOLDEN_DATA

from distill.core.errors import UserError
from distill.student.student_model import Student

GOLDEN = [
    ("cuh_order3", "test.xyz", "cuh_order3_test_predictions"),
    ("cuh_order3", "slab56.xyz", "cuh_order3_slab56_predictions"),
    ("cuh_order4", "slab56.xyz", "cuh_order4_slab56_predictions"),
]


@pytest.mark.parametrize(("model", "structures", "predictions"), GOLDEN)
def test_predictions_are_those_of_julia(model, structures, predictions, tmp_path):
    golden = GOLDEN_DATA
    student = Student.load(golden / f"{model}.npz")
    student.save(tmp_path / "copy.npz")
    expected = np.load(golden / f"{predictions}.npz")
    for read_back in (student, Student.load(tmp_path / "copy.npz")):
        for i, atoms in enumerate(read(golden / structures, ":")):
            energy, forces, virial = read_back.predict(atoms)
            assert abs(energy - expected[f"E{i}"]) / len(atoms) < 1e-11
            assert np.abs(forces - expected[f"F{i}"]).max() < 1e-9
            assert np.abs(virial - expected[f"V{i}"]).max() < 1e-9


def test_many_structures_keep_their_order(random_student):
    student = random_student()
    structures = [bulk("Cu", a=3.5 + 0.01 * k, cubic=True) for k in range(7)]
    one_by_one = [student.energy(atoms) for atoms in structures]
    for threads in (1, 3):
        found = [energy for energy, _, _ in student.predict_many(structures, threads=threads)]
        assert found == one_by_one


def test_descriptors_sum_to_the_energy(random_student):
    student = random_student()
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[1] = "H"
    descriptors = student.descriptors(atoms)
    assert descriptors.shape == (4, student.basis.n_functions)
    one_body = [student.e0[symbol] for symbol in atoms.symbols]
    np.testing.assert_allclose(
        descriptors @ student.coefficients + one_body, student.energies(atoms), atol=1e-12
    )
    # an atom has functions of its own element only
    for index, symbol in enumerate(student.elements):
        own = np.isin(np.arange(descriptors.shape[1]), student.basis.columns_of(index))
        assert not descriptors[np.ix_(atoms.symbols == symbol, ~own)].any()


def test_another_coefficient_vector_on_the_same_basis(random_student):
    student = random_student()
    atoms = bulk("Cu", cubic=True)
    doubled = Student(student.basis, 2 * student.coefficients, student.e0)
    one_body = 4 * student.e0["Cu"]
    assert doubled.energy(atoms) - one_body == pytest.approx(2 * (student.energy(atoms) - one_body))


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("CuO", [[0, 0, 0], [0, 0, 2]]), "the structure has O"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, np.nan]]), "atom 1 .Cu. has position"),
        (Atoms("Cu2", [[0, 0, 0], [0, np.inf, 0]]), "atom 1 .Cu. has position"),
        (Atoms("CuH", [[1, 1, 1], [1, 1, 1]]), "atoms 0 and 1 lie on the same place"),
        (Atoms("Cu", cell=[3, 3, 0], pbc=True), "without a cell vector"),
        (Atoms("Cu", cell=[3, 3, np.nan], pbc=True), "not finite"),
    ],
)
def test_bad_structures_are_refused(atoms, message, random_student):
    student = random_student()
    with pytest.raises(UserError, match=message):
        student.predict(atoms)
    with pytest.raises(UserError, match=f"structure 1: .*{message}"):
        student.predict_many([Atoms("Cu"), atoms], threads=2)
    with pytest.raises(UserError, match=message):
        student.descriptors(atoms)


def test_a_student_shows_itself_in_one_line(random_student, graded_student):
    student = random_student(("Cu", "H"), (5.0, 4.0, 3.5), rcut=4.5)
    n = student.basis.n_functions
    assert repr(student) == (
        f"Student(Cu, H; order 3, {n} functions, cutoff 4.5 Å, no committee, not graded)"
    )
    assert repr(student.basis) == f"Basis(Cu, H; order 3, {n} functions, cutoff 4.5 Å)"
    assert repr(graded_student).endswith("cutoff 4.5 Å, committee of 16, graded)")


def test_impossible_students_are_refused(random_student):
    student = random_student()
    n = student.basis.n_functions
    with pytest.raises(UserError, match="expected"):
        Student(student.basis, np.zeros(n - 1), student.e0)
    with pytest.raises(UserError, match="not finite"):
        Student(student.basis, np.full(n, np.nan), student.e0)
    with pytest.raises(UserError, match=r"one-body energy .* for H"):
        Student(student.basis, np.zeros(n), {"Cu": 0.0})
