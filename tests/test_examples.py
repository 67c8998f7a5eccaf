"""The example scripts run, as a user runs them, and print their results."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers import ROOT

SAID = {
    "fit_student": r"RMSE of forces \d+ meV/Å",
    "md_in_ase": r"[56]\d\d K over the last .*\nlargest extrapolation grade \d",
    "own_observable": r"(Cu\(\d+\): 0\.0\d+ and 0\.0\d+ eV/Å²\n){3}",
    "sticking": r"S0 = 0\.\d\d \(0\.\d\d to 0\.\d\d\)",
}


def test_every_example_is_run() -> None:
    assert set(SAID) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_prints_its_result(name: str, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAID[name], done.stdout), done.stdout
