"""A package beside distill adds members of three interfaces without a line changed in distill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from distill.deploy.export.base import EXPORTERS
from distill.observables.base import OBSERVABLES
from distill.sampling.method import SAMPLING_METHODS

PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Folder that the package is installed into."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", str(folder), str(PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_file_of_distill_knows_the_package() -> None:
    for path in (ROOT / "distill").rglob("*"):
        if path.suffix in {".py", ".j2", ".css", ".json"}:
            text = path.read_text(encoding="utf-8")
            assert "plugin_example" not in text and "plugin-example" not in text, path


def test_without_it_its_members_are_not_there() -> None:
    assert "thermal_displacement" not in OBSERVABLES.names()
    assert "strain" not in SAMPLING_METHODS.names()
    assert "pair_table" not in EXPORTERS.names()


@pytest.mark.slow
def test_installed_it_passes_its_own_tests(installed: Path) -> None:
    path = os.pathsep.join([str(installed), os.environ["PYTHONPATH"]])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), str(PLUGIN / "tests")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and "failed" not in done.stdout
