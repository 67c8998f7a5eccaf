"""Isolated atoms and repeated structures: one definition of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers import rattled_copper

from distill.core.errors import UserError
from distill.data.duplicates import label_disagreement, same_structures
from distill.data.isolated_atoms import (
    is_isolated_atom,
    isolated_energies,
    say_nearly_isolated,
    without_isolated,
)
from distill.data.structures import set_labels


def atom(cell=None, pbc=False, config_type=None):
    atoms = Atoms("H", cell=cell, pbc=pbc)
    if config_type:
        atoms.info["config_type"] = config_type
    return atoms


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (atom(), True),
        (atom([3, 3, 3], True, "IsolatedAtom"), True),
        (atom([3, 3, 3], True, "isolated_atom"), True),
        (atom([3, 3, 3], True), False),
        (atom([12, 12, 12], True), True),
        (atom([12, 12, 12], True, "bulk"), True),
        (atom([10, 10, 10], True), True),
        (atom([8, 8, 8], True), True),
        (atom([12, 12, 7], True), False),
        (atom([12, 12, 7], (True, True, False)), True),
        # A flat cell: its planes are 6 Å apart though every edge is 12 Å long.
        (atom([[12, 0, 0], [10.392, 6, 0], [0, 0, 12]], True), False),
        (bulk("Cu"), False),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]), False),
    ],
)
def test_an_isolated_atom_is_alone_by_name_or_by_distance(atoms, isolated):
    assert is_isolated_atom(atoms) is isolated


def test_how_far_a_model_sees_counts():
    assert is_isolated_atom(atom([7, 7, 7], True), cutoff=6.0)
    assert not is_isolated_atom(atom([7, 7, 7], True), cutoff=8.0)


def test_isolated_atoms_are_set_apart():
    structures = [atom(), bulk("Cu"), atom([20, 20, 20], True)]
    kept, alone = without_isolated(structures, Path("train.xyz"))
    assert kept == [structures[1]]
    assert alone == [structures[0], structures[2]]
    with pytest.raises(UserError, match=r"train\.xyz holds only isolated atoms"):
        without_isolated(alone, Path("train.xyz"))


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (atom([6, 6, 6], True), True),
        (atom([6, 6, 6], True, "IsolatedAtom"), False),
        (atom([8, 8, 8], True), False),
        (bulk("Cu"), False),
    ],
)
def test_a_single_atom_that_is_neither_free_nor_bound_is_said(atoms, said, capsys):
    say_nearly_isolated([bulk("Cu"), atoms], "a.xyz")
    assert ("the single atoms of structures 1 have" in capsys.readouterr().out) is said


def test_two_energies_of_one_free_atom_are_refused_in_either_order():
    low, high = (set_labels(atom(), energy=energy) for energy in (-1.6, -0.1))
    for isolated in ([low, high], [high, low]):
        with pytest.raises(UserError, match=r"isolated H atoms .* differ in energy: -1.6, -0.1 eV"):
            isolated_energies(isolated)
    box = set_labels(atom([20, 20, 20], True), energy=-1.602)
    assert isolated_energies([low, box, Atoms("Cu")]) == {"H": pytest.approx(-1.601)}


def test_structures_within_the_tolerance_are_the_same():
    structures = rattled_copper(5)
    near, far, other = (structures[3].copy() for _ in range(3))
    near.positions[0, 0] += 5e-4
    far.positions[0, 0] += 2e-3
    other.symbols[0] = "Ag"
    wider = structures[3].copy()
    wider.cell[0, 0] += 2e-3
    pairs = same_structures([*structures, near, far, other, wider, near.copy()], 1e-3)
    assert pairs == [(3, 5), (3, 9), (5, 9)]
    assert same_structures([*structures, near], 1e-6) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy": 4e-2}, "energies differ by 0.01 eV/atom"),
        ({"forces": 0.02}, "forces differ by up to 0.02 eV/Å"),
        ({"stress": 0.1}, "stresses differ by up to 0.1 eV/Å³"),
        ({"energy": 1e-3, "forces": 5e-3, "stress": 5e-4}, None),
    ],
)
def test_labels_of_the_same_structure_agree_or_not(change, words):
    (one,) = rattled_copper(1)
    set_labels(one, stress=np.zeros(6))
    other = one.copy()
    keys = {"energy": "REF_energy", "stress": "REF_stress"}
    for name, by in change.items():
        if name == "forces":
            other.arrays["REF_forces"] = one.arrays["REF_forces"] + [[by, 0, 0]] * len(one)
        else:
            other.info[keys[name]] = one.info[keys[name]] + by
    found = label_disagreement(one, other)
    assert found is None if words is None else words in found
    assert label_disagreement(one, other, same_force=1e-3) is not None or "forces" not in change
    bare = Atoms(one.symbols, one.positions)
    assert label_disagreement(one, bare) is None
