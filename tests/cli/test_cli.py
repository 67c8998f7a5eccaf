"""The command line as a user calls it: answers, exit codes, and messages without tracebacks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from helpers import SAMPLE_STUDENT, rattled_copper, run_distill
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from distill import pipeline
from distill._version import __version__
from distill.cli import doctor
from distill.cli.options import numbers, whole_numbers
from distill.cli.workflow import STAGES
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.data.structures import write_structures

SAMPLE = SAMPLE_STUDENT


@pytest.fixture
def workflow(tmp_path) -> Path:
    """A workflow on four labelled copper cells."""
    write_structures(tmp_path / "train.xyz", rattled_copper(8))
    path = tmp_path / "workflow.yaml"
    path.write_text(f"output: {tmp_path / 'run'}\ndata: {{train: train.xyz}}\n")
    return path


def assert_user_error(result, *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_help_names_the_commands_and_imports_nothing_heavy():
    code = (
        "import json, sys; from distill.__main__ import main\n"
        "try: main()\n"
        "finally: print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    for command in ("run", "teacher", "sample", "student", "compare", "predict", "timing", "julia"):
        assert re.search(rf"^. {command} +[A-Z]", result.stdout, re.MULTILINE)
    imported = {name.partition(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}
    assert imported & {"typer", "distill"} == {"typer", "distill"}
    needed = {canonicalize_name(Requirement(r).name) for r in metadata.requires("distill") or ()}
    heavy = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if needed.intersection(map(canonicalize_name, distributions))
    } - {"typer", "rich", "distill"}
    assert heavy >= {"ase", "numpy", "pydantic", "scipy", "torch", "yaml"}
    assert not imported & heavy


def test_help_of_run_lists_the_stages():
    assert [stage.name for stage in pipeline.STAGES] == list(STAGES)
    result = run_distill("run", "--help")
    assert "Last stage to run: data, teacher, sampling" in re.sub(r"[\s│]+", " ", result.stdout)


def test_version_and_unknown_commands():
    assert run_distill("--version").stdout.strip() == f"distill {__version__}"
    assert_user_error(run_distill("runn"), "No such command")
    assert_user_error(run_distill("run"), "CONFIG")


def test_doctor_says_what_is_there_and_which_stages_run():
    result = run_distill("doctor")
    assert result.returncode == 0
    assert "torch 2." in result.stdout
    for stage in ("teacher", "sampling", "student", "compare"):
        assert re.search(rf"^  {stage} +ready", result.stdout, re.MULTILINE), result.stdout
    needed = result.stdout.partition("Optional")[0]
    assert "missing" not in needed
    assert "ace-jax-coupling 0." in needed


@pytest.mark.parametrize("found", [None, "juliacall is not installed"])
def test_doctor_says_that_fits_are_native_with_and_without_julia(monkeypatch, found):
    monkeypatch.setattr("distill.student.julia.acepotentials.available", lambda: found)
    said = f"native basis and fit (ACEpotentials.jl: {found or 'ready'})"
    assert said in doctor.diagnose()


def test_doctor_says_what_is_missing_or_too_old(monkeypatch):
    stated = ["ase>=3.25", "numpy>=999", "no-such-package>=1.0", 'absent>=1; extra == "julia"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: stated)
    report = doctor.diagnose()
    assert f"numpy {np.__version__}, needs >=999" in report
    assert "no-such-package missing, needs >=1.0" in report
    assert "student   no: numpy, no-such-package missing or too old" in report
    assert 'To mend: pip install "numpy>=999" "no-such-package>=1.0"' in report


def test_init_writes_a_workflow_that_runs(tmp_path):
    path = tmp_path / "mine.yaml"
    options = ("--preset", "surface", "--train", "bundled:h2cu_train", "--foundation", "bundled")
    assert run_distill("init", path, *options).returncode == 0
    assert_user_error(run_distill("init", path, *options), "exists")
    result = run_distill("run", path, "--until", "data", "--set", f"output={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "data" / "train.xyz").exists()
    assert (tmp_path / "run" / "report.html").exists()


def test_mistakes_in_the_workflow_are_named(workflow, tmp_path):
    assert_user_error(run_distill("run", tmp_path / "no.yaml"), "no.yaml", "No such file")
    settings = ("--set", "teacher.epoch=3")
    assert_user_error(run_distill("run", workflow, *settings), "did you mean 'epochs'?")
    settings = ("--set", "data.train=missing.xyz")
    assert_user_error(run_distill("run", workflow, *settings), "missing.xyz does not exist")
    assert_user_error(run_distill("run", workflow, "--until", "nothing"), "expected one of data")
    assert_user_error(run_distill("student", workflow), "is not finished")


def test_unusable_foundation_models_are_named(workflow, tmp_path):
    damaged = tmp_path / "damaged.model"
    damaged.write_bytes(b"not a model")
    settings = ("--set", f"teacher.foundation={damaged}")
    assert_user_error(run_distill("run", workflow, *settings), "damaged.model")
    settings = ("--from", "data", "--set", "teacher.foundation=smal")
    assert_user_error(run_distill("run", workflow, *settings), "small")


def test_named_foundation_without_network_says_which_file_to_put_where(
    workflow, tmp_path, monkeypatch
):
    # A closed port stands for a network that is not there.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    result = run_distill("run", workflow, "--set", "teacher.foundation=small")
    assert_user_error(result, str(tmp_path / "cache"), "teacher.foundation")
    assert not any(p.suffix == ".model" for p in (tmp_path / "cache").rglob("*"))


def test_structures_that_the_model_does_not_know_are_named(workflow, tmp_path):
    gold = rattled_copper(1)[0]
    gold.numbers[:] = 79
    write_structures(tmp_path / "gold.xyz", [*rattled_copper(1), gold])
    out = tmp_path / "out.xyz"
    result = run_distill("predict", SAMPLE, tmp_path / "gold.xyz", "-o", out)
    assert_user_error(result, "structure 1", "Au")
    assert not out.exists()
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(SAMPLE.read_bytes()[:2000])
    result = run_distill("predict", truncated, tmp_path / "train.xyz", "-o", out)
    assert_user_error(result, "truncated.npz")


def test_report_of_something_that_is_no_run_is_refused(tmp_path):
    assert_user_error(run_distill("report", tmp_path), "is not a run folder")


def test_timing_prints_a_table(tmp_path):
    structures = rattled_copper(2)
    structures[1] *= (2, 1, 1)
    write_structures(tmp_path / "cu.xyz", structures)
    command = ("timing", SAMPLE, "--structure", tmp_path / "cu.xyz", "--repeats", "3")
    result = run_distill(*command, "--index", "1", "-o", tmp_path / "timing.json")
    assert result.returncode == 0, result.stderr
    assert "student_v1" in result.stdout
    assert read_json(tmp_path / "timing.json")["atoms"] == 8
    result = run_distill(*command, "--index", "2")
    assert_user_error(result, "holds 2 structures, expected one at index 2")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_folder_that_cannot_be_written_is_named(workflow, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert_user_error(run_distill("run", workflow), "cannot write")
    finally:
        tmp_path.chmod(0o700)


def test_lists_of_numbers_are_read_and_mistakes_in_them_named():
    assert numbers(None, "--cutoffs") == []
    assert numbers("5, 6.5", "--cutoffs") == [5.0, 6.5]
    assert whole_numbers("1,2 4", "--cores") == [1, 2, 4]
    with pytest.raises(UserError, match=r"--cutoffs: expected numbers, as 5,6\.5; found '5,x'"):
        numbers("5,x", "--cutoffs")
    for text in ("1,2.5", "nan"):
        with pytest.raises(UserError, match="--cores: expected whole numbers"):
            whole_numbers(text, "--cores")
