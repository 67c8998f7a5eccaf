"""Machine code is kept, and never outlives the sources it was made from."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from distill.student.engine.kernels import compile as kernel_compiler

KERNELS = Path("distill") / "student" / "engine" / "kernels"
# A kernel of one file that calls one of another.
CALLER = """
from distill.student.engine.kernels.compile import compiled
from distill.student.engine.kernels.pair_kernels import core_energy


@compiled
def energy_of_a_pair(core, vectors, geometry):
    return core_energy(core, 0, 1, vectors, geometry)
"""
RUN = """
import numpy as np
from distill.student.engine.kernels.caller_kernels import energy_of_a_pair
from distill.student.engine.kernels.zbl import core_parameters

vectors = np.zeros(24)
vectors[0] = 1.2
print(energy_of_a_pair(core_parameters(["Cu"])[0], vectors, np.zeros(56)))
print(sum(energy_of_a_pair.stats.cache_hits.values()))
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the package; returns a function that runs the kernel of `RUN` in it."""
    only_code = shutil.ignore_patterns("__pycache__", "bundled", "templates")
    shutil.copytree(ROOT / "distill", tmp_path / "distill", ignore=only_code)
    (tmp_path / KERNELS / "caller_kernels.py").write_text(CALLER)
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip

    def run():
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        energy, hits = done.stdout.split()
        return float(energy), int(hits)

    return run


def test_an_edited_kernel_is_compiled_anew_into_those_of_other_files(checkout, tmp_path):
    energy, hits = checkout()
    assert energy > 0.1
    assert hits == 0
    edited = tmp_path / KERNELS / "pair_kernels.py"
    text = edited.read_text()
    line = "value = 0.5 * core[0] / r"
    assert text.count(line) == 1
    edited.write_text(text.replace(line, "value = 50.0 * core[0] / r"))
    assert checkout() == (pytest.approx(100 * energy), 0)
    edited.write_text(text)
    assert checkout() == (energy, 1)
    assert len(list((tmp_path / "cache" / "distill" / "kernels").iterdir())) == 2


def test_constants_and_fields_that_are_compiled_in_count_too(tmp_path):
    shutil.copytree(ROOT / KERNELS, tmp_path / "kernels")
    before = kernel_compiler.source_hash(tmp_path / "kernels")
    for name in ("zbl.py", "kernel_arguments.py", "simd.py"):
        with (tmp_path / "kernels" / name).open("a") as file:
            file.write("# another\n")
        after = kernel_compiler.source_hash(tmp_path / "kernels")
        assert after != before
        before = after


def test_kernels_use_nothing_that_the_hash_does_not_cover():
    for path in (ROOT / KERNELS).glob("*.py"):
        if path.name == "compile.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("distill"):
                assert node.module.startswith("distill.student.engine.kernels."), path


def test_no_other_machine_code_is_kept():
    for path in (ROOT / "distill").rglob("*.py"):
        assert "cache=True" not in path.read_text(), path


def test_machine_code_that_nothing_used_for_long_is_removed(tmp_path):
    names = {"used": "0" * 32, "unused": "a" * 32, "another's": "notes"}
    for name in names.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.nbc").touch()
    for name in (names["unused"], names["another's"]):
        os.utime(tmp_path / name, (0, 0))
    kernel_compiler.remove_unused(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names["used"], names["another's"]}


def test_without_a_folder_to_write_to_kernels_are_compiled_each_time(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(kernel_compiler, "_places", lambda: iter([tmp_path / "file" / "kernels"]))
    monkeypatch.setattr(kernel_compiler, "_FOLDER", kernel_compiler._cache_folder())
    assert "set NUMBA_CACHE_DIR" in capsys.readouterr().out

    @kernel_compiler.compiled
    def double(x):
        return 2 * x

    assert double(1.5) == 3.0
