"""Velocity Verlet and thermal surfaces: energy, reversibility, fixed atoms, temperature."""

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from surface_potentials import MorseSurface

from distill.config import SlabConfig
from distill.simulation.dynamics import thermalise, velocity_verlet
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import build_slab


@pytest.fixture
def moving_slab():
    slab = build_slab(SlabConfig(size=(3, 3), layers=2, fixed_layers=1), "111", 3.6)
    velocities = np.random.default_rng(0).normal(0, 0.005, (len(slab), 3))
    slab.set_velocities(velocities / units.fs)
    return slab


def run(atoms, time_step, steps):
    trajectory = []
    for step in velocity_verlet(atoms, MorseSurface(), time_step):
        trajectory.append(step)
        if step.index == steps:
            return trajectory
    raise AssertionError


def test_same_trajectory_as_ase(moving_slab):
    ours = run(moving_slab, 1.0, 30)[-1]
    theirs = moving_slab.copy()
    theirs.calc = MorseSurface()
    VelocityVerlet(theirs, units.fs).run(30)
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-10)
    np.testing.assert_allclose(ours.velocities, theirs.get_velocities() * units.fs, atol=1e-10)
    assert ours.kinetic == pytest.approx(theirs.get_kinetic_energy())


@pytest.mark.physics
def test_energy_error_falls_with_the_square_of_the_step(moving_slab):
    errors = []
    for time_step in (4.0, 2.0):
        totals = [s.energy + s.kinetic for s in run(moving_slab, time_step, round(200 / time_step))]
        errors.append(np.ptp(totals))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.35)


def test_fixed_atoms_stay_and_their_forces_are_kept(moving_slab):
    last = run(moving_slab, 1.0, 20)[-1]
    mobile = mobile_atoms(moving_slab)
    assert mobile.sum() == 9
    np.testing.assert_array_equal(last.positions[~mobile], moving_slab.positions[~mobile])
    # Labels must not lose the forces on fixed atoms.
    assert np.abs(last.forces[~mobile]).max() > 1e-3


def test_one_force_call_a_step(moving_slab):
    calculator = MorseSurface()
    calls = []
    original = calculator.calculate
    calculator.calculate = lambda *args, **kw: (calls.append(1), original(*args, **kw))[1]
    for step in velocity_verlet(moving_slab, calculator, 1.0):
        if step.index == 10:
            break
    assert len(calls) == 11


@pytest.mark.physics
def test_thermal_surfaces_have_their_temperature():
    temperature = 500.0
    slab = build_slab(SlabConfig(size=(3, 3), layers=3, fixed_layers=1), "100", 3.6)
    generator, snapshots, calls = np.random.default_rng(2), [slab], 0
    for time in [400.0] + 24 * [80.0]:
        snapshot, made = thermalise(
            snapshots[-1],
            EMT(),
            temperature,
            lambda part: generator,
            time_step=4.0,
            friction=0.02,
            time=time,
        )
        snapshots.append(snapshot)
        calls += made
    del snapshots[0]
    assert calls == 101 + 24 * 21
    mobile = mobile_atoms(slab)
    kinetic = [
        np.sum(s.get_momenta()[mobile] ** 2 / s.get_masses()[mobile, None]) / (3 * mobile.sum())
        for s in snapshots
    ]
    # 25 snapshots x 54 degrees of freedom: a standard error of 4 %.
    assert np.mean(kinetic) / units.kB == pytest.approx(temperature, rel=0.12)
    np.testing.assert_array_equal(snapshots[-1].positions[~mobile], slab.positions[~mobile])
    displacements = [np.abs(s.positions - slab.positions)[mobile].max() for s in snapshots]
    assert 0.05 < np.mean(displacements) < 1.0
