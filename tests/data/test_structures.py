"""Reading and checking labelled structures: every bad input has its own clear message."""

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from ase.io import write
from helpers import rattled_copper

from distill.core.errors import UserError
from distill.core.quantities import virial_from_stress
from distill.data.structures import (
    check_structures,
    read_structures,
    reference_energy,
    reference_forces,
    reference_stress,
    write_structures,
)


@pytest.fixture
def structures():
    return rattled_copper(4)


def test_labels_survive_a_round_trip(tmp_path, structures):
    write_structures(tmp_path / "a.xyz", structures)
    for before, after in zip(structures, read_structures(tmp_path / "a.xyz"), strict=True):
        assert reference_energy(after) == pytest.approx(reference_energy(before), abs=1e-7)
        np.testing.assert_allclose(reference_forces(after), reference_forces(before), atol=1e-7)
        np.testing.assert_allclose(reference_stress(after), reference_stress(before), atol=1e-7)


def test_labels_under_other_keys_and_in_ase_results_are_found(tmp_path, structures):
    atoms = structures[0]
    energy, forces = atoms.info.pop("REF_energy"), atoms.arrays.pop("REF_forces")
    stress = atoms.info.pop("REF_stress")
    virial = -stress * atoms.get_volume()
    np.testing.assert_allclose(virial_from_stress(stress, atoms.get_volume()), virial)
    atoms.info["energy"] = energy
    atoms.info["virial"] = virial[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    atoms.arrays["forces"] = forces
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    read = read_structures(
        tmp_path / "a.xyz", energy_key="energy", forces_key="forces", virial_key="virial"
    )[0]
    assert reference_energy(read) == pytest.approx(energy)
    np.testing.assert_allclose(reference_stress(read), stress, atol=1e-7)
    assert read.calc is None


def test_nine_stress_components_become_the_six_of_their_symmetric_part(tmp_path, structures):
    atoms = structures[0]
    voigt = atoms.info["REF_stress"]
    uneven = 0.01 * np.array([0, 1, -2, -1, 0, 3, 2, -3, 0])
    atoms.info["REF_stress"] = voigt[[0, 5, 4, 5, 1, 3, 4, 3, 2]] + uneven
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    np.testing.assert_allclose(
        reference_stress(read_structures(tmp_path / "a.xyz")[0]), voigt, atol=1e-7
    )


def test_missing_empty_folder_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_structures(tmp_path / "no.xyz")
    with pytest.raises(UserError, match="is a folder"):
        read_structures(tmp_path)
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(UserError, match="is empty"):
        read_structures(tmp_path / "empty.xyz")
    (tmp_path / "foreign.unknown").write_text("hello world")
    with pytest.raises(UserError, match=r"foreign\.unknown is in no format that ASE knows"):
        read_structures(tmp_path / "foreign.unknown")
    with connect(tmp_path / "rows.db") as database:
        del database[database.write(Atoms("H"))]
    with pytest.raises(UserError, match=r"rows\.db holds no structure, read as db"):
        read_structures(tmp_path / "rows.db")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"REF_energy": "low"}, "structure 1: a label is not numeric: .*'low'"),
        (
            {"REF_stress": [1.0, 2.0, 3.0]},
            "structure 1: expected 6 or 9 numbers as stress, found 3",
        ),
    ],
)
def test_labels_that_are_no_numbers_are_named(tmp_path, structures, label, words):
    structures[1].info.update(label)
    write_structures(tmp_path / "a.xyz", structures)
    with pytest.raises(UserError, match=words):
        read_structures(tmp_path / "a.xyz")


def test_unknown_bundled_name_lists_the_known_ones():
    with pytest.raises(UserError, match="h2cu_train"):
        read_structures("bundled:nothing")


@pytest.mark.parametrize("keep", [0.3, 0.55, 0.8])
def test_truncated_file_names_the_structure(tmp_path, structures, keep):
    path = tmp_path / "a.xyz"
    write_structures(path, structures)
    text = path.read_text()
    path.write_text(text[: int(keep * len(text))])
    with pytest.raises(UserError, match=r"a\.xyz.*structure \d"):
        read_structures(path)


def damage_energy(atoms):
    del atoms.info["REF_energy"]


def damage_forces(atoms):
    del atoms.arrays["REF_forces"]


