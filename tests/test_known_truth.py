"""The whole workflow on a crystal whose truth is known, and on changes of mind about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.units import GPa

from distill.config import RunConfig
from distill.core.artifacts import read_json
from distill.core.errors import ChecksFailed
from distill.core.results import read_result
from distill.core.work import Unit
from distill.data.structures import set_labels, write_structures
from distill.observables.bulk.result import BulkResult
from distill.pipeline import run_pipeline

pytestmark = pytest.mark.slow

DEPTH, WIDTH, BOND = 0.35, 1.35, 2.55
# Of the first neighbours alone: the second are beyond the cutoff, which is switched so slowly that
# a student of low degree can follow.
MORSE = {"epsilon": DEPTH, "r0": BOND, "rho0": WIDTH * BOND, "rcut1": 1.1, "rcut2": 1.38}
LENGTH = float(np.sqrt(2) * BOND)
# Six bonds an atom at the bottom of their well, r³/√2 the volume of one: B = V E''(V).
MODULUS = float(24 / (9 * np.sqrt(2)) * DEPTH * WIDTH**2 / BOND / GPa)


def labelled(count: int, seed: int) -> list[Atoms]:
    """Rattled and strained cells, and a free atom, with the potential's labels."""
    generator = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk("Cu", a=LENGTH * generator.uniform(0.98, 1.02), cubic=True)
        atoms.positions += generator.normal(scale=0.05, size=atoms.positions.shape)
        structures.append(atoms)
    structures.append(Atoms("Cu", cell=[12, 12, 12], pbc=True))
    for atoms in structures:
        atoms.calc = MorsePotential(**MORSE)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress() if len(atoms) > 1 else None
        atoms.calc = None
        set_labels(atoms, energy=energy, forces=forces, stress=stress)
        atoms.info["config_type"] = "crystal"
    return structures


def workflow(folder: Path, **changes: Any) -> RunConfig:
    """Morse as the reference and the teacher; changes are by dotted key."""
    morse = {"path": "ase.calculators.morse:MorsePotential", "args": MORSE}
    crystal = str(folder / "crystal.xyz")
    dynamics = {
        "structure": crystal,
        "supercell": (2, 2, 2),
        "temperatures": [300.0, 600.0],
        "time": 240.0,
        "equilibration_time": 80.0,
        "time_step": 4.0,
        "save_every": 16.0,
    }
    values: dict[str, Any] = {
        "output": str(folder / "run"),
        "data": {"train": str(folder / "train.xyz"), "test": str(folder / "test.xyz")},
        "reference": morse,
        "teacher": {"calculator": morse},
        "sampling": {
            "md": [dynamics],
            "rattle": [{"structures": crystal, "copies": 8, "amplitude": 0.05, "strain": 0.03}],
            "selection": {"count": 14, "held_out": 6},
        },
        "student": {"backend": "native", "order": 2, "totaldegree": 12, "rcut": 4.2},
        "compare": {
            "timing": None,
            "reference_student": False,
            "bulk": {
                "structure": crystal,
                "elastic": False,
                "reference": {"lattice_constant": LENGTH, "bulk_modulus_GPa": MODULUS},
            },
            "tolerances": {
                "teacher_lattice_constant": 1e-3,
                "teacher_bulk_modulus": 0.05,
                "purpose_lattice_constant": 3e-3,
                "purpose_bulk_modulus": 0.15,
            },
        },
        "parallel": {"backend": "serial"},
    }
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = values
        for name in sections:
            section = section[int(name)] if isinstance(section, list) else section[name]
        section[last] = value
    return RunConfig.model_validate(values)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with data and a finished run."""
    folder = tmp_path_factory.mktemp("blind")
    write_structures(folder / "train.xyz", labelled(16, seed=0))
    write_structures(folder / "test.xyz", labelled(8, seed=1))
    write_structures(folder / "crystal.xyz", [bulk("Cu", a=3.5, cubic=True)])
    run_pipeline(workflow(folder))
    return folder


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Units that run from here on, as FOLDER/NAME."""
    names: list[str] = []
    run = Unit.run

    def counted(unit: Unit) -> None:
        names.append(f"{unit.folder.name}/{unit.name}")
        run(unit)

    monkeypatch.setattr(Unit, "run", counted)
    return names


@pytest.mark.physics
def test_intervals_hold_the_crystal_that_is_known(project) -> None:
    result = read_result(project / "run" / "compare" / "bulk.json", BulkResult)
    for level in ("reference", "teacher"):
        curve = result.models[level].equation_of_state
        low, high = curve.lattice_constant_interval
        assert low <= LENGTH <= high
        assert curve.lattice_constant == pytest.approx(LENGTH, abs=1e-3)
        low, high = curve.bulk_modulus_GPa_interval
        assert low <= MODULUS <= high


@pytest.mark.physics
def test_teacher_and_student_are_right_about_it(project) -> None:
    verdict = read_json(project / "run" / "compare" / "verdict.json")
    answers = {found["question"]: found["answer"] for found in verdict["answers"]}
    assert answers["teacher"] == answers["purpose"] == "yes"
    judged = {check["name"] for check in verdict["checks"] if check["passed"] is not None}
    assert "lattice constant, student − given values, relative" in judged
    assert "bulk modulus, teacher − reference, relative" in judged


def test_a_wrong_published_value_is_noticed(project) -> None:
    wrong = {"lattice_constant": 1.01 * LENGTH, "bulk_modulus_GPa": MODULUS}
    with pytest.raises(ChecksFailed, match=r"lattice constant, teacher − given values"):
        run_pipeline(workflow(project, compare__bulk__reference=wrong), first="compare")


@pytest.mark.parametrize(
    ("changes", "dynamics"),
    [
        ({"sampling__md__0__temperatures": [300.0, 600.0, 450.0]}, 1),
        ({"sampling__selection__method": "fps"}, 0),
    ],
    ids=["a temperature more", "another selection"],
)
def test_a_change_of_mind_repeats_nothing_of_the_teacher(project, made, changes, dynamics) -> None:
    run_pipeline(workflow(project, **changes), first="sampling", last="student")
    folders = [name.split("/")[0] for name in made]
    assert folders.count("md") == dynamics
    assert not {"rattle", "labels", "training", "calculator"} & set(folders)


def test_what_comes_back_is_there(project, made) -> None:
    run_pipeline(workflow(project), first="sampling", last="student")
    run_pipeline(workflow(project, student__totaldegree=8), first="student", last="student")
    made.clear()
    run_pipeline(workflow(project), first="student")
    assert made == []
