"""Energies that part structures into free atoms."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.data.structures import set_labels
from distill.metrics.binding import Level, binding_energies


def labelled(atoms, energy):
    return set_labels(atoms.copy(), energy=energy)


def test_a_molecule_is_parted_into_its_atoms():
    water, stretched = labelled(molecule("H2O"), -14.0), labelled(molecule("H2O"), -10.0)
    free = labelled(Atoms("H"), -1.0)
    shifted = [labelled(a, a.info["REF_energy"] + 100.0 * len(a)) for a in (stretched, water, free)]
    (found,) = binding_energies(
        {
            "reference": Level([stretched, water, free], {"H": -1.0, "O": -3.0}),
            "student": Level(shifted, {"H": 99.0, "O": 96.0}),
        }
    )
    assert (found.formula, found.index, found.atoms) == ("H2O", 1, 3)
    assert found.energies["reference"] == pytest.approx((-1 - 1 - 3 + 14) / 3)
    # Another scale of energies is no other binding, a wrong free atom is.
    assert found.energies["student"] == pytest.approx((99 + 99 + 96 - (-14 + 300)) / 3)


def test_a_level_without_free_atoms_has_none_and_the_next_one_chooses():
    crystal = labelled(bulk("Cu"), -3.7)
    levels = {"reference": Level([crystal], {}), "teacher": Level([crystal], {"Cu": -0.2})}
    (found,) = binding_energies(levels)
    assert found.energies == {"reference": None, "teacher": pytest.approx(3.5)}
    assert binding_energies({"reference": Level([crystal], {})}) == []


def test_the_commonest_compositions_come_first():
    sets = [labelled(bulk("Cu"), -1.0), labelled(bulk("Au"), -1.0), labelled(bulk("Au"), -2.0)]
    found = binding_energies({"a": Level(sets, {"Cu": 0.0, "Au": 0.0})})
    assert [f.formula for f in found] == ["Au", "Cu"]
    assert len(binding_energies({"a": Level(sets, {"Cu": 0.0, "Au": 0.0})}, most=1)) == 1
