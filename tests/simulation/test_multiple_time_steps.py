"""Multiple time steps: order, reversibility, ensemble, calls, who takes a step, which step."""

from itertools import islice

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write
from helpers import rattled_copper
from pydantic import ValidationError
from spring_toys import Bond, Springs, chain

from distill.config import DiffusionConfig, MdConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.models.calculators import load_calculator
from distill.simulation import outer_step, trajectory
from distill.simulation.config import MultipleTimeStepsConfig, TrajectoryConfig
from distill.simulation.dynamics import langevin, velocity_verlet
from distill.simulation.multiple_time_steps import MultipleTimeSteps, TwoModels
from distill.simulation.outer_step import energy_test
from distill.simulation.trajectory import moved_by_engine, run_trajectories, trajectory_units

STEP = 0.25


class Counted(Bond):
    """Counts its calls, and fails on one of them."""

    def __init__(self, stiffness: float = 35.0, *, fails_on: int = 0) -> None:
        super().__init__(stiffness)
        self.calls, self.fails_on = 0, fails_on

    def calculate(self, *arguments, **options):
        self.calls += 1
        if self.calls == self.fails_on:
            raise UserError("no answer")
        super().calculate(*arguments, **options)


@pytest.fixture
def molecule() -> Atoms:
    atoms = Atoms("H2", [[0, 0, 0], [0.8, 0, 0]])
    atoms.set_velocities(np.array([[0.01, 0.02, 0], [-0.01, -0.02, 0.01]]) / units.fs)
    return atoms


def after(atoms, calculator, steps, time_step=STEP):
    """The step with this number."""
    for step in velocity_verlet(atoms, calculator, time_step):
        if step.index >= steps:
            return step
    raise AssertionError


def pair(inner_steps: int) -> MultipleTimeSteps:
    """A stiff teacher and a student that is softer by a seventh."""
    return MultipleTimeSteps(Bond(35.0), Bond(30.0), inner_steps)


def at(step, atoms: Atoms, sign: float = 1.0) -> Atoms:
    moved = atoms.copy()
    moved.positions[:] = step.positions
    moved.set_velocities(sign * step.velocities / units.fs)
    return moved


def test_it_goes_back_the_way_it_came(molecule):
    there = after(molecule, pair(4), 200)
    back = after(at(there, molecule, -1.0), pair(4), 200)
    assert np.abs(there.positions - molecule.positions).max() > 0.05
    np.testing.assert_allclose(back.positions, molecule.positions, atol=1e-10)


@pytest.mark.physics
def test_it_is_of_second_order_in_the_outer_step(molecule):
    exact = after(molecule, Bond(35.0), 1280, STEP / 64)
    errors = []
    for inner_steps in (8, 4):
        # The student's own steps are fine enough to add nothing.
        last = after(molecule, pair(16 * inner_steps), 1280, STEP / 64)
        errors.append(np.abs(last.positions - exact.positions).max())
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


@pytest.mark.parametrize("thermostat", [False, True])
def test_a_student_that_is_the_teacher_takes_the_teachers_steps(molecule, thermostat):
    def trajectory_of(calculator):
        if not thermostat:
            return velocity_verlet(molecule, calculator, STEP)
        return langevin(
            molecule,
            calculator,
            time_step=STEP,
            temperature=300.0,
            friction=0.02,
            generator=np.random.default_rng(3),
        )

    plain = list(islice(trajectory_of(Bond()), 41))
    for ours in islice(trajectory_of(MultipleTimeSteps(Bond(), Bond(), 5)), 9):
        np.testing.assert_allclose(ours.positions, plain[ours.index].positions, atol=1e-13)
        np.testing.assert_allclose(ours.velocities, plain[ours.index].velocities, atol=1e-13)
        assert ours.kinetic == pytest.approx(plain[ours.index].kinetic)
    assert ours.index == 40


@pytest.mark.physics
def test_langevin_keeps_the_teachers_ensemble_and_not_the_students(tmp_path):
    atoms = chain("LiFLiFLiFLiF")
    both = MultipleTimeSteps(Springs(5.0), Springs(3.0), 4)
    potential, kinetic = [], []
    steps = langevin(
        atoms,
        both,
        time_step=1.0,
        temperature=300.0,
        friction=0.05,
        generator=np.random.default_rng(1),
    )
    for step in islice(steps, 250, 2500):
        potential.append(step.energy)
        kinetic.append(step.kinetic)
    per_mode = 0.5 * units.kB * 300.0
    # 21 vibrations of the ring and 24 velocities; the student's ensemble would have 5/3 of it.
    assert np.mean(potential) / (21 * per_mode) == pytest.approx(1.0, abs=0.05)
    assert np.mean(kinetic) / (24 * per_mode) == pytest.approx(1.0, abs=0.05)


