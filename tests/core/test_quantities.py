"""Voigt's order, symmetric parts of nine numbers, and the signs of stress and virial."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from distill.core.quantities import (
    full_matrix,
    six_components,
    stress_from_virial,
    virial_from_stress,
    voigt,
)

MATRIX = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
SIX = np.arange(1.0, 7.0)


def test_six_components_stand_in_the_order_of_voigt_and_of_ase():
    np.testing.assert_array_equal(voigt(MATRIX), SIX)
    np.testing.assert_array_equal(full_matrix(SIX), MATRIX)
    np.testing.assert_array_equal(voigt(MATRIX), full_3x3_to_voigt_6_stress(MATRIX))
    np.testing.assert_array_equal(full_matrix(SIX), voigt_6_to_full_3x3_stress(SIX))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_the_round_trip_keeps_any_number_of_matrices(shape):
    six = np.random.default_rng(0).normal(size=(*shape, 6))
    assert full_matrix(six).shape == (*shape, 3, 3)
    np.testing.assert_array_equal(voigt(full_matrix(six)), six)


def test_nine_numbers_count_by_their_symmetric_part():
    askew = MATRIX.copy()
    askew[0, 1], askew[1, 0] = 5.5, 6.5
    for given in (askew, askew.ravel(), askew.tolist()):
        np.testing.assert_array_equal(six_components(given), SIX)
    np.testing.assert_array_equal(six_components(SIX), SIX)


@pytest.mark.parametrize("size", [1, 3, 7, 12])
def test_any_other_number_of_components_is_refused(size):
    with pytest.raises(ValueError, match=f"expected 6 or 9 numbers .* found {size}"):
        six_components(np.zeros(size))


def test_a_virial_has_the_other_sign_and_the_volume():
    np.testing.assert_allclose(virial_from_stress([0.1, -0.2], 10.0), [-1.0, 2.0])
    np.testing.assert_allclose(stress_from_virial([-1.0, 2.0], 10.0), [0.1, -0.2])
    stress = np.random.default_rng(0).normal(size=(3, 3))
    np.testing.assert_allclose(stress_from_virial(virial_from_stress(stress, 7.0), 7.0), stress)


@pytest.mark.physics
def test_a_compressed_crystal_has_a_negative_stress_and_a_positive_virial():
    crystal = bulk("Cu", a=3.4, cubic=True)
    crystal.calc = EMT()
    stress = crystal.get_stress()
    assert (stress[:3] < -0.01).all()
    assert (virial_from_stress(stress, crystal.get_volume())[:3] > 0.1).all()
    # The virial is the derivative of the energy to a strain, with the other sign.
    energies = []
    for strain in (-1e-4, 1e-4):
        strained = crystal.copy()
        strained.calc = EMT()
        strained.set_cell(crystal.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        energies.append(strained.get_potential_energy())
    slope = (energies[1] - energies[0]) / 2e-4
    assert virial_from_stress(stress, crystal.get_volume())[0] == pytest.approx(-slope, rel=1e-4)
