"""What is said of a file of structures."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from helpers import label_by_emt, rattled_copper

from distill.core.errors import UserError
from distill.data.structures import write_structures
from distill.data.survey import kind_of, survey, survey_text


def file_of(folder, structures, *, energy="REF_energy", forces="REF_forces"):
    for atoms in structures:
        if "REF_energy" in atoms.info:
            atoms.info[energy] = atoms.info.pop("REF_energy")
            atoms.arrays[forces] = atoms.arrays.pop("REF_forces")
    write_structures(folder / "set.xyz", structures)
    return str(folder / "set.xyz")


def test_a_kind_is_known_by_periodicity_and_vacuum():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    add_adsorbate(slab, "H", 1.0)
    periodic = slab.copy()
    periodic.pbc = True
    boxed = molecule("H2O", vacuum=8.0, pbc=True)
    melt = bulk("Cu", cubic=True)
    melt.info["config_type"] = "liquid_1500K"
    found = [kind_of(a) for a in (slab, periodic, boxed, molecule("H2O"), bulk("Cu"), melt)]
    assert found == ["surface", "surface", "molecule", "molecule", "bulk", "liquid"]


def test_a_kind_does_not_depend_on_the_choice_of_the_cell():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    for shift in (0.0, 5.0, 11.0):
        moved = slab.copy()
        moved.positions += [0.3, 0.1, shift]
        assert kind_of(moved) == "surface"


def test_labels_are_found_under_whatever_keys(tmp_path):
    found, structures = survey(
        file_of(tmp_path, rattled_copper(4), energy="dft_energy", forces="dft_forces")
    )
    assert found.keys == {"energy": "dft_energy", "forces": "dft_forces"}
    assert found.labelled == {"energy": 4, "forces": 4, "stress": 4}
    assert found.is_labelled
    np.testing.assert_array_equal(structures[0].arrays["REF_forces"].shape, (4, 3))
    found, _ = survey(file_of(tmp_path, rattled_copper(4)))
    assert found.keys == {}


def test_flaws_and_free_atoms_are_counted(tmp_path):
    structures = rattled_copper(15)
    structures[3].info["REF_energy"] += 40.0
    structures.append(structures[5].copy())
    structures.append(label_by_emt(Atoms("Cu")))
    found, _ = survey(file_of(tmp_path, structures))
    assert found.outliers == [3]
    assert found.repeated == [15]
    assert found.free_atoms == {"Cu": pytest.approx(3.51)}
    assert found.example not in (3, 16)
    text = survey_text(found)
    assert "far in energy: 1 (indices 3)" in text
    assert "isolated atoms: Cu 3.51" in text


def test_a_structure_without_labels_is_one(tmp_path):
    found, _ = survey(file_of(tmp_path, [bulk("Si")]))
    assert (found.kind, found.is_labelled, found.structures) == ("bulk", False, 1)
    assert "labels: none" in survey_text(found)
    assert found.neighbour == pytest.approx(2.35, abs=0.01)


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        survey(str(tmp_path / "nothing.xyz"))
    with pytest.raises(UserError, match="only isolated atoms"):
        survey(file_of(tmp_path, [label_by_emt(Atoms("Cu"))]))
    with pytest.raises(UserError, match="structure 2 and 0 others of 3 have no energy"):
        survey(file_of(tmp_path, [*rattled_copper(2), bulk("Cu")]))