def damage_nan(atoms):
    atoms.arrays["REF_forces"][1, 2] = np.nan


def damage_infinity(atoms):
    atoms.info["REF_energy"] = np.inf


def damage_overlap(atoms):
    atoms.positions[1] = atoms.positions[0] + [0.05, 0, 0]


def damage_cell(atoms):
    atoms.cell = np.zeros((3, 3))


def damage_element(atoms):
    atoms.numbers[0] = 79


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_energy, "structure 2: no energy"),
        (damage_forces, "structure 2: no forces"),
        (damage_nan, "structure 2: forces is not finite"),
        (damage_infinity, "structure 2: energy is not finite"),
        (damage_overlap, "structure 2: atoms 0 and 1 are 0.050 Å apart"),
        (damage_cell, "structure 2: pbc is"),
        (damage_element, "structure 2: element Au is not in the model"),
    ],
)
def test_damaged_structure_is_named(tmp_path, structures, damage, words):
    damage(structures[2])
    if damage is damage_cell:
        lines = []
        for index, atoms in enumerate(structures):
            write(tmp_path / "part.xyz", atoms, format="extxyz")
            text = (tmp_path / "part.xyz").read_text()
            lines.append(text.replace('pbc="F F F"', 'pbc="T T T"') if index == 2 else text)
        (tmp_path / "a.xyz").write_text("".join(lines))
    else:
        write_structures(tmp_path / "a.xyz", structures)
    with pytest.raises(UserError, match=words):
        read_structures(tmp_path / "a.xyz", elements={"Cu", "H"}, min_distance=0.3)


def test_large_forces_are_left_out_by_index_with_a_count(tmp_path, structures, capsys):
    structures[1].arrays["REF_forces"][0] = [200.0, 0, 0]
    write_structures(tmp_path / "a.xyz", structures)
    assert len(read_structures(tmp_path / "a.xyz", max_force=100.0)) == 3
    assert (
        "left out 1 of 4 structures with a force above 100 eV/Å: 1 (200)" in capsys.readouterr().out
    )
    with pytest.raises(UserError, match="every structure has a force above"):
        read_structures(tmp_path / "a.xyz", max_force=1e-9)


def test_a_long_list_of_large_forces_is_cut(tmp_path, capsys):
    structures = rattled_copper(14)
    for atoms in structures[:12]:
        atoms.arrays["REF_forces"][0] = [200.0, 0, 0]
    write_structures(tmp_path / "a.xyz", structures)
    assert len(read_structures(tmp_path / "a.xyz", max_force=100.0)) == 2
    assert "9 (200) and 2 more" in capsys.readouterr().out


def test_molecules_without_a_cell_are_fine(tmp_path):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]])
    atoms.info["REF_energy"] = -4.5
    atoms.arrays["REF_forces"] = np.zeros((2, 3))
    write_structures(tmp_path / "a.xyz", [atoms])
    assert len(read_structures(tmp_path / "a.xyz", min_distance=0.3)) == 1


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), r"holds 2 atoms \(H2\); expected one"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 30.0]]), "holds 2 atoms"),
        (Atoms("Cu", cell=[2.6, 12, 12], pbc=True), "image is 2.60 Å away"),
        # Edges of 6 Å, of which the difference is an image at 3.1 Å.
        (Atoms("Cu", cell=[[6, 0, 0], [5.2, 3, 0], [0, 0, 12]], pbc=True), "image is 3.1. Å away"),
    ],
)
@pytest.mark.parametrize("name", ["IsolatedAtom", "isolated_atom", "Isolated atoms"])
def test_what_is_named_an_isolated_atom_and_is_none_is_refused(atoms, words, name):
    atoms.info["config_type"] = name
    with pytest.raises(UserError, match=f"structure 0: its config_type is {name}, but .*{words}"):
        check_structures([atoms], require=())


def test_isolated_atoms_in_boxes_and_bound_structures_of_other_names_pass():
    alone = [Atoms("Cu", cell=[9, 9, 9], pbc=True), Atoms("Cu", cell=[2, 9, 9], pbc=(0, 1, 1))]
    for atoms in alone:
        atoms.info["config_type"] = "IsolatedAtom"
    assert check_structures([*alone, Atoms("Cu", cell=[2.6] * 3, pbc=True)], require=())
