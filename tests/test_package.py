"""What is installed holds everything that is needed: built, unpacked and used."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT

USE = """
import json, sys
sys.path.insert(0, {folder!r})
import distill
from distill.core.input_files import bundled_data
from distill.models.mace.bundled_foundation import bundled_foundation_path
from distill.student.julia.julia_worker import julia_package
files = [distill.__file__, bundled_data("lif_test"), bundled_foundation_path(), julia_package()]
print(json.dumps([str(file) for file in files]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory) -> Path:
    """The contents of the wheel."""
    folder = tmp_path_factory.mktemp("installed").resolve()
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_wheel_holds_the_package_with_the_julia_and_the_cpp_sources(unpacked: Path) -> None:
    others = {f"{top}/{name}" for top in ("julia", "lammps") for name in _files(ROOT / top)}
    assert _files(unpacked / "distill") == _files(ROOT / "distill") | others | {"juliapkg.json"}
    assert {"py.typed", "data/bundled/h2cu_train.xyz", "report/templates/report.css"} <= _files(
        unpacked / "distill"
    )
    assert [path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"] == ["distill"]


def test_julia_finds_its_package_in_a_checkout_and_in_a_wheel(unpacked: Path) -> None:
    for folder in (ROOT, unpacked / "distill"):
        declared = json.loads((folder / "juliapkg.json").read_text())
        place = folder / declared["packages"]["DistillACE"]["path"]
        assert (place / "src" / "DistillACE.jl").is_file()


def test_an_installed_wheel_finds_its_own_files(unpacked: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", USE.format(folder=str(unpacked))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [Path(file) for file in json.loads(done.stdout)]
    assert all(file.exists() and file.is_relative_to(unpacked) for file in found), found


def test_sources_can_be_tested_and_built_again(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    needed = {
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "constraints.txt",
        "distill/py.typed",
        "docs/internals.md",
        "julia/src/DistillACE.jl",
        "juliapkg.json",
        "pyproject.toml",
        "tests/conftest.py",
    }
    assert needed <= names
    assert not {name for name in names if "cache" in name.split("/")[0]}
