"""Structures that are moved, wrapped or renumbered are found to be equal, and no others are."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from distill.data.repeated_structures import repetitions

CRYSTAL = bulk("NaCl", "rocksalt", 5.6) * (2, 2, 2)
SLAB = fcc111("Cu", (2, 2, 3), vacuum=8)
MOLECULE = molecule("CH3CH2OH")


def rattled(base, pbc, count=6):
    structures = []
    for seed in range(count):
        atoms = base.copy()
        atoms.pbc = pbc
        atoms.rattle(0.05, seed=seed)
        structures.append(atoms)
    return structures


def disguised(atoms, rng):
    """The same structure, moved as a whole, with wrapped atoms in another order."""
    order = rng.permutation(len(atoms))
    other = atoms[order]
    cells = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
    other.positions += rng.normal(size=3) + cells @ atoms.cell[:]
    other.positions += rng.uniform(-1e-5, 1e-5, size=other.positions.shape)
    return other


@pytest.mark.parametrize(
    ("base", "pbc"),
    [
        (CRYSTAL, (1, 1, 1)),
        (SLAB, (1, 1, 1)),
        (SLAB, (1, 1, 0)),
        (SLAB, (1, 0, 0)),
        (SLAB, (0, 0, 0)),
        (MOLECULE, (0, 0, 0)),
    ],
)
def test_disguised_copies_are_found_with_their_order(base, pbc):
    rng = np.random.default_rng(3)
    structures = rattled(base, pbc)
    copies = [disguised(atoms, rng) for atoms in structures]
    found = repetitions([*structures, *copies])
    assert [(r.first, r.later) for r in found] == [(i, i + 6) for i in range(6)]
    for first, later, order in found:
        copy = [*structures, *copies][later][order]
        np.testing.assert_array_equal(copy.numbers, structures[first].numbers)
        apart = copy.positions - structures[first].positions
        apart -= apart[0]
        if any(pbc):
            scaled = apart @ np.linalg.inv(copy.cell[:])
            apart = (scaled - np.round(scaled) * copy.pbc) @ copy.cell[:]
        np.testing.assert_allclose(apart, 0, atol=1e-4)


def test_similar_structures_are_kept_apart():
    one = rattled(CRYSTAL, True, 1)[0]
    moved, strained, exchanged, inverted = one.copy(), one.copy(), one.copy(), one.copy()
    moved.positions[3, 1] += 0.01
    strained.set_cell(1.001 * one.cell[:], scale_atoms=True)
    exchanged.numbers[[0, 1]] = exchanged.numbers[[1, 0]]
    inverted.positions *= -1
    assert repetitions([one, moved, strained, exchanged, inverted]) == []


def test_atoms_that_symmetry_makes_equal_are_equal():
    """The same displacement of any atom of a perfect crystal gives one structure."""
    structures = []
    for atom in range(0, len(CRYSTAL), 2):
        atoms = CRYSTAL.copy()
        atoms.positions[atom] += [0.1, 0.02, 0]
        structures.append(atoms)
    found = repetitions(structures)
    assert [r.first for r in found] == [0] * (len(structures) - 1)


def test_the_box_around_a_molecule_does_not_matter():
    small, large = MOLECULE.copy(), MOLECULE.copy()
    small.center(vacuum=5)
    large.center(vacuum=9)
    assert len(repetitions([MOLECULE, small, large])) == 2
