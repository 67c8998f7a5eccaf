"""The two ends of a path as one thing: atoms, cell, periodicity, fixed atoms, order."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.constraints import FixAtoms, FixedPlane
from ase.geometry import find_mic
from ase.io import write

from distill.core.errors import UserError
from distill.simulation.config import PathConfig
from distill.simulation.neb_endpoints import refuse_path
from distill.simulation.path_ends import matched_ends


def hop(site: str) -> Atoms:
    """H in a hollow of Cu(111), the lowest layer fixed."""
    slab = fcc111("Cu", (2, 2, 3), a=3.63, vacuum=7, periodic=True)
    add_adsorbate(slab, "H", 0.9, site)
    slab.set_constraint(FixAtoms(range(4)))
    return slab


def test_sound_ends_are_left_as_they_are():
    first, last = matched_ends(hop("fcc"), hop("hcp"))
    np.testing.assert_array_equal(first.positions, hop("fcc").positions)
    np.testing.assert_array_equal(last.positions, hop("hcp").positions)


def test_what_files_round_is_made_equal():
    last = hop("hcp")
    last.set_cell(last.cell.array.round(3), scale_atoms=True)
    last.positions = last.positions.round(3)
    first, last = matched_ends(hop("fcc"), last)
    np.testing.assert_array_equal(first.cell, last.cell)
    np.testing.assert_array_equal(first.positions[:4], last.positions[:4])
    np.testing.assert_allclose(last.positions[-1], hop("hcp").positions[-1], atol=2e-3)


@pytest.mark.parametrize("shift", [(0.8, 0.3, 1.0), (-1.4, 0.8, 3.0)])
def test_a_free_end_that_lies_elsewhere_as_a_whole_is_moved_back(shift, capsys):
    """Else the path would carry all atoms along, and its barrier would be that of the images."""
    ends = [hop("fcc"), hop("hcp")]
    for end in ends:
        end.set_constraint()
    plain = matched_ends(*ends)
    assert capsys.readouterr().out == ""
    ends[1].positions += shift
    ends[1].wrap()
    first, last = matched_ends(*ends)
    np.testing.assert_array_equal(first.positions, ends[0].positions)
    np.testing.assert_allclose(
        find_mic(last.positions - first.positions, first.cell)[0],
        find_mic(plain[1].positions - first.positions, first.cell)[0],
        atol=1e-9,
    )
    assert "moved onto the first by up to" in capsys.readouterr().out
    copy = ends[0].copy()
    copy.positions += shift
    with pytest.raises(UserError, match=r"one structure, but for .* a motion as a whole"):
        matched_ends(ends[0], copy)


def test_a_free_molecule_that_is_turned_is_turned_back():
    first = molecule("C2H6")
    last = first.copy()
    last.positions[-1] += (0.0, 0.3, 0.2)
    turned = last.copy()
    turned.rotate(70, (1, 2, 3))
    turned.positions += 4.0
    distances = [
        np.linalg.norm(end.positions - first.positions)
        for end in (matched_ends(first, last)[1], matched_ends(first, turned)[1])
    ]
    assert distances[0] == pytest.approx(distances[1], abs=1e-6)
    assert distances[0] < 0.4


def test_ends_near_their_own_images_are_said(tmp_path, capsys):
    for name, site in (("first", "fcc"), ("last", "hcp")):
        end = hop(site)
        end.cell[2, 2] = np.ptp(end.positions[:12, 2]) + 5.0
        write(tmp_path / f"{name}.traj", end)
    ends = {"initial": str(tmp_path / "first.traj"), "final": str(tmp_path / "last.traj")}
    refuse_path(PathConfig(**ends))
    assert "the end points of the path: 2 structures hold" in capsys.readouterr().out


@pytest.mark.parametrize("bare", ["first", "last"])
def test_constraints_of_one_file_hold_in_both(bare, capsys):
    ends = {"first": hop("fcc"), "last": hop("hcp")}
    ends[bare].set_constraint()
    for end in matched_ends(**ends):
        (constraint,) = end.constraints
        assert constraint.index.tolist() == [0, 1, 2, 3]
    assert f"the {bare} is given the same 4 fixed atoms" in capsys.readouterr().out


def changed(change):
    last = hop("hcp")
    found = change(last)
    return last if found is None else found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:0], "no atoms"),
        (lambda a: a[:-1], "differ in their atoms"),
        (lambda a: a.set_pbc((True, True, False)), "periodicity"),
        (lambda a: a.set_cell(1.01 * a.cell, scale_atoms=True), "cells"),
        (lambda a: a.set_constraint(FixAtoms([0, 1])), "hold other atoms fixed.*2, 3"),
        (lambda a: a.set_constraint(FixedPlane([0], [0, 0, 1])), "the constraints FixedPlane"),
        (lambda a: a.positions.__setitem__((1, 0), np.nan), "not finite"),
        (lambda a: a.positions.__setitem__((1, 0), 0.3), "fixed atoms at different places: 1,"),
        (lambda a: a.positions.__setitem__([6, 9], a.positions[[9, 6]]), "another order.*6, 9"),
        (lambda a: a[[*range(4), 5, 6, 7, 4, *range(8, 13)]], "another order.*4, 5, 6, 7"),
    ],
)
def test_ends_that_do_not_belong_together_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        matched_ends(hop("fcc"), changed(change))


def test_atoms_that_change_places_on_purpose_may():
    last = hop("fcc")
    last.positions[[8, 9]] = last.positions[[9, 8]]
    with pytest.raises(UserError, match="exchange: true"):
        matched_ends(hop("fcc"), last)
    _, kept = matched_ends(hop("fcc"), last, exchange=True)
    np.testing.assert_array_equal(kept.positions, last.positions)


def test_an_atom_that_hops_over_the_boundary_has_not_changed_places():
    last = hop("fcc")
    last.positions[-1] += last.cell[0] / 2
    last.wrap()
    _, kept = matched_ends(hop("fcc"), last)
    np.testing.assert_array_equal(kept.positions, last.positions)


def test_a_chain_of_like_atoms_that_move_up_has_not_changed_places():
    first = Atoms("Cu4", [(2.5 * i, 0, 0) for i in range(4)], cell=(40, 12, 12), pbc=True)
    first += Atoms("O", [(0, 6, 6)])
    first.set_constraint(FixAtoms([4]))
    last = first.copy()
    last.positions[:4, 0] += 2.0
    _, kept = matched_ends(first, last)
    np.testing.assert_array_equal(kept.positions, last.positions)


def test_one_structure_is_no_path():
    same = hop("fcc")
    same.positions[-1] += same.cell[1]
    with pytest.raises(UserError, match="one structure"):
        matched_ends(hop("fcc"), same)


def test_where_nothing_can_move_there_is_no_path():
    first, last = hop("fcc"), hop("fcc")
    for end in (first, last):
        end.set_constraint(FixAtoms(range(len(end))))
    with pytest.raises(UserError, match="every atom"):
        matched_ends(first, last)
