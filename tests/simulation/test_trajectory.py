"""Runs of dynamics in parts: ensembles, pairs of models, kills, what is left out."""

from pathlib import Path

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.io import write
from ase.units import fs, kB
from spring_toys import Springs, chain

from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.simulation import trajectory
from distill.simulation.config import TrajectoryConfig
from distill.simulation.trajectory import good_runs, run_trajectories, trajectory_units

SPRINGS, STIFF, RUNAWAY, FREE = (
    f"spring_toys:{name}" for name in ("Springs", "stiff_springs", "runaway", "free")
)


@pytest.fixture
def options(tmp_path) -> dict:
    """Runs of a moment of a ring of eight atoms."""
    path = tmp_path / "ring.xyz"
    write(path, chain("LiFLiFLiFLiF"), format="extxyz")
    return {
        "structure": str(path),
        "runs": 2,
        "time": 300.0,
        "equilibration_time": 100.0,
        "time_step": 2.0,
        "friction": 0.05,
        "save_every": 10.0,
    }


def units_of(options, out, models=SPRINGS, seed=1, ensemble="nvt", quantity="positions"):
    named = models if isinstance(models, dict) else {"teacher": models}
    work = WorkFolder(out, seed)
    config = TrajectoryConfig(**options)
    units = trajectory_units(config, named, work, ensemble=ensemble, quantity=quantity)
    return units, work


def frames_of(options, out, **choices) -> list[np.ndarray]:
    units, work = units_of(options, out, **choices)
    run_trajectories(units, work, "test")
    return [unit.frames() for of_model in units.values() for unit in of_model]


def test_frames_are_saved_from_the_end_of_the_equilibration_on(options, tmp_path):
    units, work = units_of(options, tmp_path / "out")
    run_trajectories(units, work, "test")
    [(unit, other)] = units.values()
    assert unit.frames().shape == (31, 8, 3)
    # The first evaluations of the equilibration and of the production are calls, too.
    assert unit.numbers() == {"problem": "", "calls": 51 + 151, "handed_over": 0}
    assert not np.allclose(unit.frames(), other.frames())
    assert list(good_runs([unit, other])) == [0, 1]
    assert not list(work.path.rglob("*.parts"))


@pytest.mark.physics
def test_the_thermostat_holds_its_temperature_and_newton_the_energy(options, tmp_path):
    long = options | {"time": 4000.0, "runs": 3}
    units, work = units_of(long, tmp_path / "nvt")
    run_trajectories(units, work, "test")
    [runs] = units.values()
    assert np.mean([run.mean_temperature() for run in runs]) == pytest.approx(300, rel=0.1)
    springs = Springs()
    atoms = chain("LiFLiFLiFLiF")
    atoms.calc = springs
    energies = []
    for unit in runs:
        for frame in unit.frames()[::10]:
            atoms.positions[:] = frame
            energies.append(atoms.get_potential_energy())
    # Equipartition: kT/2 for each of the 3 x 7 vibrations.
    assert np.mean(energies) == pytest.approx(10.5 * kB * 300, rel=0.15)
    positions = frames_of(options, tmp_path / "nve", ensemble="nve")[0]
    velocities = frames_of(options, tmp_path / "velocities", ensemble="nve", quantity="velocities")[
        0
    ]
    totals = []
    for place, speed in zip(positions, velocities, strict=True):
        atoms.positions[:] = place
        kinetic = 0.5 * np.sum(atoms.get_masses()[:, None] * (speed / fs) ** 2)
        totals.append(atoms.get_potential_energy() + kinetic)
    assert np.ptp(totals) < 0.01 * np.mean(totals)


@pytest.mark.physics
def test_half_of_the_first_kinetic_energy_turns_into_potential_energy(options, tmp_path):
    without_thermostat = options | {"friction": 1e-6, "runs": 6, "time": 600.0}
    units, work = units_of(without_thermostat, tmp_path / "out")
    run_trajectories(units, work, "test")
    [runs] = units.values()
    assert np.mean([run.mean_temperature() for run in runs]) == pytest.approx(300, rel=0.2)


def test_two_models_start_with_the_same_velocities_and_feel_the_same_noise(options, tmp_path):
    both = {"teacher": SPRINGS, "student": SPRINGS, "other": STIFF}
    frames = frames_of(options, tmp_path / "out", models=both)
    np.testing.assert_array_equal(frames[0], frames[2])
    apart = np.abs(frames[4] - frames[0]).max()
    assert 0 < apart < 0.5 * np.abs(frames[1] - frames[0]).max()


