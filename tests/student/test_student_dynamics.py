"""Compiled molecular dynamics against the plain path, step by step."""

from itertools import islice

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.data.structures import read_structures
from distill.simulation.dynamics import langevin, velocity_verlet
from distill.student.engine import compiled_dynamics as dynamics
from distill.student.fit.native_fit import fit
from distill.student.student_model import StudentCalculator


class PlainCalculator(StudentCalculator):
    """The same calculator under another name, which the plain path evaluates step by step."""

    def __init__(self, student, **options):
        super().__init__(student, **options)
        self.lists = []

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        if not any(self.neighbours.pairs is pairs for pairs in self.lists):
            self.lists.append(self.neighbours.pairs)


@pytest.fixture(scope="module")
def student(random_student):
    """Strong short-ranged repulsion, so that atoms stay apart whatever the coefficients."""
    return random_student(("Cu", "H"), (5.0, 4.0, 3.0), seed=1, zbl=True, rcut=4.0)


@pytest.fixture
def slab():
    atoms = fcc111("Cu", (3, 3, 3), a=3.7, vacuum=6.0, periodic=True)
    atoms += Atoms("H2", atoms.positions[-1] + [[0.3, 0.2, 2.0], [1.1, 0.2, 2.2]])
    atoms.set_constraint(FixAtoms(range(9)))
    velocities = np.random.default_rng(3).normal(0, 0.02, (len(atoms), 3))
    atoms.set_velocities(velocities / units.fs)
    return atoms


def steps(atoms, calculator, count, generator=None):
    if generator is None:
        trajectory = velocity_verlet(atoms, calculator, 0.5)
    else:
        trajectory = langevin(
            atoms,
            calculator,
            time_step=0.5,
            temperature=600.0,
            friction=0.02,
            generator=generator,
        )
    return list(islice(trajectory, count + 1))


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.index == other.index
        np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-10)
        np.testing.assert_allclose(one.velocities, other.velocities, rtol=0, atol=1e-11)
        np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-8)
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        assert one.kinetic == pytest.approx(other.kinetic, abs=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("thermostat", [False, True])
def test_same_trajectory_as_the_plain_path_over_100_steps(student, slab, thermostat, threads):
    if threads == 2:
        slab = slab.repeat((2, 2, 1))
    streams = [np.random.default_rng(8) if thermostat else None for _ in range(2)]
    plain = PlainCalculator(student, skin=0.4)
    theirs = steps(slab, plain, 100, streams[0])
    ours = steps(slab, student.calculator(skin=0.4, threads=threads), 100, streams[1])
    # The list has been made anew on the way, within blocks too.
    assert 3 < len(plain.lists) < 50
    assert np.ptp([step.positions[-1] for step in theirs], axis=0).max() > 0.5
    assert_same(ours, theirs)
    np.testing.assert_array_equal(ours[-1].positions[:9], slab.positions[:9])


@pytest.mark.parametrize("thermostat", [False, True])
def test_a_trajectory_goes_on_as_if_it_had_not_stopped(student, slab, thermostat, monkeypatch):
    whole = steps(slab, student.calculator(), 60, np.random.default_rng(1) if thermostat else None)
    # Blocks of another length draw the same random numbers.
    monkeypatch.setattr(dynamics, "ROWS", 5)
    stream = np.random.default_rng(1) if thermostat else None
    first = steps(slab, student.calculator(), 25, stream)[-1]
    resumed = slab.copy()
    resumed.positions[:] = first.positions
    resumed.set_velocities(first.velocities / units.fs)
    last = steps(resumed, student.calculator(), 35, stream)[-1]
    np.testing.assert_allclose(last.positions, whole[-1].positions, rtol=0, atol=1e-11)
    np.testing.assert_allclose(last.velocities, whole[-1].velocities, rtol=0, atol=1e-12)


def test_the_start_is_not_changed_and_steps_stay_what_they_were(student, slab):
    before = slab.copy()
    trajectory = velocity_verlet(slab, student.calculator(), 0.5)
    early = [next(trajectory) for _ in range(3)]
    copies = [step.positions.copy() for step in early]
    list(islice(trajectory, 50))
    np.testing.assert_array_equal(slab.positions, before.positions)
    for step, copy in zip(early, copies, strict=True):
        np.testing.assert_array_equal(step.positions, copy)


def test_a_run_that_blows_up_gives_its_steps_and_then_an_error(student):
    atoms = bulk("Cu", cubic=True)
    atoms.set_velocities(np.full((4, 3), 1e307) * [[1], [-1], [1], [-1]])
    trajectory = velocity_verlet(atoms, student.calculator(), 10.0)
    assert next(trajectory).index == 0
    with pytest.raises(UserError, match="position"):
        list(islice(trajectory, 10))


def test_few_steps_are_taken_ahead_in_a_large_system(student):
    atoms = bulk("Cu", cubic=True)
    assert dynamics.block_length(len(atoms)) == dynamics.ROWS
    assert dynamics.block_length(10**7) == 1


@pytest.mark.physics
@pytest.mark.slow
def test_energy_of_lithium_fluoride_at_600_kelvin_does_not_drift():
    """Below 1e-5 eV/atom/ps at a time step of 0.5 fs, with a student of the bundled data."""
    config = StudentConfig(
        backend="native", order=3, totaldegree=[8.0, 6.0, 5.0], rcut=5.0, threads=1
    )
    structures = read_structures("bundled:lif_train")
    lif = fit(structures, config, seed=0).student
    atoms = bulk("LiF", "rocksalt", a=4.1, cubic=True).repeat(2)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1200, rng=np.random.default_rng(0))
    Stationary(atoms)
    # 2 ps to share the energy out, then 5 ps, of which the slope of the total energy is taken.
    picked = islice(velocity_verlet(atoms, lif.calculator(), 0.5), 4000, 14001)
    found = np.array([(step.energy + step.kinetic, step.kinetic) for step in picked])
    temperature = found[:, 1].mean() / (1.5 * units.kB * len(atoms))
    assert 450 < temperature < 750
    picoseconds = 5e-4 * np.arange(len(found))
    drift = np.polyfit(picoseconds, found[:, 0], 1)[0] / len(atoms)
    assert abs(drift) < 1e-5
    assert np.ptp(found[:, 0]) / len(atoms) < 1e-3
