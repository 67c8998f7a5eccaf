"""Labels in other units or of the other sign are recognised; ordinary disagreement is not."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from tiny_mace import rattled_structures

from distill.core.errors import UserError
from distill.data.label_checks import say_large_stresses
from distill.data.label_units import refuse_other_units, say_contradictions
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


def test_another_level_of_theory_passes(capsys):
    refuse_other_units(other_level(), predicted(), ELEMENTS)
    refuse_other_units(other_level(stress=1.0), predicted(stress=True), ELEMENTS)
    assert capsys.readouterr().out == ""


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


def test_labels_that_have_nothing_to_do_with_the_model_are_left_to_other_checks(capsys):
    """Where the model is no guide, a factor between the two says nothing about units."""
    rng = np.random.default_rng(2)
    structures = []
    for atoms in FOUNDATION:
        forces = 30 * rng.normal(size=atoms.positions.shape)
        structures.append(set_labels(atoms.copy(), energy=30 * rng.normal(), forces=forces))
    refuse_other_units(structures, predicted(), ELEMENTS)
    assert capsys.readouterr().out == ""


def test_energies_are_not_judged_where_forces_disagree(capsys):
    reference = other_level(energy=96.485, noise=5.0)
    refuse_other_units(reference, predicted(), ELEMENTS)
    assert capsys.readouterr().out == ""


def test_a_few_structures_with_many_forces_are_judged():
    words = "forces labels .*look like Hartree/Bohr"
    with pytest.raises(UserError, match=words):
        refuse_other_units(other_level(forces=1 / 51.42)[:3], predicted()[:3], ELEMENTS)


def test_a_factor_that_no_unit_explains_is_said_or_refused(capsys):
    refuse_other_units(other_level(forces=0.2), predicted(), ELEMENTS)
    assert "which no unit explains" in capsys.readouterr().out
    with pytest.raises(UserError, match="opposite"):
        refuse_other_units(other_level(forces=-0.2), predicted(), ELEMENTS)


def strained(labels, seed=4):
    """Crystals of volumes that differ, and what two levels say of their stress."""
    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for _ in range(8):
        atoms = bulk("Cu", a=3.6, cubic=True) * (1, 1, int(rng.integers(1, 4)))
        atoms.set_cell(atoms.cell[:] * rng.uniform(0.95, 1.05), scale_atoms=True)
        stress = 0.05 * rng.normal(size=6)
        label = labels(0.9 * stress + 0.002 * rng.normal(size=6), atoms.get_volume())
        ours.append(set_labels(atoms.copy(), stress=label))
        theirs.append(set_labels(atoms.copy(), stress=stress))
    return ours, theirs, ("Cu",)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (lambda stress, volume: -stress * volume, "look like virials in eV .−stress × volume"),
        (lambda stress, volume: stress * volume, "virials in eV with the sign of the stress"),
        (lambda stress, volume: -stress / volume, "stresses in eV/Å³ that were given as virials"),
        (lambda stress, volume: 160.2 * stress, "look like GPa"),
        (lambda stress, volume: -stress, "opposite"),
    ],
)
def test_virials_and_stresses_are_told_apart_by_the_volume(labels, words):
    with pytest.raises(UserError, match=words):
        refuse_other_units(*strained(labels))


def test_a_stress_passes(capsys):
    refuse_other_units(*strained(lambda stress, volume: stress))
    assert capsys.readouterr().out == ""


def sized(per_atom, seed=5, sizes=(1, 2, 3)):
    """Structures of different sizes, as a level with its own atomic energy labels them."""
    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for k in range(9):
        atoms = bulk("Cu", cubic=True) * (1, 1, sizes[k % len(sizes)])
        energy = len(atoms) * (-3.5 + 0.2 * rng.normal())
        forces = rng.normal(size=(len(atoms), 3))
        own = 0.95 * energy - 1800.0 * len(atoms)
        theirs.append(set_labels(atoms.copy(), energy=energy, forces=forces))
        ours.append(
            set_labels(atoms.copy(), energy=own / len(atoms) if per_atom else own, forces=forces)
        )
    return ours, theirs, ("Cu",)


def test_energies_per_atom_are_recognised():
    refuse_other_units(*sized(per_atom=False))
    with pytest.raises(UserError, match="look like energies per atom"):
        refuse_other_units(*sized(per_atom=True))
    with pytest.raises(UserError, match="energies per atom"):
        refuse_other_units(*sized(per_atom=True, sizes=(3,)))


@pytest.mark.parametrize(
    ("factors", "label"),
    [
        ({"energy": -1.0}, "energies"),
        ({"energy": 23.06}, "energies"),
        ({"forces": -1.0}, "forces"),
        ({"forces": 1 / 25.7}, "forces"),
    ],
)
def test_labels_that_a_fit_cannot_follow_together_are_said(capsys, factors, label):
    """A fit follows one of them, here the one that is as the model's."""
    say_contradictions(other_level(**factors, noise=0.0), predicted())
    shown = capsys.readouterr().out
    assert f"% of the variance of the {label} that it was fitted to" in shown
    assert shown.count("contradict each other") == 1


