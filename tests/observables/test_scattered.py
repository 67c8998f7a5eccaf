"""Scattered molecules: quantum numbers, angles and energies with known answers."""

from dataclasses import asdict

import numpy as np
import pytest
from ase import Atoms, units
from surface_potentials import STICKY

from distill.models.calculators import load_calculator
from distill.observables.sticking.scattered import (
    ScatteredState,
    scattered_molecules,
    scattered_state,
    transfer_difference,
)
from distill.simulation.dynamics import ACCELERATION
from distill.simulation.rovibrational import (
    bound_level,
    diatomic_curve,
    sample_molecule,
    vibrational_number,
)
from distill.simulation.scattering import Outcome, molecular_motion


@pytest.fixture(scope="module")
def diatomic():
    return diatomic_curve("H2", load_calculator(STICKY))


def molecule(diatomic, v, j, drift, generator):
    """A molecule in a state, its centre moving at a velocity (Å/fs)."""
    positions, velocities = sample_molecule(diatomic, bound_level(diatomic, v, j), generator)
    return positions, velocities + drift


@pytest.mark.physics
@pytest.mark.parametrize(("v", "j"), [(0, 1), (1, 3), (2, 0)])
def test_a_molecule_in_a_state_has_its_quantum_numbers_at_any_phase(diatomic, v, j):
    generator = np.random.default_rng(1)
    masses = np.array(diatomic.masses)
    for _ in range(5):
        positions, velocities = molecule(diatomic, v, j, [0.0, 0.01, 0.02], generator)
        motion = molecular_motion(masses, positions, velocities)
        bond = np.linalg.norm(positions[1] - positions[0])
        energy = motion.internal_kinetic + float(diatomic.potential(bond))
        assert motion.rotation == pytest.approx(j, abs=1e-9)
        assert vibrational_number(diatomic, motion.rotation, energy) == pytest.approx(v, abs=1e-5)
        assert motion.exit_angle == pytest.approx(np.degrees(np.arctan2(0.01, 0.02)))
        speed = 0.01**2 + 0.02**2
        assert motion.translation == pytest.approx(0.5 * masses.sum() / ACCELERATION * speed)


def test_above_dissociation_there_is_no_vibration(diatomic):
    rim = float(diatomic.potential(diatomic.distances[-1]))
    assert vibrational_number(diatomic, 0.0, rim + 0.1) is None
    lowest = float(diatomic.potential(diatomic.distances).min())
    assert vibrational_number(diatomic, 0.0, lowest - 0.01) == -0.5


@pytest.mark.physics
def test_energy_that_the_molecule_lost_is_the_surfaces(diatomic):
    """In v = 1 towards the surface, in v = 0 and slower away from it."""
    generator = np.random.default_rng(2)
    before = molecule(diatomic, 1, 1, [0.0, 0.0, -0.06], generator)
    after = molecule(diatomic, 0, 3, [0.0, 0.0, 0.05], generator)
    masses = np.array(diatomic.masses)
    start = Atoms("CuH2", positions=[[0, 0, -5], *before[0]])
    start.set_masses([63.5, *masses])
    start.set_velocities(np.array([[0, 0, 0], *before[1]]) / units.fs)
    motion = molecular_motion(masses, *after)
    outcome = Outcome(
        trajectory="x",
        facet="111",
        temperature=300.0,
        v=1,
        j=1,
        energy=0.4,
        polar_angle=0.0,
        number=4,
        outcome="scattered",
        reason="",
        time=100.0,
        calls=100,
        distance=float(np.linalg.norm(after[0][1] - after[0][0])),
        height=7.2,
        lowest_height=1.0,
        energy_error=0.0,
        **asdict(motion),
    )
    state = scattered_state(start, outcome, diatomic)
    levels = bound_level(diatomic, 1, 1).energy - bound_level(diatomic, 0, 3).energy
    slower = 0.5 * masses.sum() / ACCELERATION * (0.06**2 - 0.05**2)
    assert state.energy_transfer == pytest.approx(levels + slower, abs=1e-7)
    assert (state.number, round(state.vibration), round(state.rotation)) == (4, 0, 3)


def states(numbers, transfer):
    return [ScatteredState(n, 0.2 if n % 4 else 0.9, 1.0, 10.0, transfer(n)) for n in numbers]


def test_shares_and_means_are_of_all_molecules():
    found = scattered_molecules(states(range(40), lambda n: 0.1), None, 0.95)
    assert found.molecules == 40
    assert found.vibration.shares == [0.75, 0.25]
    assert found.rotation.shares == [0.0, 1.0]
    assert found.exit_angle.values == [0.0]
    assert found.energy_transfer.value == pytest.approx(0.1)
    assert scattered_molecules([], None, 0.95) is None


def test_means_on_shared_surfaces_have_wider_intervals():
    generator = np.random.default_rng(4)
    by_surface = generator.standard_normal(8)
    molecules = states(range(400), lambda n: by_surface[n % 8])
    groups = {n: n % 8 for n in range(400)}
    shared = scattered_molecules(molecules, groups, 0.95).energy_transfer.interval
    alone = scattered_molecules(molecules, None, 0.95).energy_transfer.interval
    assert shared[1] - shared[0] > 5 * (alone[1] - alone[0])


def test_transfers_are_compared_where_both_scatter():
    teacher = states(range(10), lambda n: 0.1 * n)
    student = states(range(5, 20), lambda n: 0.1 * n - 0.03)
    found = transfer_difference(teacher, student, None, 0.95)
    assert found.value == pytest.approx(0.03)
    assert transfer_difference(teacher, states(range(20, 30), lambda n: 0.0), None, 0.95) is None
