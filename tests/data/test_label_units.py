"""Labels in other units or of the other sign are recognised; ordinary disagreement is not."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_mace import rattled_structures

from distill.core.errors import UserError
from distill.data.label_units import refuse_other_units
from distill.data.reference_energies import composition_matrix
from distill.data.structures import set_labels

FOUNDATION = rattled_structures(24)
ELEMENTS = ("H", "Cu")


def other_level(energy=1.0, forces=1.0, stress=None, noise=0.2, seed=1):
    """A softer level of theory with its own atomic energies, in units that factors describe."""
    rng = np.random.default_rng(seed)
    counts = composition_matrix([a.get_chemical_symbols() for a in FOUNDATION], ELEMENTS)
    structures = []
    for atoms, count in zip(FOUNDATION, counts, strict=True):
        own = 0.8 * atoms.info["REF_energy"] + count @ [-13.6, -1800.0]
        own_forces = 0.8 * atoms.arrays["REF_forces"]
        own_forces = own_forces + noise * own_forces.std() * rng.normal(size=own_forces.shape)
        copy = set_labels(atoms.copy(), energy=energy * own, forces=forces * own_forces)
        if stress is not None:
            set_labels(copy, stress=stress * 0.8 * np.arange(1.0, 7.0))
        structures.append(copy)
    return structures


def predicted(stress=False):
    structures = [atoms.copy() for atoms in FOUNDATION]
    for atoms in structures:
        if stress:
            set_labels(atoms, stress=np.arange(1.0, 7.0))
    return structures


def test_another_level_of_theory_passes():
    refuse_other_units(other_level(), predicted(), ELEMENTS)
    refuse_other_units(other_level(stress=1.0), predicted(stress=True), ELEMENTS)


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"forces": 1 / 51.42}, "forces labels .*look like Hartree/Bohr; expected eV/Å"),
        ({"forces": 23.06}, "forces labels .*kcal/mol/Å"),
        ({"forces": -1.0}, "forces labels .*opposite"),
        ({"energy": 1 / 27.2114}, "energy labels .*Hartree; expected eV"),
        ({"energy": 96.485}, "energy labels .*kJ/mol"),
        ({"stress": 160.2}, "stress labels .*GPa; expected eV/Å³"),
        ({"stress": -1602.0}, "stress labels .*kbar"),
        ({"stress": -1.0}, "stress labels .*opposite"),
    ],
)
def test_other_units_and_signs_are_named(factors, words):
    reference = other_level(**factors)
    with pytest.raises(UserError, match=words):
        refuse_other_units(reference, predicted(stress="stress" in factors), ELEMENTS)


def test_labels_that_have_nothing_to_do_with_the_model_are_left_to_other_checks():
    """Where the model is no guide, a factor between the two says nothing about units."""
    rng = np.random.default_rng(2)
    structures = []
    for atoms in FOUNDATION:
        forces = 30 * rng.normal(size=atoms.positions.shape)
        structures.append(set_labels(atoms.copy(), energy=30 * rng.normal(), forces=forces))
    refuse_other_units(structures, predicted(), ELEMENTS)


def test_energies_are_not_judged_where_forces_disagree():
    reference = other_level(energy=96.485, noise=5.0)
    refuse_other_units(reference, predicted(), ELEMENTS)
