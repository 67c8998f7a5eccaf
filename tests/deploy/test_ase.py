"""The student's calculator as other packages use it: copied, pickled, in threads, by path."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers import SAMPLE_STUDENT

from distill import load_calculator
from distill.student.student_model import Student

STUDENT_FILE = SAMPLE_STUDENT


def _structures(count: int) -> list[Atoms]:
    structures = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.symbols[seed % 4] = "H"
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_gives_the_same_and_stands_alone(student: Student, duplicate) -> None:
    first, second = _structures(2)
    first.calc = student.calculator(skin=0.3, threads=2)
    forces = first.get_forces()
    second.calc = duplicate(first.calc)
    assert (second.calc.threads, second.calc.neighbours.skin) == (2, 0.3)
    np.testing.assert_allclose(second.get_forces(), student.forces(second), atol=1e-12)
    np.testing.assert_array_equal(first.get_forces(), forces)


def test_threads_share_a_student(student: Student) -> None:
    structures = _structures(12)
    expected = [student.forces(atoms) for atoms in structures]

    def forces(atoms: Atoms) -> np.ndarray:
        atoms.calc = student.calculator()
        return atoms.get_forces()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(forces, structures))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_calculator_is_made_from_a_path(student: Student) -> None:
    atoms = _structures(1)[0]
    atoms.calc = load_calculator(str(STUDENT_FILE))
    assert atoms.get_potential_energy() == pytest.approx(student.energy(atoms), abs=1e-12)
