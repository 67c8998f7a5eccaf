"""Rotated, mirrored and otherwise written structures are found to be equal, and no others are."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, make_supercell, molecule
from scipy.spatial.transform import Rotation

from distill.data import congruence
from distill.data.congruence import congruent

SLAB = fcc111("Cu", (2, 2, 3), vacuum=8)
add_adsorbate(SLAB, molecule("H2O"), 2.5)
ALL, SIDES, NONE = (1, 1, 1), (1, 1, 0), (0, 0, 0)
BASES = [
    (bulk("NaCl", "rocksalt", 5.6) * 2, ALL),
    (bulk("Ti"), ALL),
    (SLAB, ALL),
    (SLAB, SIDES),
    (molecule("CH3CH2OH"), NONE),
]


def rattled(base, pbc, count=4, amplitude=0.05):
    structures = []
    for seed in range(count):
        atoms = base.copy()
        atoms.pbc = pbc
        atoms.rattle(amplitude, seed=seed)
        structures.append(atoms)
    return structures


def turned(atoms, seed, sign=1):
    turn = sign * Rotation.random(random_state=seed).as_matrix()
    other = atoms.copy()
    other.set_cell(atoms.cell[:] @ turn)
    other.positions = atoms.positions @ turn
    return other


def unwrapped(atoms, seed):
    """Atoms in another order, each moved by lattice vectors, all moved, and rounded."""
    rng = np.random.default_rng(seed)
    other = atoms[rng.permutation(len(atoms))]
    cells = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
    other.positions += rng.normal(size=3) + cells @ atoms.cell[:]
    other.positions += rng.uniform(-1e-5, 1e-5, other.positions.shape)
    return other


def in_other_cell(atoms, matrix):
    return turned(make_supercell(atoms, matrix), 5)


COPIES = {
    "turned": lambda atoms: turned(atoms, 1),
    "mirrored": lambda atoms: turned(atoms, 2, -1),
    "turned and unwrapped": lambda atoms: unwrapped(turned(atoms, 3), 4),
}
CELLS = {
    "axes renamed": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "sheared": [[1, 2, 0], [0, 1, 0], [1, 0, 1]],
    "supercell": [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
    "sheared supercell": [[1, 1, 0], [-1, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize(("base", "pbc"), BASES)
def test_copies_in_another_frame_are_found(base, pbc, kind):
    structures = rattled(base, pbc)
    copies = [COPIES[kind](atoms) for atoms in structures]
    assert congruent([*structures, *copies]) == [(i, i + 4) for i in range(4)]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("base", [base for base, pbc in BASES if pbc == ALL])
def test_crystals_in_other_cells_are_found(base, kind):
    structures = rattled(base, ALL)
    copies = [in_other_cell(atoms, CELLS[kind]) for atoms in structures]
    assert congruent([*structures, *copies]) == [(i, i + 4) for i in range(4)]


def test_supercells_of_other_multiples_of_one_cell_are_found():
    (cell,) = rattled(bulk("NaCl", "rocksalt", 5.6), ALL, 1)
    assert congruent([cell * (2, 1, 1), cell * (1, 1, 3), cell]) == [(0, 1), (0, 2)]


def test_vacuum_and_open_directions_make_no_difference_where_wide():
    slab, open_slab, wider, narrow = rattled(SLAB, ALL, 1) * 4
    open_slab, wider, narrow = open_slab.copy(), wider.copy(), narrow.copy()
    open_slab.pbc = SIDES
    wider.center(vacuum=12, axis=2)
    narrow.center(vacuum=3, axis=2)
    axes = make_supercell(slab, CELLS["axes renamed"])
    assert congruent([slab, open_slab, wider, axes, narrow]) == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize(("base", "pbc"), BASES)
def test_rattled_and_strained_structures_are_kept_apart(base, pbc):
    structures = rattled(base, pbc, 12, 0.01)
    (one,) = rattled(base, pbc, 1)
    changed = [one.copy() for _ in range(4)]
    for sign in (1, -1):
        changed[sign].positions[0, 2] += sign * 0.01
    if any(pbc):
        changed[2].set_cell(1.001 * one.cell[:], scale_atoms=True)
        changed[3].set_cell(one.cell[:] @ (np.eye(3) + 1e-3 * np.eye(3, k=1)), scale_atoms=True)
    assert congruent([*structures, one, *changed[1 : 4 if any(pbc) else 2]]) == []


def test_elements_that_change_places_make_another_structure():
    (one,) = rattled(BASES[0][0], ALL, 1)
    exchanged = one.copy()
    exchanged.numbers[[0, 1]] = exchanged.numbers[[1, 0]]
    assert congruent([one, exchanged, one[:-1], Atoms("Cl8Na8", one.positions)]) == []


def test_stackings_of_close_packed_layers_are_kept_apart():
    layers = 2.08 * np.eye(3)[2]
    a, b, c = np.zeros(3), np.array([1.276, 0.7367, 0]), np.array([0, 1.4734, 0])
    cell = [[2.552, 0, 0], [-1.276, 2.21, 0]]

    def stacked(places):
        positions = [place + k * layers for k, place in enumerate(places)]
        return Atoms("Cu" * len(places), positions, cell=[*cell, len(places) * layers], pbc=True)

    hcp, fcc, four = stacked([a, b]), stacked([a, b, c]), stacked([a, b, a, c])
    six = stacked([a, b, c, a, c, b])
    assert congruent([hcp, fcc, four, six]) == []
    assert congruent([stacked([a, b] * 2), hcp, stacked([b, a])]) == [(0, 1), (0, 2)]


def test_dimers_of_nearly_one_length_are_kept_apart_and_equal_ones_found():
    dimers = [Atoms("H2", [[0, 0, 0], [0, 0, 0.74 + 1e-5 * k]]) for k in range(20)]
    assert congruent(dimers) == []
    assert congruent([*dimers, turned(dimers[4], 1)]) == [(4, 20)]


def test_a_fragment_far_away_counts_while_it_is_within_reach():
    apart = []
    for height in (7.0, 7.5, 12.0, 13.0):
        atoms = fcc111("Cu", (2, 2, 3), vacuum=20)
        add_adsorbate(atoms, molecule("H2O"), height)
        apart.append(atoms)
    assert congruent(apart) == [(2, 3)]


def test_small_displacements_seldom_reach_the_whole_comparison(monkeypatch):
    calls = []
    whole = congruence._equal
    monkeypatch.setattr(congruence, "_equal", lambda *pair: calls.append(0) or whole(*pair))
    assert congruent(rattled(fcc111("Cu", (3, 3, 3), vacuum=8), ALL, 150, 0.01)) == []
    assert len(calls) <= 3


def test_how_often_each_environment_occurs_counts():
    def dimers(*lengths):
        ends = [[20.0 * k, 0, z] for k, length in enumerate(lengths) for z in (0, length)]
        return Atoms("H" * 2 * len(lengths), ends)

    short, long = 0.74, 0.80
    rows = np.array([[short], [short], [long], [short], [long], [long]])
    assert not congruence._same_shares(rows, np.array([0, 0, 0, 1, 1, 1]), 3, 3, 1e-4)
    assert congruence._same_shares(
        rows[[0, 2, 0, 0, 2, 2]], np.array([0, 0, 1, 1, 1, 1]), 2, 4, 1e-4
    )
    mixed, other = dimers(short, short, long), dimers(short, long, long)
    assert congruent([mixed, other, dimers(long, short, short)]) == [(0, 2)]
