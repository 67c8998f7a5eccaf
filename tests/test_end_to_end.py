"""The main job on a small input, as a user runs it: once, and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.io import read
from helpers import run_distill
from whole_run import numbers, write_workflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Path, str]:
    """Folder and workflow of an undisturbed run, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    workflow = write_workflow(folder, "undisturbed")
    result = run_distill("run", workflow)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, workflow, result.stdout


def test_run_ends_with_a_report_and_says_what_it_did(finished):
    folder, _, printed = finished
    assert str(folder / "undisturbed" / "report.html") in printed.splitlines()[-1]
    assert "backend native" in printed
    report = json.loads((folder / "undisturbed" / "report.json").read_text())
    assert report


def test_a_second_run_skips_every_stage(finished):
    _, workflow, _ = finished
    result = run_distill("run", workflow)
    assert result.returncode == 0
    assert result.stdout.count("skipped") == 5


def test_other_settings_stop_the_run_before_anything_is_lost(finished):
    folder, workflow, _ = finished
    before = numbers(folder / "undisturbed")
    result = run_distill("run", workflow, "--set", "student.order=3")
    assert result.returncode == 2
    assert "student.order" not in result.stdout
    assert "order: 2 -> 3" in result.stderr and "--from student" in result.stderr
    assert numbers(folder / "undisturbed") == before


def test_student_of_the_run_predicts_from_the_command_line(finished, tmp_path):
    folder, _, _ = finished
    student = folder / "undisturbed" / "student" / "student.npz"
    output = tmp_path / "out.xyz"
    result = run_distill("predict", student, folder / "test.xyz", "-o", output)
    assert result.returncode == 0, result.stderr
    assert all("predicted_energy" in atoms.info for atoms in read(output, ":"))
    assert len(read(output, ":")) == 8
    shown = run_distill("show", student)
    assert "linear ACE for Cu, H" in shown.stdout


def test_failed_check_exits_with_1_and_still_writes_the_report(finished):
    folder, workflow, _ = finished
    report = folder / "undisturbed" / "report.html"
    before = report.stat().st_mtime_ns
    impossible = ("--set", "compare.tolerances.speedup=1e9", "--from", "compare")
    result = run_distill("run", workflow, *impossible)
    assert result.returncode == 1
    assert "failed" in result.stderr
    assert report.stat().st_mtime_ns > before
