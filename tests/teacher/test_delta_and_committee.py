"""Teachers of several parts: sums and means, their spread, bases that change, calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.calculators.emt import EMT
from tiny_mace import TINY, rattled_structures

from distill import Teacher
from distill.config import TeacherConfig
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_forces,
    set_labels,
    write_structures,
)
from distill.models.calculators import known_elements
from distill.models.mace.torch_tools import precision
from distill.teacher.committee import calibration, mean_and_spread
from distill.teacher.teacher_stage import run

SMALL = {"hidden_irreps": "4x0e", "radial_mlp": [8], "readout_irreps": "4x0e", "max_ell": 1}
SLAB = rattled_structures(2)[1]


def evaluate(calculator, atoms=SLAB):
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


@pytest.fixture(scope="module")
def emt_corrected(tmp_path_factory):
    """A delta teacher on EMT, trained on EMT plus one eV for each H and 2 % of the forces."""
    folder = tmp_path_factory.mktemp("delta")
    structures = []
    for atoms in rattled_structures(15):
        hydrogens = list(atoms.symbols).count("H")
        atoms.info["REF_energy"] += 1.0 * hydrogens
        structures.append(atoms)
    train, test = folder / "train.xyz", folder / "test.xyz"
    write_structures(train, structures[:12])
    write_structures(test, structures[12:])
    config = TeacherConfig(
        strategy="delta",
        delta={"base": {"path": "ase.calculators.emt:EMT"}, "architecture": SMALL},
        **{**TINY, "epochs": 2, "lr": 1e-5},
    )
    run(config, train=train, test=test, out=folder / "out", seed=1)
    return folder / "out"


def test_a_correction_leaves_the_base_what_it_knows(emt_corrected):
    """What EMT already has need not be learnt, and the energy per H atom goes to the E0s."""
    about = json.loads((emt_corrected / "teacher.json").read_text())
    assert about["e0_shifts"]["H"] == pytest.approx(1.0, abs=1e-6)
    assert about["foundation"]["name"] == "ase.calculators.emt:EMT"
    assert about["delta"]["architecture"]["hidden_irreps"] == "4x0e"
    errors = json.loads((emt_corrected / "errors.json").read_text())
    assert errors["foundation"]["energy_per_atom"]["rmse"] < 1e-6
    assert errors["foundation"]["forces"]["rmse"] < 1e-6
    calculator = Teacher.load(emt_corrected).calculator()
    assert known_elements(calculator) == {"H", "Cu"}
    energy, forces, stress = evaluate(calculator)
    base = evaluate(EMT())
    correction = evaluate(calculator.correction)
    assert energy == pytest.approx(base[0] + correction[0], abs=1e-9)
    np.testing.assert_allclose(forces, base[1] + correction[1], atol=1e-9)
    np.testing.assert_allclose(stress, base[2] + correction[2], atol=1e-9)


def test_a_base_in_single_precision_is_corrected_in_double(labelled_files, tmp_path):
    """As CHGNet is: training, its labels and the teacher's file leave it the precision it has."""
    train, test = labelled_files
    base = {"path": "helpers:SinglePrecision"}
    config = TeacherConfig(
        strategy="delta",
        dtype="float64",
        delta={"base": base, "architecture": SMALL},
        **{**TINY, "epochs": 1},
    )
    run(config, train=train, test=test, out=tmp_path, seed=1)
    calculator = Teacher.load(tmp_path).calculator()
    with precision("float64"):
        for atoms in read_structures(tmp_path / "test_teacher.xyz"):
            atoms.calc = calculator
            energy = atoms.get_potential_energy()
            assert energy == pytest.approx(reference_energy(atoms), abs=1e-5)
            assert type(energy) is float
            assert atoms.get_forces().dtype == np.float64


def test_one_body_energies_are_those_of_the_whole(emt_corrected):
    """The student takes them: a free atom's energy by the base plus the shift."""
    from ase import Atoms

    about = json.loads((emt_corrected / "teacher.json").read_text())
    free = Atoms("H", cell=[20] * 3, positions=[[10] * 3])
    free.calc = EMT()
    assert about["e0"]["H"] == pytest.approx(free.get_potential_energy() + 1.0, abs=1e-6)


def test_the_spread_is_graded_against_the_errors():
    """Members that scatter about the truth as much as they say are found to be calibrated."""
    rng = np.random.default_rng(1)
    truth = [a for _ in range(20) for a in rattled_structures(6)]
    scales = [0.01 if i % 2 else 0.3 for i in range(len(truth))]
    members = []
    for _ in range(8):
        noisy = []
        for atoms, scale in zip(truth, scales, strict=True):
            noise = rng.normal(0, scale, atoms.positions.shape)
            energy = atoms.info["REF_energy"] + rng.normal(0, scale)
            noisy.append(
                set_labels(atoms.copy(), energy=energy, forces=atoms.arrays["REF_forces"] + noise)
            )
        members.append(noisy)
    # The first stands for the truth: its distance from the mean of seven is √(1 + 1/7).
    quality = calibration(members[0], mean_and_spread(members[1:]))
    assert quality.forces.scale == pytest.approx(np.sqrt(1 + 1 / 7), rel=0.1)
    assert quality.forces.rank_correlation > 0.6
    assert quality.energy_per_atom.count == len(truth)
    bins = quality.forces.bins
    assert bins[0].rmse < 0.1 * bins[-1].rmse


def test_a_committee_leaves_its_members_and_its_calibration(
    fitting_foundation_file, labelled_files, tmp_path, capsys
):
    config = TeacherConfig(
        foundation=str(fitting_foundation_file),
        committee={"members": 2},
        fraction=0.5,
        **{**TINY, "epochs": 1},
    )
    train, test = labelled_files
    run(config, train=train, test=test, out=tmp_path, seed=1)
    result = json.loads((tmp_path / "committee.json").read_text())
    assert len(result["members"]) == 2
    assert result["calibration"]["forces"]["count"] == 3 * sum(map(len, read_structures(test)))
    assert (tmp_path / "committee_calibration.png").stat().st_size > 1000
    about = json.loads((tmp_path / "teacher.json").read_text())
    subsets = about["training"]["indices_by_member"]
    assert len(subsets[0]) == len(subsets[1]) == 9
    assert subsets[0] != subsets[1]
    predicted = read_structures(tmp_path / "test_teacher.xyz")
    members = [read_structures(tmp_path / f"members/{k:02d}/test_teacher.xyz") for k in (0, 1)]
    for mean, one, other in zip(predicted, *members, strict=True):
        pair = [reference_energy(one), reference_energy(other)]
        assert reference_energy(mean) == pytest.approx(np.mean(pair))
        assert mean.info["energy_std"] == pytest.approx(np.std(pair, ddof=1))
        assert mean.arrays["forces_std"].shape == (len(mean),)
        forces = np.mean([reference_forces(one), reference_forces(other)], axis=0)
        np.testing.assert_allclose(reference_forces(mean), forces, atol=1e-7)
    capsys.readouterr()
    run(config, train=train, test=test, out=tmp_path, seed=1)
    assert capsys.readouterr().out.count("done before, skipped") == 2