def test_more_runs_and_temperatures_repeat_nothing(options, tmp_path):
    frames_of(options, tmp_path / "out")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    assert len(made) == 4
    frames_of(options | {"runs": 3, "temperatures": [300.0, 400.0]}, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in made} == made


class Killed(BaseException):
    """A kill of the process, which no error handler sees."""


@pytest.fixture
def killed_after(monkeypatch):
    """Short parts, and a process that is killed before it computes one too many."""
    monkeypatch.setattr(trajectory, "STEPS_IN_PART", 20)
    computed, made = trajectory._computed, []

    def kill_after(limit: int | None) -> list[int]:
        made.clear()

        def dying(unit, before, index):
            if len(made) == limit:
                raise Killed
            made.append(index)
            return computed(unit, before, index)

        monkeypatch.setattr(trajectory, "_computed", dying)
        return made

    return kill_after


def test_a_killed_run_goes_on_with_its_part_and_leaves_the_same_frames(
    options, tmp_path, killed_after
):
    killed_after(None)
    whole = frames_of(options, tmp_path / "whole")
    killed_after(3)
    with pytest.raises(Killed):
        frames_of(options, tmp_path / "killed")
    made = killed_after(None)
    again = frames_of(options, tmp_path / "killed")
    # Of 8 parts of production and three before, the first run had three.
    assert made == [*range(3, 11), *range(11)]
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parts_of_other_settings_are_not_gone_on_with(options, tmp_path, killed_after):
    killed_after(3)
    with pytest.raises(Killed):
        frames_of(options, tmp_path / "out")
    made = killed_after(None)
    frames_of(options | {"friction": 0.01}, tmp_path / "out")
    assert made == [*range(11), *range(11)]


def test_every_part_feels_noise_of_its_own(options, tmp_path, killed_after):
    killed_after(None)
    every_step = options | {"save_every": 2.0, "time": 80.0}
    velocities = frames_of(every_step, tmp_path, models=FREE, quantity="velocities")[0]
    # Of free atoms all that changes the velocity is friction and noise.
    noise = velocities[1:] - np.exp(-0.05 * 2.0) * velocities[:-1]
    assert len(noise) == 40
    assert np.abs(noise[:20] - noise[20:]).max() > 0.1 * np.abs(noise).max()
    np.testing.assert_allclose(noise[:20].std(), noise[20:].std(), rtol=0.2)


def test_a_run_that_grows_too_hot_stops_and_says_so(options, tmp_path, capsys):
    units, work = units_of(options, tmp_path / "out", models=RUNAWAY)
    run_trajectories(units, work, "test")
    [runs] = units.values()
    assert good_runs(runs) == {}
    assert "temperature of" in runs[0].problem and "of part 0" in runs[0].problem
    assert "nvt_300K_00 of the teacher is left out" in capsys.readouterr().out


def test_a_student_is_followed_by_its_compiled_steps(options, tmp_path, random_student):
    student = random_student(elements=("Li", "F"), totaldegree=(4.0, 3.0))
    student.save(tmp_path / "student.npz")
    quick = options | {"time": 20.0, "equilibration_time": 4.0, "temperatures": [1.0]}
    frames = frames_of(quick, tmp_path / "out", models=str(tmp_path / "student.npz"))
    assert frames[0].shape == (3, 8, 3)


def test_held_atoms_stay_and_count_for_no_temperature(options, tmp_path):
    atoms = chain("LiFLiFLiFLiF")
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    write(tmp_path / "held.traj", atoms)
    held = options | {"structure": str(tmp_path / "held.traj"), "time": 2000.0, "runs": 3}
    units, work = units_of(held, tmp_path / "out")
    run_trajectories(units, work, "test")
    [runs] = units.values()
    np.testing.assert_allclose(runs[0].frames()[:, :4], atoms.positions[None, :4].repeat(201, 0))
    assert np.mean([run.mean_temperature() for run in runs]) == pytest.approx(300, rel=0.15)


def test_a_structure_that_is_not_there_is_refused(options):
    for name, message in (
        ("nowhere.xyz", "does not exist"),
        ("preset:nacl", "the only preset is preset:lif"),
    ):
        with pytest.raises(UserError, match=message):
            units_of(options | {"structure": name}, Path("out"))
    [runs] = units_of(options | {"structure": "preset:lif"}, Path("out"))[0].values()
    assert len(runs[0].start) == 8
