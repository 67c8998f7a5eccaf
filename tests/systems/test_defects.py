"""Point defects: where atoms are added and removed."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from distill.core.errors import UserError
from distill.systems.defects import (
    dumbbell,
    interstitial,
    lif_with_interstitial,
    nearest_neighbour_distance,
    vacancy,
    with_defect,
)


def test_interstitial_of_lif_sits_in_the_tetrahedral_void() -> None:
    a = 4.0
    atoms = lif_with_interstitial(repeat=2, a=a)
    assert len(atoms) == 65
    assert atoms.get_chemical_symbols().count("Li") == 33
    fractions = atoms.positions[-1] / a % 0.5
    assert np.allclose(fractions, 0.25, atol=1e-6)
    others = atoms.get_distances(64, range(64), mic=True)
    nearest = np.sort(others)[:8]
    assert np.allclose(nearest, np.sqrt(3) / 4 * a, atol=1e-6)


def test_interstitial_of_fcc_sits_in_the_octahedral_void() -> None:
    a = 3.6
    atoms = interstitial(bulk("Cu", a=a, cubic=True).repeat(2), "H")
    distances = np.sort(atoms.get_distances(len(atoms) - 1, range(len(atoms) - 1), mic=True))
    assert np.allclose(distances[:6], a / 2, atol=1e-6)
    assert distances[6] > 0.6 * a


def test_interstitial_in_a_skewed_primitive_cell_is_as_deep() -> None:
    a = 3.6
    skewed = interstitial(bulk("Cu", a=a).repeat(3), "H")
    distances = skewed.get_distances(len(skewed) - 1, range(len(skewed) - 1), mic=True)
    assert distances.min() == pytest.approx(a / 2, abs=1e-6)


def test_interstitial_at_a_given_place_and_on_top_of_an_atom() -> None:
    crystal = bulk("Cu", a=3.6, cubic=True)
    atoms = interstitial(crystal, "H", (1.8, 0.0, 0.0))
    assert np.allclose(atoms.positions[-1], [1.8, 0, 0])
    with pytest.raises(UserError, match="choose an empty place"):
        interstitial(crystal, "H", (0.1, 0.0, 0.0))


def test_vacancy_removes_one_atom_of_the_element() -> None:
    crystal = bulk("LiF", "rocksalt", a=4.0, cubic=True).repeat(2)
    atoms = vacancy(crystal, "F")
    assert len(atoms) == 63
    assert atoms.get_chemical_symbols().count("F") == 31
    with pytest.raises(UserError, match="not in the structure"):
        vacancy(crystal, "Cu")
    with pytest.raises(UserError, match="not an atom of element Li"):
        vacancy(crystal, "Li", index=crystal.get_chemical_symbols().index("F"))
    with pytest.raises(UserError, match="the only atom of a cell"):
        vacancy(bulk("Po", "sc", a=6.5), "Po")


def test_vacancy_is_in_the_middle_of_the_cell() -> None:
    crystal = bulk("Po", "sc", a=3.0).repeat((3, 3, 3))
    depleted = vacancy(crystal, "Po")
    corner_to_site = np.abs(depleted.positions - 4.5).max(axis=1)
    # 27 sites at 0, 3 and 6 Å: those at 3 and 6 lie 1.5 Å from the middle, along each axis.
    assert np.sum(corner_to_site < 1.6) == 7


def test_dumbbell_shares_a_site_and_keeps_its_centre() -> None:
    crystal = bulk("Ni", a=3.52, cubic=True).repeat(3)
    site = 40
    atoms = dumbbell(crystal, "Ni", index=site, separation=2.0)
    assert len(atoms) == len(crystal) + 1
    pair = atoms.positions[[site, -1]]
    assert np.linalg.norm(pair[1] - pair[0]) == pytest.approx(2.0)
    assert np.allclose(pair.mean(axis=0), crystal.positions[site])
    with pytest.raises(UserError, match="has no length"):
        dumbbell(crystal, "Ni", direction=(0.0, 0.0, 0.0))


def test_with_defect_chooses_by_name() -> None:
    crystal = bulk("Ni", a=3.52, cubic=True).repeat(2)
    assert len(with_defect(crystal, "none")) == 32
    assert len(with_defect(crystal, "vacancy")) == 31
    assert len(with_defect(crystal, "dumbbell")) == 33
    assert with_defect(crystal, "interstitial", "H").get_chemical_symbols()[-1] == "H"
    with pytest.raises(UserError, match="expected none, interstitial"):
        with_defect(crystal, "hole")
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(UserError, match="periodic in all directions"):
        with_defect(slab, "vacancy")


def test_nearest_neighbour_distance_counts_one_element_and_images() -> None:
    assert nearest_neighbour_distance(
        bulk("LiF", "rocksalt", a=4.0, cubic=True), "Li"
    ) == pytest.approx(4.0 / np.sqrt(2))
    assert nearest_neighbour_distance(bulk("Po", "sc", a=6.5), "Po") == pytest.approx(6.5)
