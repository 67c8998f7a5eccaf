"""The data stage: splits, repeated and odd structures, and files of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from helpers import rattled_copper
from scipy.spatial.transform import Rotation

from distill.config import DataConfig
from distill.core.errors import UserError
from distill.data.data_stage import run, summarise, without_duplicates, without_energy_outliers
from distill.data.overlap import say_near_copies
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_forces,
    reference_stress,
    set_labels,
    write_structures,
)


def write_set(tmp_path, structures, name="data.xyz"):
    write_structures(tmp_path / name, structures)
    return str(tmp_path / name)


def test_a_repeated_structure_counts_once(tmp_path, capsys):
    structures = rattled_copper(8)
    train = write_set(tmp_path, [*structures, structures[2].copy()])
    run(DataConfig(train=train), out=tmp_path / "out", seed=1)
    assert "left out 1 repeated structures: 8" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "data.json").read_text())
    assert found["left_out"]["duplicates"] == [8]
    assert found["train"]["structures"] + found["test"]["structures"] == 8


@pytest.mark.parametrize(
    ("key", "words"), [("energy", "energies differ by 0.05"), ("forces", "forces differ by up")]
)
def test_a_structure_with_two_labels_is_refused(key, words):
    structures = rattled_copper(4)
    other = structures[1].copy()
    if key == "energy":
        other.info["REF_energy"] += 0.05 * len(other)
    else:
        other.arrays["REF_forces"] = other.arrays["REF_forces"] + 0.1
    with pytest.raises(UserError, match=f"structures 1 and 4 of the training set .*{words}"):
        without_duplicates([*structures, other], "training")


def test_odd_energies_are_listed_or_left_out(capsys):
    structures = rattled_copper(20)
    structures[7].info["REF_energy"] += 10.0 * len(structures[7])
    kept, dropped = without_energy_outliers(structures, None)
    assert (len(kept), dropped) == (20, [])
    assert "7 (+9.98)" in capsys.readouterr().out
    kept, dropped = without_energy_outliers(structures, 1.0)
    assert (len(kept), dropped) == (19, [7])
    assert without_energy_outliers(rattled_copper(20), None)[1] == []
    assert "far" not in capsys.readouterr().out
    with pytest.raises(UserError, match="leaves no structure"):
        without_energy_outliers(rattled_copper(20), 1e-9)


def test_a_test_structure_of_the_training_set_is_refused(tmp_path):
    structures = rattled_copper(8)
    train = write_set(tmp_path, structures[:5])
    test = write_set(tmp_path, [structures[6], structures[3]], "test.xyz")
    words = "1 of 2 structures of the test set .* structure 1 is training structure 3"
    with pytest.raises(UserError, match=words):
        run(DataConfig(train=train, test=test), out=tmp_path / "out", seed=1)
    assert not (tmp_path / "out").exists()


def test_the_summary_is_of_the_labels():
    small, large = rattled_copper(1)[0], rattled_copper(1, seed=1)[0].repeat((2, 1, 1))
    n = len(small)
    for atoms, energy in ((small, -3.0 * n), (large, -8.0 * n)):
        forces = np.zeros((len(atoms), 3))
        set_labels(atoms, energy=energy, forces=forces)
    small.arrays["REF_forces"][1] = [0.5, -2.0, 1.0]
    large.info["config_type"] = "large"
    del small.info["REF_stress"]
    found = summarise([small, large])
    assert found["structures"] == 2
    assert found["atoms"] == [n, 2 * n]
    assert found["energy_per_atom"] == pytest.approx([-4.0, -3.0])
    assert found["largest_force"] == 2.0
    assert found["config_types"]["large"] == 1


@pytest.mark.parametrize("name", ["h2cu_train", "lif_train"])
def test_the_bundled_sets_raise_no_alarm(name, capsys):
    structures = read_structures(f"bundled:{name}")
    assert without_duplicates(structures, "training")[1] == []
    without_energy_outliers(structures, None)
    assert capsys.readouterr().out == ""


def test_structures_without_labels_pass_where_they_are_allowed(tmp_path):
    bare = [atoms.copy() for atoms in rattled_copper(6)]
    for atoms in bare:
        del atoms.info["REF_energy"], atoms.arrays["REF_forces"], atoms.info["REF_stress"]
    train = write_set(tmp_path, bare)
    with pytest.raises(UserError, match="structure 0: no energy"):
        run(DataConfig(train=train), out=tmp_path / "out", seed=1)
    run(DataConfig(train=train, unlabelled=True), out=tmp_path / "out", seed=1)
    assert len(read_structures(tmp_path / "out" / "train.xyz", require=())) == 5
    # One of two equal structures has labels, which nothing contradicts.
    assert without_duplicates([*rattled_copper(6), bare[4]], "training")[1] == [6]


def test_an_ase_database_is_read_with_its_types_and_results(tmp_path):
    from ase.db import connect

    structures = rattled_copper(6)
    with connect(tmp_path / "data.db") as database:
        for number, atoms in enumerate(structures):
            bare = atoms.copy()
            labels = {
                "energy": bare.info.pop("REF_energy"),
                "forces": bare.arrays.pop("REF_forces"),
                "stress": bare.info.pop("REF_stress"),
            }
            bare.calc = SinglePointCalculator(bare, **labels)
            database.write(bare, config_type="odd" if number % 2 else "even")
    run(DataConfig(train=str(tmp_path / "data.db")), out=tmp_path / "out", seed=1)
    found = [
        atoms
        for part in ("train", "test")
        for atoms in read_structures(tmp_path / "out" / f"{part}.xyz")
    ]
    assert {a.info["config_type"] for a in found} == {"odd", "even"}
    energies = sorted(reference_energy(a) for a in found)
    assert energies == pytest.approx(sorted(reference_energy(a) for a in structures), abs=1e-7)
    assert all(reference_stress(a) is not None for a in found)


@pytest.mark.parametrize(
    ("name", "energy", "count"),
    [
        ("vasp/vasprun_pstress.xml", -20.246959373169393, 1),
        ("vasp/OUTCAR_example_1", -68.22868532, 1),
        ("castep/md.castep", -1351.300206072, 3),
    ],
)
def test_outputs_of_vasp_and_castep_are_read_with_the_force_consistent_energy(name, energy, count):
    """Forces are the gradient of the free energy, not of its limit at no smearing."""
    import ase.test

    path = Path(ase.test.__file__).parent / "testdata" / name
    if not path.is_file():
        pytest.skip("this installation of ASE comes without its sample files")
    found = read_structures(path)
    assert len(found) == count
    assert reference_energy(found[0]) == pytest.approx(energy)
    assert reference_forces(found[0]).shape == (len(found[0]), 3)


def test_test_structures_that_hardly_differ_from_training_ones_are_said(tmp_path, capsys):
    """Frames of one trajectory, or a structure with fewer digits: no copies, and no test."""
    train = rattled_copper(12)
    near = [atoms.copy() for atoms in train[3:6]]
    for atoms in near:
        atoms.positions = atoms.positions.round(3)
    other = rattled_copper(2, seed=7)
    write_set(tmp_path, [*near, *other], "test.xyz")
    config = DataConfig(train=write_set(tmp_path, train), test=str(tmp_path / "test.xyz"))
    run(config, out=tmp_path / "out", seed=1)
    said = "3 of 5 test structures are within 0.02 Å of a training structure"
    assert f"{said} in every coordinate, as frames of one trajectory are: 0, 1, 2" in (
        capsys.readouterr().out
    )
    assert say_near_copies(train, other) == 0
    assert say_near_copies(train, [a.repeat((1, 1, 2)) for a in near]) == 0
    assert capsys.readouterr().out == ""


def test_an_empty_split_is_refused(tmp_path):
    train = write_set(tmp_path, rattled_copper(1))
    with pytest.raises(UserError, match="cannot hold out any of 1 structures"):
        run(DataConfig(train=train), out=tmp_path / "out", seed=1)
    empty = tmp_path / "empty.xyz"
    empty.touch()
    with pytest.raises(UserError, match="is empty"):
        run(DataConfig(train=train, test=str(empty)), out=tmp_path / "out", seed=1)


def test_splits_are_fixed_by_the_seed(tmp_path):
    train = write_set(tmp_path, rattled_copper(10))
    positions = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / str(number)
        run(DataConfig(train=train), out=out, seed=seed)
        held = read_structures(out / "test.xyz")
        positions.append(np.concatenate([a.positions for a in held]))
    np.testing.assert_array_equal(positions[0], positions[1])
    assert not np.array_equal(positions[0], positions[2])


def free_atom(symbol, energy, **info):
    atoms = Atoms(symbol)
    atoms.info.update(REF_energy=energy, **info)
    return atoms


@pytest.mark.parametrize("seed", range(4))
def test_isolated_atoms_are_never_held_out(tmp_path, seed):
    free = [free_atom("Cu", -0.5), free_atom("H", -1.1, config_type="IsolatedAtom")]
    train = write_set(tmp_path, [free[0], *rattled_copper(6), free[1]])
    run(DataConfig(train=train, test_fraction=0.5), out=tmp_path / "out", seed=seed)
    assert all(len(a) > 1 for a in read_structures(tmp_path / "out" / "test.xyz"))
    kept = read_structures(tmp_path / "out" / "train.xyz")
    assert [len(a) for a in kept] == [1, 4, 4, 4, 1]


def test_two_energies_of_a_free_atom_are_refused_in_either_order(tmp_path):
    free = [free_atom("H", -1.1), free_atom("H", 0.4)]
    for pair in (free, free[::-1]):
        train = write_set(tmp_path, [*pair, *rattled_copper(6)])
        with pytest.raises(UserError, match=r"structures 0, 1: .*isolated H atoms .*-1.1, 0.4 eV"):
            run(DataConfig(train=train), out=tmp_path / "out", seed=1)


def test_a_set_of_isolated_atoms_alone_is_refused(tmp_path):
    atom = set_labels(Atoms("H"), energy=-1.0)
    train = write_set(tmp_path, [atom, atom.copy()])
    with pytest.raises(UserError, match=r"data\.xyz holds only isolated atoms"):
        run(DataConfig(train=train), out=tmp_path / "out", seed=1)


def test_isolated_atoms_of_a_test_file_are_left_out(tmp_path, capsys):
    structures = rattled_copper(6)
    train = write_set(tmp_path, [free_atom("Cu", -0.5), *structures[:4]])
    test = write_set(tmp_path, [free_atom("Cu", -0.5), *structures[4:]], "test.xyz")
    run(DataConfig(train=train, test=test), out=tmp_path / "out", seed=1)
    assert "left out 1 isolated atoms" in capsys.readouterr().out
    assert len(read_structures(tmp_path / "out" / "test.xyz")) == 2


def test_a_test_structure_in_disguise_is_refused(tmp_path):
    structures = rattled_copper(6)
    disguised = structures[2][::-1]
    disguised.positions += structures[2].cell[0] + 0.3
    disguised.wrap()
    train = write_set(tmp_path, structures)
    test = write_set(tmp_path, [disguised], "test.xyz")
    with pytest.raises(UserError, match="structure 0 is training structure 2"):
        run(DataConfig(train=train, test=test), out=tmp_path / "out", seed=1)


def turned(atoms, seed=0):
    """The structure in another frame, the cell with it."""
    other, turn = atoms.copy(), Rotation.random(random_state=seed).as_matrix()
    other.set_cell(atoms.cell[:] @ turn)
    other.positions = atoms.positions @ turn
    other.arrays["REF_forces"] = atoms.arrays["REF_forces"] @ turn
    return other


def test_all_test_structures_that_are_training_structures_are_named_as_in_their_files(tmp_path):
    structures = [Atoms("Cu"), *rattled_copper(7)]
    set_labels(structures[0], energy=0.0, forces=np.zeros((1, 3)))
    train = write_set(tmp_path, [structures[0], structures[1], *structures[1:6]])
    test = write_set(tmp_path, [structures[0], structures[7], turned(structures[5])], "test.xyz")
    with pytest.raises(UserError, match=r"1 of 3 .*: structure 2 is training structure 6"):
        run(DataConfig(train=train, test=test), out=tmp_path / "out", seed=1)


def test_copies_in_another_frame_are_on_one_side_of_a_split(tmp_path, capsys):
    structures = rattled_copper(10)
    train = write_set(tmp_path, [*structures, *map(turned, structures[:3])])
    seeds_that_part_them = 0
    for seed in range(4):
        out = tmp_path / f"out{seed}"
        run(DataConfig(train=train, test_fraction=0.4), out=out, seed=seed)
        parts = [read_structures(out / f"{name}.xyz") for name in ("train", "test")]
        energies = [{round(reference_energy(a), 6) for a in part} for part in parts]
        assert not energies[0] & energies[1]
        assert len(parts[0]) + len(parts[1]) == 13
        seeds_that_part_them += "that would be held out are training" in capsys.readouterr().out
    assert seeds_that_part_them > 0


def test_a_set_of_copies_alone_is_not_split(tmp_path):
    (atoms,) = rattled_copper(1)
    train = write_set(tmp_path, [atoms, *(turned(atoms, seed) for seed in range(5))])
    with pytest.raises(UserError, match=r"all of 1 structures that would be held out .* rotated"):
        run(DataConfig(train=train, test_fraction=0.2), out=tmp_path / "out", seed=1)


def test_copies_with_other_energies_are_named(tmp_path, capsys):
    structures = rattled_copper(8)
    other = turned(structures[3])
    other.info["REF_energy"] += 0.1
    train = write_set(tmp_path, [*structures, other])
    run(DataConfig(train=train), out=tmp_path / "out", seed=1)
    assert "their energies differ: 3 and 8 (0.025 eV/atom)" in capsys.readouterr().out


def test_frames_of_a_trajectory_are_held_out_together(tmp_path, capsys):
    structures = rattled_copper(20)
    for number, atoms in enumerate(structures):
        atoms.info["trajectory"] = f"run {number // 5}"
    run(DataConfig(train=write_set(tmp_path, structures)), out=tmp_path / "out", seed=1)
    names = [
        {a.info["trajectory"] for a in read_structures(tmp_path / "out" / f"{part}.xyz")}
        for part in ("train", "test")
    ]
    assert (len(names[0]), len(names[1])) == (3, 1)
    assert not names[0] & names[1]
    for number, atoms in enumerate(structures):
        atoms.info.update(trajectory="run", step=number)
    run(DataConfig(train=write_set(tmp_path, structures)), out=tmp_path / "one", seed=1)
    assert "frames of one trajectory" in capsys.readouterr().out
    held = read_structures(tmp_path / "one" / "test.xyz")
    assert [a.info["step"] for a in held] == [16, 17, 18, 19]


@pytest.mark.parametrize("constrained", [True, False])
def test_forces_of_zero_on_fixed_atoms_are_mentioned(tmp_path, capsys, constrained):
    from ase.constraints import FixAtoms

    structures = rattled_copper(6)
    for atoms in structures:
        if constrained:
            atoms.set_constraint(FixAtoms([0, 1]))
        atoms.arrays["REF_forces"][:2] = 0
    run(DataConfig(train=write_set(tmp_path, structures)), out=tmp_path / "out", seed=1)
    assert "forces are exactly zero on some atoms of 6 of 6" in capsys.readouterr().out