def test_the_teacher_is_called_once_an_outer_step(molecule):
    teacher, student = Counted(), Counted(30.0)
    steps = list(islice(velocity_verlet(molecule, MultipleTimeSteps(teacher, student, 5), STEP), 9))
    assert [step.index for step in steps] == list(range(0, 45, 5))
    assert [step.calls for step in steps] == list(range(1, 10))
    assert (teacher.calls, student.calls) == (9, 41)


def test_a_student_that_fails_on_the_way_hands_the_step_to_the_teacher(molecule):
    teacher, student = Counted(), Counted(30.0, fails_on=8)
    both = MultipleTimeSteps(teacher, student, 5)
    last = list(islice(velocity_verlet(molecule, both, STEP), 4))[-1]
    assert both.handed_over == 1
    # One for the start, one for each of two steps, five for the one in between.
    assert last.calls == teacher.calls == 8
    assert last.index == 15


def test_a_teacher_that_fails_is_not_replaced_by_the_student(molecule):
    both = MultipleTimeSteps(Counted(fails_on=3), Counted(30.0), 5)
    steps = velocity_verlet(molecule, both, STEP)
    assert [step.index for step in islice(steps, 2)] == [0, 5]
    with pytest.raises(UserError, match="no answer"):
        next(steps)


def test_a_step_outside_the_students_training_data_is_the_teachers(graded_student):
    atoms = rattled_copper(1)[0]
    atoms.set_constraint()

    def trajectory_of(max_grade: float, teacher):
        both = MultipleTimeSteps(teacher, graded_student.calculator(), 3, max_grade)
        return both, list(islice(velocity_verlet(atoms, both, 1.0), 3))

    plain = list(islice(velocity_verlet(atoms, graded_student.calculator(), 1.0), 7))
    trusted, ours = trajectory_of(1e9, graded_student.calculator())
    assert (trusted.handed_over, ours[-1].calls) == (0, 3)
    # Compiled steps of the student, corrected by itself.
    np.testing.assert_allclose(ours[-1].positions, plain[-1].positions, atol=1e-10)
    strict, ours = trajectory_of(1e-9, graded_student.calculator())
    assert (strict.handed_over, ours[-1].calls) == (2, 7)
    np.testing.assert_allclose(ours[-1].positions, plain[-1].positions, atol=1e-10)


def test_atoms_that_are_held_stay(molecule):
    from ase.constraints import FixAtoms

    molecule.set_constraint(FixAtoms([0]))
    last = after(molecule, pair(4), 100)
    np.testing.assert_array_equal(last.positions[0], molecule.positions[0])
    assert np.abs(last.positions[1] - molecule.positions[1]).max() > 0.01


@pytest.mark.physics
def test_the_test_finds_the_resonance_at_half_a_period(molecule):
    period = 2 * np.pi / np.sqrt(2 * 35.0 * units.fs**2 / molecule.get_masses()[0])
    bounds = MultipleTimeStepsConfig(max_energy_error=0.01, max_drift=50.0)

    def fault(outer_step: float) -> str:
        steps = round(outer_step / 0.05)
        options = {"time_step": 0.05, "inner_steps": steps, "time": 300.0}
        return energy_test(molecule, Bond(35.0), Bond(30.0), **options).fault(bounds)

    assert fault(period / 8) == ""
    assert "scatters by" in fault(period / 2)
    failing = energy_test(
        molecule, Counted(fails_on=3), Bond(), time_step=0.05, inner_steps=2, time=300.0
    )
    assert failing.fault(bounds) == "the run ended early: no answer"
    drifting = outer_step.EnergyTest(4.0, 1e-4, drift=0.5, drift_error=0.1, calls=9)
    assert "resonates" in drifting.fault(MultipleTimeStepsConfig())
    assert not drifting.fault(MultipleTimeStepsConfig(max_drift=0.4))


def test_outer_steps_divide_the_times_between_frames_and_of_the_equilibration():
    config = MultipleTimeStepsConfig()
    assert config.inner_steps(1.0, 20, 200) == (2, 4, 5, 10, 20)
    assert config.inner_steps(2.0, 20, 50) == (2, 5, 10)
    given = MultipleTimeStepsConfig(outer_step=5.0)
    assert given.inner_steps(1.0, 20, 200) == (5,)
    with pytest.raises(ValueError, match=r"outer_step: 5 fs.*such as 1, 2, 3, 6 fs"):
        given.inner_steps(1.0, 6, 12)
    with pytest.raises(ValueError, match="no outer step but 1 fs"):
        config.inner_steps(1.0, 7, 20)
    wrong = {"structure": "preset:lif", "engine": "multiple_time_steps", "save_every": 7.0}
    for section in (TrajectoryConfig, MdConfig, DiffusionConfig):
        with pytest.raises(ValidationError, match="no outer step"):
            section(**wrong, multiple_time_steps={"student": "x"} if section is MdConfig else {})
    with pytest.raises(ValidationError, match=r"needs multiple_time_steps\.student"):
        MdConfig(structure="preset:lif", engine="multiple_time_steps")
    with pytest.raises(ValidationError, match="nve or nvt"):
        MdConfig(structure="preset:lif", engine="multiple_time_steps", ensemble="npt")


