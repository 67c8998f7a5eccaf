"""What the student's tests share: a coupling cache of their own and small models."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from julia_support import random_student as random_julia_student
from julia_support import small_config

from distill.core.user_cache import user_cache_folder
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.student_model import Student

FAKE = Path(__file__).parent / "fake_julia"

# The kernels' machine code stays with the user's, whatever cache folder a test sets.
os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache_folder().parent))


@pytest.fixture(scope="session", autouse=True)
def coupling_cache(tmp_path_factory):
    """Keep the tests' couplings out of the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def random_student():
    """Make a student with random coefficients: random_student(elements, order, degrees, ...)."""

    def make(elements=("Cu", "H"), totaldegree=(6.0, 5.0, 4.0), seed=0, **options):
        spec = BasisSpec(tuple(elements), len(totaldegree), tuple(totaldegree), **options)
        basis = build_basis(spec)
        generator = np.random.default_rng(seed)
        coefficients = generator.normal(size=basis.n_functions) / (1 + basis.gamma(2.0))
        e0 = {symbol: -1.5 - k for k, symbol in enumerate(elements)}
        return Student(basis=basis, coefficients=coefficients, e0=e0)

    return make


def program(path: Path, says: str = "julia version 1.12.1") -> Path:
    """A program that says its version."""
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_julia(tmp_path, monkeypatch):
    """juliacall replaced in this process and in those it starts; returns what sets a fault."""
    student = random_julia_student(small_config())
    student.save(tmp_path / "truth.npz")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Project.toml").touch()
    manifest = "[[deps.ACEpotentials]]\n[[deps.PythonCall]]\n"
    (tmp_path / "project" / "Manifest.toml").write_text(manifest)
    path = os.pathsep.join(filter(None, [str(FAKE), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(program(tmp_path / "julia_program")))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("FAKE_STUDENT", str(tmp_path / "truth.npz"))
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "record.pickle"))
    return lambda fault: monkeypatch.setenv("FAKE_FAULT", fault)
