"""Every kind of long unit goes on after a kill with what it had, and ends with the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from helpers import rattled_copper
from killed_runs import killed_after, parts_made
from spring_toys import chain

from distill.config import DiffusionConfig, PhononsConfig
from distill.core.work import Unit
from distill.models import kept_calls
from distill.observables.bulk import bulk as bulk_room
from distill.observables.diffusion import diffusion, diffusion_runs
from distill.observables.gates import gates
from distill.sampling.methods.augment import AugmentConfig, AugmentUnit
from distill.sampling.methods.rattle import RattleConfig, RattleUnit
from distill.simulation import trajectory
from distill.simulation.config import MultipleTimeStepsConfig, TrajectoryConfig
from distill.simulation.outer_step import OuterStepUnit

EMT, SPRINGS = "ase.calculators.emt:EMT", "spring_toys:Springs"
# Copper's, by EMT.
LENGTH = 3.5898
ALLOY = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=[2.7, 2.7, 3.75], pbc=True)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    monkeypatch.setattr(kept_calls, "CALLS_IN_PART", 2)
    for module in (trajectory, diffusion_runs, gates):
        monkeypatch.setattr(module, "STEPS_IN_PART", 10)


def run(folder: Path, **changes) -> Unit:
    """Of diffusion, a relaxation and forty steps before it."""
    options = {"time": 20.0, "time_step": 1.0, "save_every": 10.0, "checkpoint_every": 10.0}
    config = DiffusionConfig(equilibration_time=40.0, **options)
    named = {"role": "teacher", "model": SPRINGS, "temperature": 300.0, "number": 0, "seed": 1}
    return diffusion_runs.Run(folder, "x", start=start(), time=20.0, config=config, **named)


def start() -> Atoms:
    atoms = chain("LiFLiFLiFLiF")
    atoms.rattle(0.1, seed=1)
    return atoms


def trajectory_unit(folder: Path, ensemble: str) -> Unit:
    config = TrajectoryConfig(
        structure="preset:lif", time=20.0, equilibration_time=35.0, save_every=5.0
    )
    named = {"temperature": 300.0, "number": 0, "seed": 1, "quantity": "positions"}
    return trajectory.TrajectoryUnit(
        folder, "x", SPRINGS, start(), config, ensemble=ensemble, **named
    )


def gate(folder: Path, ensemble: str) -> Unit:
    named = {"temperature": 300.0, "time": 35.0, "time_step": 1.0, "friction": 0.01}
    return gates.RunUnit(
        folder, "x", model=SPRINGS, start=start(), ensemble=ensemble, number=0, seed=1, **named
    )


def phonons(folder: Path) -> Unit:
    config = PhononsConfig(supercell=(1, 1, 1), mesh=2, volume_points=5, max_stress=0.1)
    return bulk_room._PhononsUnit(folder, "x", EMT, bulk("Cu", a=LENGTH, cubic=True), config)


def outer_step(folder: Path) -> Unit:
    molecule = Atoms("H2", [[0, 0, 0], [0.76, 0, 0]])
    config = MultipleTimeStepsConfig(test_time=40.0, max_drift=1e6, max_energy_error=1.0)
    named = {"start": molecule, "temperature": 300.0, "time_step": 0.5, "seed": 1}
    models = {"model": "spring_toys:Bond", "student": "spring_toys:Bond"}
    return OuterStepUnit(folder, "x", candidates=(2, 3, 4), config=config, **models, **named)


def of_structure(folder: Path, kind: type, config) -> Unit:
    return kind(folder, "x", model=EMT, config=config, atoms=rattled_copper(1)[0], seed=1)


RATTLE = RattleConfig(structures="bundled:h2cu-train", copies=2, relax_steps=3)
AUGMENT = AugmentConfig(structures="bundled:h2cu-train", children=4, relax_steps=2)
UNITS = {
    "energy-volume curve": lambda folder: bulk_room.CurveUnit(
        folder, "x", EMT, bulk("Cu", cubic=True), strain=0.03, points=7
    ),
    "shape of a cell": lambda folder: bulk_room.CurveUnit(
        folder, "x", EMT, ALLOY, strain=0.03, points=7
    ),
    "elastic constants": lambda folder: bulk_room._ElasticUnit(
        folder, "x", EMT, bulk("Cu", a=LENGTH, cubic=True), strain=0.004
    ),
    "phonons": phonons,
    "volume of diffusion": lambda folder: diffusion._VolumeUnit(
        folder, "x", EMT, bulk("Cu", cubic=True)
    ),
    "run of diffusion": run,
    "run of rdf": lambda folder: trajectory_unit(folder, "nvt"),
    "run of vdos": lambda folder: trajectory_unit(folder, "nve"),
    "free run of the gates": lambda folder: gate(folder, "nve"),
    "hot run of the gates": lambda folder: gate(folder, "hot"),
    "outer step": outer_step,
    "rattled structures": lambda folder: of_structure(folder, RattleUnit, RATTLE),
    "augmented structures": lambda folder: of_structure(folder, AugmentUnit, AUGMENT),
}


def left(unit: Unit) -> tuple:
    """Files of a finished unit, and its numbers but what its clock said."""
    numbers = unit.numbers()
    if isinstance(numbers, dict):
        numbers.pop("wall_time", None)
    return {path.name: path.read_bytes() for path in unit.files()}, numbers


@pytest.mark.parametrize("kind", UNITS)
def test_a_killed_unit_goes_on_and_ends_with_the_same_numbers(kind, tmp_path):
    make = UNITS[kind]
    with parts_made() as whole:
        make(tmp_path / "whole").run()
    assert len(whole) >= 3
    before = len(whole) // 2
    with killed_after(before):
        make(tmp_path / "killed").run()
    again = make(tmp_path / "killed")
    with parts_made() as made:
        again.run()
    assert made == whole[before:]
    assert left(again) == left(make(tmp_path / "whole"))
    assert not again.parts.exists()
