"""A whole workflow of a few seconds, and the numbers of its run that no interruption may change."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from ase.io import read, write

from distill.core.input_files import resolve_file

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
TIMES = {"timing.json", "timing.csv"}


def write_workflow(folder: Path, name: str) -> Path:
    """A workflow of some ten seconds on a handful of the bundled structures, with two workers."""
    return _write(folder, name, structures=40, slab=SLAB, steps=3, parallel={"workers": 2})


def write_small_workflow(folder: Path, name: str) -> Path:
    """The same stages with as little work as there can be, in one process."""
    slab = SLAB | {"size": [1, 1]}
    return _write(folder, name, structures=12, slab=slab, steps=2, parallel={"backend": "serial"})


def _write(
    folder: Path,
    name: str,
    *,
    structures: int,
    slab: dict[str, object],
    steps: int,
    parallel: dict[str, object],
) -> Path:
    for part, count in (("train", structures), ("test", structures // 5)):
        bundled = read(resolve_file(f"bundled:h2cu_{part}"), ":")
        slabs = [a for a in bundled if str(a.info["config_type"]).startswith("h2_cu111")]
        write(folder / f"{part}.xyz", slabs[:count], format="extxyz")
    scattering = SCATTERING | {"slab": slab, "trajectories": steps, "max_time": 4 * steps}
    workflow = {
        "name": name,
        "output": str(folder / name),
        "data": {"train": "train.xyz", "test": "test.xyz"},
        "teacher": {"fraction": 0.3, "epochs": steps, "dtype": "float64", "e0": "lstsq"},
        "sampling": {
            "scattering": scattering,
            "neb": [{"slab": slab, "images": 3, "max_steps": 2, "keep": 3}],
            "selection": {"count": 4 * steps, "held_out": 2 * steps},
        },
        "student": {"backend": "native", "order": 2, "totaldegree": 2 * steps, "rcut": 4.5},
        "compare": {
            "timing": {"repeats": 3},
            "sticking": {
                "scattering": scattering,
                "teacher_trajectories": steps - 1,
                "student_trajectories": 2 * (steps - 1),
            },
            "tolerances": {"speedup": 1.0},
        },
        "parallel": parallel,
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
