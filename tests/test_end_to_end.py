"""The main job on a small input, as a user runs it: undisturbed, killed, resumed, skipped."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from ase.io import read, write
from helpers import run_distill

from distill.core.input_files import resolve_file

pytestmark = pytest.mark.slow

SLAB = {"size": [2, 2], "layers": 3, "fixed_layers": 1, "vacuum": 12.0}
SCATTERING = {
    "slab": SLAB,
    "facets": ["111"],
    "surface_temperatures": [300],
    "states": [[0, 1]],
    "collision_energies": [0.5],
    "trajectories": 3,
    "start_height": 2.5,
    "time_step": 0.5,
    "max_time": 12,
    "thermalisation_time": 20,
    "surface_time_step": 4.0,
    "snapshots": 2,
    "snapshot_interval": 8,
}
# A file of each stage whose appearance says that the stage is under way.
UNDER_WAY = (
    "teacher/started.json",
    "sampling/trajectories",
    "student/started.json",
    "compare/errors.json",
)
TIMES = {"timing.json", "timing.csv"}


def write_workflow(folder: Path, name: str) -> Path:
    """A workflow of a few seconds on a handful of the bundled structures."""
    for part, count in (("train", 40), ("test", 8)):
        structures = read(resolve_file(f"bundled:h2cu_{part}"), ":")
        slabs = [a for a in structures if str(a.info["config_type"]).startswith("h2_cu111")]
        write(folder / f"{part}.xyz", slabs[:count], format="extxyz")
    workflow = {
        "name": name,
        "output": str(folder / name),
        "data": {"train": "train.xyz", "test": "test.xyz"},
        "teacher": {"fraction": 0.3, "epochs": 3, "dtype": "float64", "e0": "lstsq"},
        "sampling": {
            "scattering": SCATTERING,
            "neb": [{"slab": SLAB, "images": 3, "max_steps": 2, "keep": 3}],
            "selection": {"count": 12, "held_out": 6},
        },
        "student": {"backend": "native", "order": 2, "totaldegree": 6, "rcut": 4.5},
        "compare": {
            "timing": {"repeats": 3},
            "sticking": {
                "scattering": SCATTERING,
                "teacher_trajectories": 2,
                "student_trajectories": 4,
            },
            "tolerances": {"speedup": 1.0},
        },
        "parallel": {"workers": 2},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(workflow))
    return path


def numbers(run: Path) -> dict[str, object]:
    """Contents of every JSON, CSV and structure file that must not depend on interruptions."""
    found: dict[str, object] = {}
    for path in sorted([*run.glob("*/*"), *run.glob("compare/predictions/*.xyz")]):
        if path.suffix == ".json" and path.name not in TIMES | {"manifest.json", "verdict.json"}:
            found[str(path.relative_to(run))] = without_times(json.loads(path.read_text()))
        elif path.suffix == ".csv" and path.name not in TIMES | {"history.csv"}:
            rows = csv.reader(path.read_text().splitlines())
            found[str(path.relative_to(run))] = [[as_number(cell) for cell in row] for row in rows]
        elif path.suffix == ".xyz":
            found[str(path.relative_to(run))] = path.read_text()
    return found


def as_number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def assert_same(found: object, expected: object, place: str) -> None:
    """Equal but for rounding: torch's single precision differs in the eighth digit by what a
    process computed before."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), place
        for key in expected:
            assert_same(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), place
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{place}/{index}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9), place
    else:
        assert found == expected, place


def without_times(value: object) -> object:
    """The value without entries that name seconds, hashes of files with times, or folders."""
    if isinstance(value, dict):
        return {
            key: without_times(inner)
            for key, inner in value.items()
            if not any(word in key for word in ("seconds", "time", "sha256", "path", "memory"))
        }
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    return value


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


def test_second_run_skips_every_stage_at_once(finished):
    _, workflow, _ = finished
    start = time.monotonic()
    result = run_distill("run", workflow)
    assert result.returncode == 0
    assert result.stdout.count("skipped") == 5
    assert time.monotonic() - start < 30


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