class TestRuns:
    """Of two models through the one time loop."""

    @pytest.fixture
    def options(self, tmp_path) -> dict:
        write(tmp_path / "ring.xyz", chain("LiFLiFLiFLiF"), format="extxyz")
        return {
            "structure": str(tmp_path / "ring.xyz"),
            "runs": 2,
            "time": 120.0,
            "equilibration_time": 40.0,
            "time_step": 1.0,
            "friction": 0.05,
            "save_every": 4.0,
            "engine": "multiple_time_steps",
        }

    MODELS = {"teacher": "spring_toys:stiff_springs", "student": "spring_toys:Springs"}  # noqa: RUF012
    LOOSE = {"test_time": 40.0, "max_energy_error": 1.0, "max_drift": 1e9}  # noqa: RUF012

    def run(self, options, out):
        config = TrajectoryConfig(**options)
        work = WorkFolder(out, 1)
        models = moved_by_engine(config, self.MODELS, work, student="student", where="here")
        units_of = trajectory_units(config, models, work, ensemble="nvt", quantity="positions")
        run_trajectories(units_of, work, "test")
        return models, units_of

    def test_the_teachers_runs_cost_a_call_an_outer_step(self, options, tmp_path, capsys):
        models, runs = self.run({**options, "multiple_time_steps": self.LOOSE}, tmp_path / "out")
        assert isinstance(models["teacher"], TwoModels)
        assert models["student"] == self.MODELS["student"]
        assert "corrects the student's steps every 4 fs" in capsys.readouterr().out
        teacher, student = (runs[name, 300.0][0] for name in ("teacher", "student"))
        assert teacher.numbers() == {"problem": "", "calls": 11 + 31, "handed_over": 0}
        assert student.numbers()["calls"] == 41 + 121
        assert teacher.frames().shape == student.frames().shape == (31, 8, 3)

    def test_a_killed_run_ends_with_the_same_frames(self, options, tmp_path, monkeypatch):
        options |= {"multiple_time_steps": self.LOOSE | {"outer_step": 2.0}}
        monkeypatch.setattr(trajectory, "STEPS_IN_PART", 40)
        _, runs = self.run(options, tmp_path / "whole")
        computed, done = trajectory._computed, []

        def killed(*arguments):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(computed(*arguments))
            return done[-1]

        monkeypatch.setattr(trajectory, "_computed", killed)
        with pytest.raises(KeyboardInterrupt):
            self.run(options, tmp_path / "killed")
        monkeypatch.setattr(trajectory, "_computed", computed)
        _, again = self.run(options, tmp_path / "killed")
        for name in runs:
            for one, other in zip(runs[name], again[name], strict=True):
                np.testing.assert_array_equal(one.frames(), other.frames())

    def test_a_given_step_that_does_not_pass_is_refused(self, options, tmp_path):
        options |= {"multiple_time_steps": {"outer_step": 4.0, "max_energy_error": 1e-9}}
        with pytest.raises(UserError, match=r"here.*4 fs does not do for the teacher.*scatters"):
            self.run(options, tmp_path)

    def test_no_step_that_passes_leaves_one_correction_a_step(self, options, tmp_path):
        options |= {"multiple_time_steps": {"test_time": 40.0, "max_energy_error": 1e-12}}
        models, _ = self.run(options, tmp_path)
        assert models["teacher"].inner_steps == 1

    def test_there_has_to_be_a_student(self, options, tmp_path):
        config = TrajectoryConfig(**options)
        with pytest.raises(UserError, match="needs a model called student"):
            moved_by_engine(
                config,
                {"teacher": "spring_toys:Springs"},
                WorkFolder(tmp_path, 1),
                student="student",
                where="here",
            )

    def test_either_model_and_the_steps_are_part_of_what_a_run_is(self):
        def of(*arguments):
            return TwoModels(*arguments).fingerprint()

        base = of("a:A", "b:B", 2)
        others = [of("c:A", "b:B", 2), of("a:A", "c:B", 2), of("a:A", "b:B", 3)]
        assert all(other != base for other in others)
        assert load_calculator(
            TwoModels("spring_toys:Springs", "spring_toys:stiff_springs", 2)
        ).implemented_properties == ["energy", "forces"]
