"""What the C++ engine is built with."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest

from distill.deploy.lammps_build import mpi_path


class File(PurePosixPath):
    """A file of a wheel."""

    def locate(self) -> Path:
        return Path(self)


@pytest.fixture
def environment(tmp_path, monkeypatch) -> Path:
    """The folder of an active environment, first on the path."""
    folder = tmp_path / "env" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), "/usr/bin", "/bin"]))
    return folder


def test_an_mpi_that_came_with_a_wheel_is_not_that_of_lammps(environment, monkeypatch) -> None:
    files = {"mpich": [File(environment / "mpicxx"), File(environment / "mpirun")]}
    monkeypatch.setattr(metadata, "files", files.get)
    assert mpi_path() == os.pathsep.join(["/usr/bin", "/bin"])


def test_any_other_mpi_is_found_in_the_environment(environment, monkeypatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    assert mpi_path() == os.environ["PATH"]
