"""What the tests of the C++ engine share: the build, and files of students for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers import ROOT, SAMPLE_STUDENT

from distill.deploy.lammps_build import FOLDER_VARIABLE, LammpsBuild
from distill.student.student_model import Student


@pytest.fixture(scope="session")
def engine_build() -> LammpsBuild:
    """The C++ engine built in this checkout's `build`; skips where it cannot be."""
    from distill.deploy.lammps_build import build_lammps

    missing = [name for name in ("cmake", "make", "g++") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(ROOT / "build" / "lammps"))
        return build_lammps(quiet=True)


@pytest.fixture(scope="session")
def lmp_distill(engine_build) -> Path:
    """LAMMPS with the pair style; skips where there is no LAMMPS."""
    from distill.deploy.lammps_build import mpi_path

    if engine_build.executable is None or shutil.which("mpirun", path=mpi_path()) is None:
        pytest.skip("LAMMPS with headers and mpirun are not installed (lammps, liblammps-dev)")
    return engine_build.executable


@pytest.fixture(scope="session")
def knowing_student() -> Student:
    """A student of Cu and H of order 3 that grades structures like `alloys`."""
    from distill.student.uncertainty.uncertainty_model import with_training_deviations

    student = Student.load(SAMPLE_STUDENT)
    scatter = 0.05 * np.random.default_rng(0).normal(size=(11, len(student.coefficients)))
    student = replace(student, committee=student.coefficients * (1 + scatter))
    return with_training_deviations(student, list(alloys().values()))


def alloys() -> dict[str, Atoms]:
    """Structures of Cu and H: small cells, a slab, a triclinic cell, a cluster, one atom."""
    from ase.build import bulk, fcc111

    triclinic = bulk("Cu").repeat((2, 2, 3))
    strain = np.array([[1, 0.05, 0], [0, 1.02, 0.1], [0, 0, 1]])
    triclinic.set_cell(triclinic.cell.array @ strain, scale_atoms=True)
    cluster = bulk("Cu", cubic=True).repeat((2, 2, 1))
    cluster.set_cell([20.0, 20.0, 20.0])
    cluster.center()
    cluster.pbc = False
    found = {
        "tiny": bulk("Cu", cubic=True),
        "slab": fcc111("Cu", (3, 3, 3), vacuum=6.0, periodic=True),
        "triclinic": triclinic,
        "cluster": cluster,
    }
    for seed, atoms in enumerate(found.values()):
        atoms.rattle(0.08, seed=seed)
        atoms.symbols[::5] = "H"
    found["one atom"] = Atoms("Cu", [[5.0, 5.0, 5.0]], cell=[10.0, 10.0, 10.0], pbc=False)
    return found


@pytest.fixture
def ace_file(tmp_path) -> Callable[[Student], Path]:
    """Write a student for the C++ engine: ace_file(student)."""
    from distill.deploy.export.lammps_arrays import lammps_bytes
    from distill.deploy.export.lammps_format import lammps_arrays

    def write(student: Student, name: str = "student.ace") -> Path:
        path = tmp_path / name
        path.write_bytes(lammps_bytes(lammps_arrays(student)))
        return path

    return write
