"""Every option of diffusion changes the result, and repeats no more of the runs than it has to."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lattice_toys import write_crystal
from observable_tests import count_units

from distill.config import DiffusionConfig
from distill.core.work import WorkFolder
from distill.observables.diffusion.diffusion import run_diffusion

MODELS = {"teacher": "lattice_toys:CosineLattice", "student": "lattice_toys:CosineLattice"}
ALL, NEW, NONE, STUDENT = "all runs", "further runs", "no run", "the student's runs"
TEACHER = "the teacher's runs"
LOOSE = {"outer_step": 20.0, "test_time": 200.0, "max_energy_error": 1.0, "max_drift": 1e9}
# Another value of each option, and the runs that are done for it where those of OPTIONS are there.
CHANGES: dict[str, tuple[Any, str]] = {
    "structure": ("other.xyz", ALL),
    "index": (1, ALL),
    "supercell": ((2, 2, 1), ALL),
    "defect": ("vacancy", ALL),
    "element": ("F", NONE),
    "defects": (4, NONE),
    "relax_volume": (True, ALL),
    "thermal_expansion": (1e-4, ALL),
    "temperatures": ([600.0, 900.0], NEW),
    "runs": (3, NEW),
    "time": (3000.0, ALL),
    "times": ({"student": 3000.0}, STUDENT),
    "equilibration_time": (300.0, ALL),
    "equilibration_friction": (0.02, ALL),
    "ensemble": ("nve", ALL),
    "friction": (0.02, ALL),
    "time_step": (5.0, ALL),
    "save_every": (50.0, ALL),
    "checkpoint_every": (500.0, ALL),
    "fit_start": (300.0, NONE),
    "fit_end": (500.0, NONE),
    "counting": ("collective", NONE),
    "jump_length": (3.0, NONE),
    "published": ({"value": 0.5}, NONE),
    "confidence": (0.8, NONE),
    "max_temperature_ratio": (1.01, ALL),
    "max_energy_change": (1e-3, ALL),
    "melting_displacement": (1e-4, NONE),
    "engine": ("multiple_time_steps", TEACHER),
    "multiple_time_steps": (LOOSE, TEACHER),
}


@dataclass(frozen=True)
class Done:
    """A finished computation, and what it says of each model."""

    options: dict[str, Any]
    folder: Path
    models: dict[str, Any]
    runs: set[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("diffusion")
    write_crystal(folder / "other.xyz")
    bare = (folder / "other.xyz").read_text()
    filled = write_crystal(folder / "filled.xyz", filled=True)
    with open(filled, "a") as file:
        file.write(bare.replace("F ", "Li "))
    options: dict[str, Any] = {
        "structure": filled,
        "defect": "none",
        "relax_volume": False,
        "temperatures": [600.0],
        "runs": 2,
        "time": 2000.0,
        "equilibration_time": 200.0,
        "friction": 0.01,
        "time_step": 10.0,
        "save_every": 100.0,
        "checkpoint_every": 1000.0,
        "fit_start": 200.0,
        "fit_end": 600.0,
    }
    models = run(options, folder / "work")
    runs = {path.stem for path in (folder / "work" / "runs").glob("*.json")}
    return Done(options, folder / "work", models, runs)


def run(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    result = run_diffusion(DiffusionConfig(**options), MODELS, WorkFolder(folder, seed=2))
    models = {
        name: model.model_dump(exclude={"nanoseconds_per_day"})
        for name, model in result.models.items()
    }
    return models | {"published": result.settings.published}


@pytest.mark.parametrize("option", DiffusionConfig.model_fields)
def test_an_option_changes_the_result_and_repeats_only_what_depends_on_it(
    option: str, done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, repeated = CHANGES[option]
    options = {**done.options, option: value}
    if option == "structure":
        options |= {option: str(done.folder.parent / value), "defect": "interstitial"}
    if repeated == TEACHER:
        options |= {"engine": "multiple_time_steps", "multiple_time_steps": LOOSE}
    folder = shutil.copytree(done.folder, tmp_path / "work")
    made = count_units(monkeypatch)
    assert run(options, folder) != done.models
    runs = {record.stem for record in made if record.parent.name == "runs"}
    assert runs - done.runs if repeated == NEW else runs <= done.runs
    assert (
        runs & done.runs
        == {
            ALL: done.runs,
            NEW: set(),
            NONE: set(),
            STUDENT: {name for name in done.runs if name.startswith("student")},
            TEACHER: {name for name in done.runs if name.startswith("teacher")},
        }[repeated]
    )