def sheared(order, seed=2):
    """Random stresses as the model has them, and with their six numbers in another order."""
    rng = np.random.default_rng(seed)
    theirs = [set_labels(a.copy(), stress=rng.normal(size=6)) for a in FOUNDATION]
    ours = []
    for atoms in theirs:
        stress = atoms.info["REF_stress"] + 0.1 * rng.normal(size=6)
        ours.append(set_labels(atoms.copy(), stress=stress[order]))
    return ours, theirs


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([0, 1, 2, 5, 3, 4], "xx yy zz xy yz xz, as VASP writes them"),
        ([0, 1, 2, 5, 4, 3], "xx yy zz xy xz yz, as LAMMPS writes them"),
        ([0, 1, 2, 4, 3, 5], "look like xx yy zz xz yz xy"),
        ([0, 1, 2, 3, 5, 4], "look like xx yy zz yz xy xz"),
        ([0, 1, 2, 4, 5, 3], "look like xx yy zz xz xy yz"),
    ],
)
def test_stresses_in_another_order_are_named(capsys, order, words):
    ours, theirs = sheared(order)
    with pytest.raises(UserError, match=words):
        refuse_other_units(ours, theirs, ELEMENTS)
    say_contradictions(ours, theirs)
    assert words in capsys.readouterr().out


def test_stresses_in_order_and_those_of_no_shear_pass(capsys):
    for ours, theirs in (sheared([0, 1, 2, 3, 4, 5]), (predicted(), predicted())):
        refuse_other_units(ours, theirs, ELEMENTS)
        say_contradictions(ours, theirs)
    isotropic = [set_labels(a.copy(), stress=[1.0, 1.0, 1.0, 0, 0, 0]) for a in FOUNDATION]
    refuse_other_units(isotropic, isotropic, ELEMENTS)
    assert "order" not in capsys.readouterr().out


def test_stresses_that_a_fit_cannot_follow_are_said(capsys):
    """Where energies and forces weigh more, it is the stresses that are left."""
    theirs = sheared([0, 1, 2, 3, 4, 5])[1]
    turned = [set_labels(a.copy(), stress=-a.info["REF_stress"]) for a in theirs]
    say_contradictions(turned, theirs)
    said = capsys.readouterr().out
    assert "explains 0% of the variance of the stresses that it was fitted to" in said
    assert "energies, forces and stresses contradict each other" in said
    say_contradictions(theirs, theirs)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("factor", "said"), [(1.0, False), (160.2, True), (-1602.0, True)])
def test_stresses_in_another_unit_are_said_without_a_model(capsys, factor, said):
    strained = [set_labels(a.copy(), stress=factor * np.full(6, 0.01)) for a in FOUNDATION]
    say_large_stresses(strained, "a.xyz")
    assert ("are they in GPa or kbar" in capsys.readouterr().out) is said


def test_labels_that_a_fit_follows_are_not(capsys):
    say_contradictions(other_level(), predicted())
    alone = [atoms.copy() for atoms in FOUNDATION]
    for atoms in alone:
        del atoms.info["REF_energy"]
    say_contradictions(alone, predicted())
    assert not capsys.readouterr().out
