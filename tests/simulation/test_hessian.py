"""Hessians of known potentials: order, vibrations, zero-point energy, crossover temperature."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc111
from ase.calculators.emt import EMT
from surface_potentials import DoubleWell, MorseSurface, Ridge

from distill.simulation.hessian import DISPLACEMENT, Curvature, curvature

# Wave number of H2 (Huber and Herzberg) of the Morse curve in MORSE, 1/cm.
H2_WAVE_NUMBER = 4401.2


def quantum(stiffness: float, mass: float) -> float:
    """ħ √(k/m) in eV of k in eV/Å² and m in amu."""
    return units._hbar * np.sqrt(stiffness * units._e * 1e20 / (mass * units._amu)) / units._e


def test_a_saddle_of_known_curvature():
    atoms = Atoms("H", positions=[[0, 0, 0]])
    found = curvature(atoms, DoubleWell(), [0])
    # Exact but for the quartic's 4 h² in the central difference.
    np.testing.assert_allclose(found.eigenvalues, [-4 + 4 * DISPLACEMENT**2, 1, 1], atol=1e-9)
    assert found.negative == 1
    np.testing.assert_allclose(np.abs(found.way_down), [[1, 0, 0]], atol=1e-9)
    mass = atoms.get_masses()[0]
    assert found.zero_point_energy == pytest.approx(quantum(1, mass), rel=1e-6)
    temperature = quantum(4, mass) / (2 * np.pi * units.kB)
    assert found.crossover_temperature == pytest.approx(temperature, rel=1e-3)
    assert found.calls == 6


def test_a_minimum_has_no_crossover_temperature():
    found = curvature(Atoms("H", positions=[[1, 0, 0]]), DoubleWell(), [0])
    assert found.negative == 0
    assert found.crossover_temperature is None
    mass = found.masses[0]
    expected = 0.5 * (quantum(8, mass) + 2 * quantum(1, mass))
    assert found.zero_point_energy == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("mass", [None, 2.014])
def test_the_vibration_of_hydrogen_is_the_measured_one(mass):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0.3, 0.5, 0]])
    atoms.positions[1] *= 0.7414 / np.linalg.norm(atoms.positions[1])
    if mass:
        atoms.set_masses([mass, mass])
    found = curvature(atoms, MorseSurface(), [0, 1])
    shift = np.sqrt(atoms.get_masses()[0] / (mass or atoms.get_masses()[0]))
    expected = H2_WAVE_NUMBER * units.invcm * np.sqrt(1.008 / atoms.get_masses()[0]) * shift
    assert found.quanta[-1] == pytest.approx(expected, rel=2e-3)
    # Two turns and three shifts cost nothing.
    np.testing.assert_allclose(found.eigenvalues[:5], 0, atol=4e-3)
    assert found.negative == 0


def test_the_hessian_of_some_atoms_is_a_block_of_that_of_all():
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    slab.rattle(0.05, seed=3)
    every = curvature(slab, EMT(), range(len(slab)))
    some = curvature(slab, EMT(), [5, 2])
    places = [15, 16, 17, 6, 7, 8]
    np.testing.assert_allclose(some.matrix, every.matrix[np.ix_(places, places)], atol=1e-9)
    assert np.abs(every.matrix - every.matrix.T).max() == 0
    # No energy in shifting all of it.
    np.testing.assert_allclose(every.matrix.reshape(24, 8, 3).sum(axis=1), 0, atol=1e-3)


def test_a_group_is_added_only_where_the_first_leaves_it_open():
    saddle = Atoms("H2", positions=[[0, 0, 0], [0, 4, 0]])
    assert len(curvature(saddle, Ridge(), [0], [0, 1]).atoms) == 1
    once = Ridge()
    once.a = -0.5
    found = curvature(saddle, once, [0], [0, 1])
    assert list(found.atoms) == [0, 1]
    assert found.calls == 12
    assert found.negative == 1


def test_light_atoms_bend_of_a_mode_more_than_heavy_ones():
    matrix = np.kron(np.array([[-1.0, 0.5], [0.5, -1.0]]), np.diag([1.0, 0, 0]))
    found = Curvature(np.array([0, 1]), matrix, np.array([1.0, 64.0]))
    light, heavy = np.linalg.norm(found.way_down, axis=1)
    assert light > 10 * heavy
    assert np.linalg.norm(found.way_down) == pytest.approx(1)
