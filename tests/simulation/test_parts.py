"""Surfaces, trajectories and batches of them are done in parts: a kill loses a part."""

import numpy as np
import pytest
from killed_runs import killed_after, parts_made
from surface_potentials import STICKY, WALL, Wall

from distill.core.work import WorkFolder
from distill.observables.base import STUDENT
from distill.observables.sticking.trajectories import Sample
from distill.sampling.methods.scattering import TrajectoryUnit
from distill.simulation import dynamics, scattering_run
from distill.simulation.conditions import conditions
from distill.simulation.scattering import SURFACES_FOLDER, initial_conditions
from distill.simulation.scattering_run import run_trajectory
from distill.simulation.surfaces import make_surfaces
from distill.simulation.trust_bound import DEVIATION_KEY, GRADE_KEY


@pytest.fixture
def short_parts(monkeypatch):
    """Of ten steps of a surface, and of fifty of a trajectory."""
    monkeypatch.setattr(dynamics, "STEPS_IN_PART", 10)
    monkeypatch.setattr(scattering_run, "STEPS_IN_PART", 50)


def test_a_killed_surface_goes_on_with_its_part_and_is_the_same(
    scattering_config, tmp_path, short_parts
):
    config = scattering_config.model_copy(
        update={
            "surface_temperatures": [300.0],
            "snapshots": 2,
            "thermalisation_time": 70.0,
            "snapshot_interval": 30.0,
        }
    )

    def made(folder: str):
        return make_surfaces(config, model=WALL, work=WorkFolder(tmp_path / folder))

    whole = made("whole")
    # The molecule's curve, of 120 calls, is done before.
    with killed_after(12 + 3):
        made("killed")
    with parts_made() as parts:
        again = made("killed")
    # Each surface is the start of a walk of 35 steps, of which the killed one had three parts.
    assert parts == ["00003.npz", *(f"{part:05d}.npz" for part in range(4))]
    for one, other in zip(
        *(found.snapshots["111", 300.0] for found in (whole, again)), strict=True
    ):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.get_momenta(), other.get_momenta())
    assert whole.calls == again.calls
    assert not list((tmp_path / "killed").glob("*.parts"))


def test_parts_make_one_trajectory(scattering_config, tmp_path, monkeypatch):
    """What is asked of a trajectory as a whole is carried from part to part."""
    condition = conditions(scattering_config)[1]
    surfaces = make_surfaces(scattering_config, model=WALL, work=WorkFolder(tmp_path))
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)

    def ended():
        return run_trajectory(start, Wall(), scattering_config, condition, 0)

    one, structures = ended()
    monkeypatch.setattr(scattering_run, "STEPS_IN_PART", 50)
    outcome, in_parts = ended()
    parts = -(-(one.calls - 1) // 50)
    assert parts > 3
    assert outcome.calls == one.calls + parts - 1
    for name in ("outcome", "time"):
        assert getattr(outcome, name) == getattr(one, name)
    for name in ("lowest_height", "translation", "rotation", "height"):
        assert getattr(outcome, name) == pytest.approx(getattr(one, name), rel=1e-8)
    # The energy of the step between two parts is left out of the mean of many.
    assert outcome.energy_error == pytest.approx(one.energy_error, rel=0.05)
    assert [atoms.info["step"] for atoms in in_parts] == [
        atoms.info["step"] for atoms in structures
    ]
    for atoms, other in zip(in_parts, structures, strict=True):
        np.testing.assert_allclose(atoms.positions, other.positions, atol=1e-8)
        assert atoms.info["height_A"] == pytest.approx(other.info["height_A"], abs=1e-8)


def test_a_killed_trajectory_goes_on_with_its_part_and_leaves_the_same_file(
    scattering_config, tmp_path, short_parts
):
    condition = conditions(scattering_config)[1]
    surfaces = tmp_path / SURFACES_FOLDER
    make_surfaces(scattering_config, model=STICKY, work=WorkFolder(surfaces))

    def unit(folder: str) -> TrajectoryUnit:
        return TrajectoryUnit(
            tmp_path / folder, "one", STICKY, scattering_config, condition, 0, 1, surfaces, "x"
        )

    whole, again = unit("whole"), unit("killed")
    whole.run()
    with killed_after(2):
        unit("killed").run()
    with parts_made() as made:
        again.run()
    assert made[0] == "00002.npz"
    assert again.structures_path.read_bytes() == whole.structures_path.read_bytes()
    assert again.outcome() == whole.outcome()
    assert not again.parts.exists()


def test_a_killed_batch_of_trajectories_keeps_those_that_ended(
    scattering_config, tmp_path, monkeypatch
):
    condition = conditions(scattering_config)[1]

    def batch(folder: str):
        work = WorkFolder(tmp_path / folder)
        surfaces = make_surfaces(scattering_config, model=STICKY, work=work.sub(SURFACES_FOLDER))
        sample = Sample(STUDENT, STICKY, scattering_config, condition, surfaces, work)
        sample.extend(4)
        [unit] = sample.units
        return unit

    whole = batch("whole")
    whole.run()
    assert [end["outcome"]["number"] for end in whole.numbers()] == [0, 1, 2, 3]
    run, ran = scattering_run.run_trajectory, []

    def counted(start, model, config, condition, number, **options):
        if number == 2 and 2 not in ran:
            ran.append(number)
            raise KeyboardInterrupt
        ran.append(number)
        return run(start, model, config, condition, number, **options)

    monkeypatch.setattr("distill.observables.sticking.trajectories.run_trajectory", counted)
    killed = batch("killed")
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    killed.run()
    assert ran == [0, 1, 2, 2, 3]
    assert killed.numbers() == whole.numbers()
    assert not killed.parts.exists()


def test_structures_keep_the_grades_by_which_they_were_trusted(
    scattering_config, tmp_path, short_parts
):
    """They are not graded again where candidates are chosen."""

    class ByTime:
        seen = 0

        def reason_to_stop(self, atoms) -> str:
            self.seen += 1
            atoms.info |= {GRADE_KEY: self.seen / 10, DEVIATION_KEY: 0.5}
            return "far" if self.seen == 15 else ""

    condition = conditions(scattering_config)[1]
    surfaces = make_surfaces(scattering_config, model=WALL, work=WorkFolder(tmp_path))
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    outcome, structures = run_trajectory(
        start, Wall(), scattering_config, condition, 0, trust=ByTime(), parts=tmp_path / "x.parts"
    )
    assert (outcome.outcome, outcome.reason) == ("cut", "far")
    assert len(list((tmp_path / "x.parts").iterdir())) == 3
    grades = [atoms.info[GRADE_KEY] for atoms in structures]
    np.testing.assert_allclose(grades, np.arange(1, 16) / 10)
    assert {atoms.info[DEVIATION_KEY] for atoms in structures} == {0.5}
