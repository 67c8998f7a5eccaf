"""The main job on a small input, as a user runs it: undisturbed, killed, resumed, skipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.io import read
from helpers import run_distill
from whole_run import assert_same, numbers, write_workflow

pytestmark = pytest.mark.slow

# A file of each stage whose appearance says that the stage is under way.
UNDER_WAY = (
    "teacher/started.json",
    "sampling/trajectories",
    "student/started.json",
    "compare/errors.json",
)


def kill_when(workflow: Path, marker: Path) -> bool:
    """Start a run and kill it and its workers as soon as `marker` is there; whether it was."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", "run", str(workflow)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not marker.exists():
        time.sleep(0.02)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return killed


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


def test_killed_at_every_stage_and_resumed_gives_the_same_numbers(finished):
    folder, _, _ = finished
    workflow = write_workflow(folder, "disturbed")
    run = folder / "disturbed"
    kills = [kill_when(workflow, run / marker) for marker in UNDER_WAY]
    assert all(kills), "the run was over before it could be killed"
    result = run_distill("run", workflow)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" in result.stdout
    expected, found = numbers(folder / "undisturbed"), numbers(run)
    assert found.keys() == expected.keys()
    for name in expected:
        if not name.endswith("started.json"):
            assert_same(found[name], expected[name], name)
    assert not list(run.rglob("*.partial*"))


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
