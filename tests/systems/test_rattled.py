"""Rattled structures: displacements and strain of the size asked for."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from distill.systems.rattled import rattled


def test_rattling_has_its_amplitude_and_strain():
    crystal = bulk("Cu", a=3.6, cubic=True).repeat(4)
    copy = rattled(crystal, np.random.default_rng(0), amplitude=0.1, strain=0.05)
    deformation = np.linalg.solve(crystal.cell.array, copy.cell.array) - np.eye(3)
    assert 1e-3 < np.abs(deformation).max() <= 0.05
    np.testing.assert_allclose(deformation, deformation.T, atol=1e-12)
    moved = copy.positions - crystal.positions @ (np.eye(3) + deformation)
    assert moved.std() == pytest.approx(0.1, rel=0.05)
    unstrained = rattled(crystal, np.random.default_rng(0), amplitude=0.1)
    np.testing.assert_array_equal(unstrained.cell.array, crystal.cell.array)


def test_what_is_not_periodic_in_all_directions_is_not_strained():
    water = molecule("H2O", vacuum=3.0)
    copy = rattled(water, np.random.default_rng(0), amplitude=0.0, strain=0.2)
    np.testing.assert_array_equal(copy.cell.array, water.cell.array)
    np.testing.assert_array_equal(copy.positions, water.positions)
