"""Labels are found where writers leave them, and what stays unused is named."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from helpers import rattled_copper

from distill.core.errors import UserError
from distill.data.label_keys import LabelKeys
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_forces,
    reference_stress,
    set_labels,
    write_structures,
)


def renamed(energy="energy", forces="forces", stress="stress", count=2):
    """Structures with labels under other keys, and the labels."""
    structures = rattled_copper(count)
    labels = []
    for atoms in structures:
        e, s = atoms.info.pop("REF_energy"), atoms.info.pop("REF_stress")
        f = atoms.arrays.pop("REF_forces")
        labels.append((e, f, s))
        for place, key, value in (
            (atoms.info, energy, e),
            (atoms.arrays, forces, f),
            (atoms.info, stress, s),
        ):
            if key:
                place[key] = value
    return structures, labels


def test_files_that_ase_writes_with_a_calculator_need_no_keys(tmp_path, capsys):
    structures, labels = renamed("", "", "")
    for atoms, (energy, forces, stress) in zip(structures, labels, strict=True):
        results = {"energy": energy + 0.1, "free_energy": energy, "forces": forces}
        atoms.calc = SinglePointCalculator(atoms, stress=stress, **results)
    write(tmp_path / "a.xyz", structures, format="extxyz")
    for atoms, (energy, forces, stress) in zip(
        read_structures(tmp_path / "a.xyz"), labels, strict=True
    ):
        assert reference_energy(atoms) == pytest.approx(energy)
        np.testing.assert_allclose(reference_forces(atoms), forces, atol=1e-7)
        np.testing.assert_allclose(reference_stress(atoms), stress, atol=1e-7)
    (said,) = capsys.readouterr().out.splitlines()
    assert "named free_energy" in said


@pytest.mark.parametrize("name", ["out.xyz", "out.traj"])
def test_free_energies_are_taken_and_said_where_energies_differ(tmp_path, capsys, name):
    frames = []
    for entropy in (0.0, 0.3):
        atoms = bulk("Cu", cubic=True)
        values = {"energy": -1.0, "free_energy": -1.0 - entropy, "forces": np.zeros((4, 3))}
        atoms.calc = SinglePointCalculator(atoms, **values)
        frames.append(atoms)
    write(tmp_path / name, frames, format="extxyz" if name.endswith("xyz") else None)
    found = read_structures(tmp_path / name)
    assert [a.info["REF_energy"] for a in found] == [-1.0, -1.3]
    said = capsys.readouterr().out
    assert "named free_energy" in said
    assert "in 1 structures, by up to 0.3 eV" in said
    write(tmp_path / "same.xyz", frames[:1], format="extxyz")
    read_structures(tmp_path / "same.xyz")
    assert "free_energy" not in capsys.readouterr().out


@pytest.mark.parametrize("other", ["", "unknown", '"1 2"'])
def test_an_energy_beside_the_free_energy_may_be_anything(tmp_path, other):
    path = tmp_path / "a.xyz"
    path.write_text(f"1\nfree_energy=-1.5 energy={other}\nCu 0 0.5 0.25\n")
    assert reference_energy(read_structures(path)[0]) == -1.5


def test_keys_are_compared_without_case(tmp_path):
    structures, labels = renamed("DFT_Energy", "DFT_FORCES", "")
    write(tmp_path / "a.xyz", structures, format="extxyz")
    found = read_structures(tmp_path / "a.xyz", energy_key="dft_energy", forces_key="Dft_Forces")
    assert [reference_energy(a) for a in found] == pytest.approx([e for e, _, _ in labels])
    structures[1].info["dft_energy"] = -1.0
    write(tmp_path / "a.xyz", structures, format="extxyz")
    with pytest.raises(UserError, match="structure 1: DFT_Energy and dft_energy differ in case"):
        read_structures(tmp_path / "a.xyz", energy_key="DFT_ENERGY", forces_key="dft_forces")


def test_a_stress_of_another_method_is_named_and_not_taken(tmp_path, capsys):
    structures = rattled_copper(2)
    for atoms in structures:
        atoms.info["dft_virial"] = np.eye(3).ravel()
        atoms.info["mace_energy"] = -1.0
        atoms.arrays["dft_forces"] = np.ones((len(atoms), 3))
        atoms.info.pop("REF_stress")
        atoms.calc = SinglePointCalculator(atoms, stress=np.ones(6))
    write(tmp_path / "a.xyz", structures, format="extxyz")
    assert all(reference_stress(a) is None for a in read_structures(tmp_path / "a.xyz"))
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    for part in (
        "dft_forces (in 2 of 2; forces_key)",
        "dft_virial (in 2 of 2; virial_key)",
        "mace_energy (in 2 of 2; energy_key)",
        "stress (in 2 of 2; stress_key)",
    ):
        assert part in told


@pytest.mark.parametrize("count", [6, 9])
def test_a_stress_of_six_or_nine_numbers_is_read(tmp_path, count):
    structures, labels = renamed(stress="")
    stress = labels[0][2]
    numbers = stress if count == 6 else stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    write(tmp_path / "a.xyz", structures[0], format="extxyz")
    text = (tmp_path / "a.xyz").read_text()
    written = " ".join(map(str, numbers))
    (tmp_path / "a.xyz").write_text(text.replace(" pbc=", f' stress="{written}" pbc='))
    np.testing.assert_allclose(reference_stress(read_structures(tmp_path / "a.xyz")[0]), stress)


def test_keys_of_another_meaning_are_refused():
    with pytest.raises(UserError, match="name it by virial_key"):
        LabelKeys(stress="dft_virials")
    with pytest.raises(UserError, match="name it by stress_key"):
        LabelKeys(virial="REF_stress")


def test_energies_per_atom_are_no_labels(tmp_path, capsys):
    with pytest.raises(UserError, match=r"energy_key names .dft_energy_per_atom..*multiply it by"):
        LabelKeys(energy="dft_energy_per_atom")
    structures, _ = renamed("energy_per_atom")
    write(tmp_path / "a.xyz", structures, format="extxyz")
    read_structures(tmp_path / "a.xyz", require=("forces",), forces_key="forces")
    assert "energy_per_atom are energies per atom, which are no labels" in capsys.readouterr().out
    for atoms in structures:
        atoms.info["energy"] = -1.0
        atoms.info["fermi_energy"] = 5.0
    write(tmp_path / "a.xyz", structures, format="extxyz")
    read_structures(tmp_path / "a.xyz")
    assert "energ" not in capsys.readouterr().out


def test_short_names_of_labels_are_known(tmp_path, capsys):
    write(tmp_path / "a.xyz", renamed("E", "f")[0], format="extxyz")
    with pytest.raises(UserError, match=r"no energy: .* found stress, E, f"):
        read_structures(tmp_path / "a.xyz")
    read_structures(tmp_path / "a.xyz", require=())
    unused = "E (in 2 of 2; energy_key), f (in 2 of 2; forces_key)"
    assert unused in capsys.readouterr().out


def test_nine_numbers_of_a_stress_that_are_no_symmetric_matrix_are_said(tmp_path, capsys):
    """They may stand for something else, such as six numbers and zeros."""
    (atoms,) = rattled_copper(1)
    matrix = np.array([[0.01, 2e-4, 0.0], [1e-4, 0.02, 0.0], [0.0, 0.0, 0.03]])
    padded = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006, 0, 0, 0])
    for nine, said in ((matrix, ""), (10 * matrix, ""), (padded, "no symmetric matrix in")):
        atoms.info["REF_stress"] = nine.ravel()
        write(tmp_path / "a.xyz", atoms, format="extxyz")
        assert len(read_structures(tmp_path / "a.xyz")) == 1
        shown = capsys.readouterr().out
        assert (said in shown) if said else (shown == "")


def test_a_stress_needs_a_volume(tmp_path, capsys):
    molecule = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]])
    set_labels(molecule, energy=-4.5, forces=np.zeros((2, 3)), stress=np.zeros(6))
    write_structures(tmp_path / "a.xyz", [molecule])
    assert reference_stress(read_structures(tmp_path / "a.xyz")[0]) is None
    assert "left out the stress of 1 structures that have no volume" in capsys.readouterr().out
    set_labels(molecule, stress=np.ones(6))
    write_structures(tmp_path / "a.xyz", [molecule])
    with pytest.raises(UserError, match="structure 0: has a stress but no volume"):
        read_structures(tmp_path / "a.xyz")
    molecule.info["virial"] = molecule.info.pop("REF_stress")
    write_structures(tmp_path / "a.xyz", [molecule])
    with pytest.raises(UserError, match="structure 0: has a virial but no volume"):
        read_structures(tmp_path / "a.xyz", virial_key="virial")


def test_a_single_atom_has_no_force_and_needs_no_label_of_it(tmp_path):
    atom = Atoms("H")
    atom.info["REF_energy"] = -13.6
    write_structures(tmp_path / "a.xyz", [atom])
    np.testing.assert_array_equal(
        reference_forces(read_structures(tmp_path / "a.xyz")[0]), np.zeros((1, 3))
    )


@pytest.mark.parametrize("value", [True, np.ones(3)])
def test_an_energy_is_one_number(tmp_path, value):
    structures = rattled_copper(1)
    structures[0].info["REF_energy"] = value
    write_structures(tmp_path / "a.xyz", structures)
    with pytest.raises(UserError, match=r"structure 0: (a label is not numeric|the energy is 3)"):
        read_structures(tmp_path / "a.xyz")


def test_the_refusal_names_the_labels_that_are_there(tmp_path):
    structures, _ = renamed("dft_energy", "dft_forces", "")
    write(tmp_path / "a.xyz", structures, format="extxyz")
    with pytest.raises(UserError, match=r"no energy: .*found dft_energy, dft_forces"):
        read_structures(tmp_path / "a.xyz")
