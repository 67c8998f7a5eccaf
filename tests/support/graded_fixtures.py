"""What the deployment tests share: a student of a file, and a fitted one that knows its limits."""

from __future__ import annotations

import pytest
from ase import Atoms
from helpers import SAMPLE_STUDENT, rattled_copper

from distill.config import SolverConfig, StudentConfig
from distill.student.student_model import Student

STUDENT_FILE = SAMPLE_STUDENT


@pytest.fixture(scope="session")
def student() -> Student:
    return Student.load(STUDENT_FILE)


@pytest.fixture(scope="session")
def graded_student() -> Student:
    from distill.student.fit.native_fit import fit

    config = StudentConfig(
        order=2, totaldegree=5.0, rcut=4.5, backend="native", threads=1,
        solver=SolverConfig(committee=16),
    )  # fmt: skip
    return fit(rattled_copper(8), config, seed=0).student


@pytest.fixture(scope="session")
def familiar() -> Atoms:
    """A structure of the training set of `graded_student`."""
    atoms = rattled_copper(1)[0]
    return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
