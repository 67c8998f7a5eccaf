"""The teacher stage end to end on tiny data: its files, bad input, physics of the result."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from tiny_mace import TINY, lying_h2, rattled_structures

from distill import Teacher
from distill.config import TeacherConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.core.work import keep_units
from distill.data.structures import read_structures, set_labels, write_structures
from distill.models.calculators import load_calculator
from distill.models.mace import steps
from distill.teacher.teacher_results import TeacherErrors
from distill.teacher.teacher_stage import run

SMALL = {"hidden_irreps": "4x0e", "radial_mlp": [8], "readout_irreps": "4x0e", "max_ell": 1}
BY_EMT = {"calculator": {"path": "ase.calculators.emt:EMT"}}


def fine_tune(foundation_file, files, out, **changes):
    config = TeacherConfig(**{"foundation": str(foundation_file), **TINY, **changes})
    run(config, train=files[0], test=files[1], out=out, seed=1)
    return json.loads((out / "teacher.json").read_text())


@pytest.fixture(scope="module")
def teacher(foundation_file, labelled_files, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher")
    fine_tune(foundation_file, labelled_files, out, epochs=20)
    return out


def test_the_teacher_is_better_than_the_foundation(teacher):
    errors = json.loads((teacher / "errors.json").read_text())
    assert errors["teacher"]["forces"]["rmse"] < 0.7 * errors["foundation"]["forces"]["rmse"]
    assert set(errors["teacher"]["forces_by_element"]) == {"H", "Cu"}
    assert set(errors["teacher"]["by_config_type"]) == {"slab", "bulk", "h2"}


def test_it_leaves_its_files(teacher, labelled_files):
    about = json.loads((teacher / "teacher.json").read_text())
    assert about["elements"] == ["H", "Cu"]
    assert set(about["e0"]) == {"H", "Cu"}
    assert about["r_max"] == 4.0
    assert about["trainable_parameters"] < about["parameters"]
    assert len(about["foundation"]["sha256"]) == 64
    assert about["training"]["used"] == 18
    with (teacher / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == about["epochs"] == 20
    predicted = read_structures(teacher / "test_teacher.xyz")
    assert len(predicted) == 6


def test_another_test_set_or_thread_count_trains_nothing_again(
    teacher, foundation_file, labelled_files, tmp_path, monkeypatch
):
    """What is left of a discarded stage are the trained weights."""
    train, test = labelled_files
    kept = tmp_path / "kept"
    keep_units(Path(shutil.copytree(teacher, tmp_path / "old")), kept)
    assert {path.parent.name for path in kept.rglob("*") if path.is_file()} == {".kept"}
    write_structures(tmp_path / "test.xyz", read_structures(test)[:4])

    def no_training(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(steps, "training_step", no_training)
    files = (train, tmp_path / "test.xyz")
    about = fine_tune(foundation_file, files, kept, epochs=20, threads=1)
    assert about["epochs"] == 20
    assert about["test"]["structures"] == 4
    one, other = (load_calculator(f / "teacher.model") for f in (teacher, kept))
    atoms = read_structures(test)[0]
    np.testing.assert_array_equal(one.get_forces(atoms), other.get_forces(atoms))
    with pytest.raises(AssertionError, match="trained again"):
        fine_tune(foundation_file, files, kept, epochs=21)


def test_the_model_file_gives_the_predictions_that_were_measured(teacher, labelled_files):
    calculator = load_calculator(teacher / "teacher.model")
    for atoms in read_structures(teacher / "test_teacher.xyz"):
        copy = atoms.copy()
        copy.calc = calculator
        assert copy.get_potential_energy() == pytest.approx(atoms.info["REF_energy"], abs=1e-6)
        np.testing.assert_allclose(copy.get_forces(), atoms.arrays["REF_forces"], atol=1e-6)


def test_the_untouched_foundation_is_a_teacher_too(foundation_file, labelled_files, tmp_path):
    about = fine_tune(foundation_file, labelled_files, tmp_path, strategy="none", dtype="float32")
    errors = json.loads((tmp_path / "errors.json").read_text())
    for quantity in ("energy", "forces"):
        before, after = (errors[name][quantity]["rmse"] for name in ("foundation", "teacher"))
        assert after == pytest.approx(before, abs=1e-12)
    assert about["trainable_parameters"] == 0
    assert about["dtype"] == "float32"


def test_from_scratch_trains_everything(foundation_file, labelled_files, tmp_path):
    about = fine_tune(foundation_file, labelled_files, tmp_path, strategy="scratch")
    assert about["trainable_parameters"] == about["parameters"]
    assert about["freeze"] is None


@pytest.mark.parametrize(
    "changes", [{}, {"architecture": SMALL}, {"committee": {"members": 2}}, {"labels": BY_EMT}]
)
def test_from_scratch_needs_no_foundation_that_knows_the_elements(
    foundation_file, foreign_files, tmp_path, changes
):
    about = fine_tune(foundation_file, foreign_files, tmp_path, strategy="scratch", **changes)
    assert about["elements"] == ["Al", "Cu"]
    assert set(about["e0"]) == {"Al", "Cu"}
    errors = read_result(tmp_path / "errors.json", TeacherErrors)
    assert errors.foundation is None and errors.teacher.forces is not None
    assert not (tmp_path / "test_foundation.xyz").exists()
    calculator = Teacher.load(tmp_path).calculator()
    for atoms in read_structures(tmp_path / "test_teacher.xyz"):
        copy = atoms.copy()
        copy.calc = calculator
        assert copy.get_potential_energy() == pytest.approx(atoms.info["REF_energy"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"e0": "foundation"}, r"teacher\.e0 is 'foundation', but .*does not know Al; use"),
        ({"keep_elements": True}, r"teacher\.keep_elements is true, but .*does not know Al"),
        ({"labels": {}}, r"teacher\.labels: .*does not know Al; name a calculator"),
        ({"committee": {"members": 2}, "labels": {}}, r"teacher\.labels: .*does not know Al"),
        ({"strategy": "finetune"}, r"train\.xyz: structure 0: element Al is not in the model"),
    ],
)
def test_what_else_the_foundation_must_say_needs_its_elements(
    foundation_file, foreign_files, tmp_path, changes, words
):
    with pytest.raises(UserError, match=words):
        fine_tune(foundation_file, foreign_files, tmp_path, **{"strategy": "scratch", **changes})
    assert not (tmp_path / "teacher.model").exists()


def test_a_new_architecture_can_keep_the_energies_of_the_foundation(
    foundation_file, labelled_files, tmp_path
):
    options = {"strategy": "scratch", "architecture": SMALL, "e0": "foundation", "epochs": 1}
    about = fine_tune(foundation_file, labelled_files, tmp_path, **options)
    assert about["e0"] == pytest.approx({"H": -0.3, "Cu": -0.8})


def test_a_fraction_is_used_and_isolated_atoms_only_fix_energies(
    foundation_file, labelled_files, tmp_path
):
    structures = read_structures(labelled_files[0])
    for symbol, energy in (("H", 5.0), ("Cu", 7.0)):
        atom = Atoms(symbol, cell=[20, 20, 20], pbc=True)
        atom.info["config_type"] = "IsolatedAtom"
        structures.append(set_labels(atom, energy=energy, forces=np.zeros((1, 3))))
    train = tmp_path / "train.xyz"
    write_structures(train, structures)
    about = fine_tune(
        foundation_file,
        (train, labelled_files[1]),
        tmp_path / "out",
        fraction=0.5,
        e0="isolated",
        epochs=1,
    )
    assert about["training"]["available"] == 18
    assert about["training"]["used"] == 9
    assert about["training"]["isolated_atoms"] == ["H", "Cu"]
    calculator = load_calculator(tmp_path / "out" / "teacher.model")
    for symbol, energy in (("H", 5.0), ("Cu", 7.0)):
        atom = Atoms(symbol, cell=[20, 20, 20], pbc=True)
        atom.calc = calculator
        assert atom.get_potential_energy() == pytest.approx(energy, abs=1e-6)


def test_a_model_that_has_nothing_to_learn_stays_as_it_is(
    foundation_file, labelled_files, tmp_path, capsys
):
    """Trained on its own labels it can only become worse: it is kept, and that is said."""
    about = fine_tune(foundation_file, labelled_files, tmp_path, labels={}, epochs=2)
    assert about["best_epoch"] == 0
    assert about["worse_than_foundation"] is False
    assert about["validation_before"]["forces_rmse"] == pytest.approx(0.0, abs=1e-7)
    assert about["validation_after"] == about["validation_before"]
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors["teacher"]["forces"]["rmse"] == pytest.approx(0.0, abs=1e-7)
    assert "WARNING: no epoch of training improved" in capsys.readouterr().out


def test_a_finished_teacher_is_not_trained_again(
    foundation_file, labelled_files, tmp_path, monkeypatch, capsys
):
    """Unless its settings are others; another test set needs no other weights."""
    from distill.models.mace import steps

    calls = []
    original = steps.training_step
    monkeypatch.setattr(
        steps, "training_step", lambda *arguments: calls.append(1) or original(*arguments)
    )
    fine_tune(foundation_file, labelled_files, tmp_path, epochs=1)
    trained = len(calls)
    fine_tune(foundation_file, labelled_files, tmp_path, epochs=1)
    assert len(calls) == trained > 0
    assert "trained before with these settings, skipped" in capsys.readouterr().out
    other = tmp_path / "other.xyz"
    write_structures(other, rattled_structures(3, seed=5))
    fine_tune(foundation_file, (labelled_files[0], other), tmp_path, epochs=1)
    assert len(calls) == trained
    fine_tune(foundation_file, (labelled_files[0], other), tmp_path, epochs=1, lr=0.02)
    assert len(calls) == 2 * trained


def test_all_elements_can_be_kept(foundation_file, labelled_files, tmp_path):
    about = fine_tune(foundation_file, labelled_files, tmp_path, keep_elements=True, epochs=1)
    assert about["elements"] == ["H", "O", "Cu"]
    assert about["e0"]["O"] == pytest.approx(-1.5)


def test_stress_is_learnt_where_it_is_labelled(foundation_file, tmp_path):
    structures = rattled_structures(15)
    for atoms in structures:
        if atoms.info["config_type"] == "bulk":
            set_labels(atoms, stress=np.zeros(6))
    train, test = tmp_path / "train.xyz", tmp_path / "test.xyz"
    write_structures(train, structures[:12])
    write_structures(test, structures[12:])
    fine_tune(foundation_file, (train, test), tmp_path / "out", stress_weight=1.0, epochs=2)
    errors = json.loads((tmp_path / "out" / "errors.json").read_text())
    assert errors["teacher"]["stress"]["structures"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"freeze": "f9"}, ["teacher.freeze", "f9"]),
        ({"freeze": ["*"]}, ["freezes all"]),
        ({"e0": "isolated"}, ["isolated", "H, Cu"]),
        ({"e0": {"H": 1.0}}, ["Cu"]),
        ({"stress_weight": 1.0}, ["stress_weight", "REF_stress"]),
        ({"head": "pbe"}, ["teacher.head", "pbe"]),
    ],
)
def test_unusable_settings_are_refused(foundation_file, labelled_files, tmp_path, changes, words):
    with pytest.raises(UserError) as caught:
        fine_tune(foundation_file, labelled_files, tmp_path, **changes)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "teacher.model").exists()


def test_an_element_that_the_foundation_lacks_is_named(foundation_file, labelled_files, tmp_path):
    train = tmp_path / "train.xyz"
    odd = set_labels(bulk("Li"), energy=0.0, forces=np.zeros((1, 3)))
    write_structures(train, [*rattled_structures(3), odd])
    with pytest.raises(UserError, match=r"train\.xyz: structure 3: element Li"):
        fine_tune(foundation_file, (train, labelled_files[1]), tmp_path / "out")


def test_only_isolated_atoms_are_no_training_set(foundation_file, labelled_files, tmp_path):
    train = tmp_path / "train.xyz"
    write_structures(train, [set_labels(Atoms("H"), energy=0.0, forces=np.zeros((1, 3)))])
    with pytest.raises(UserError, match="only isolated atoms"):
        fine_tune(foundation_file, (train, labelled_files[1]), tmp_path / "out")


def test_running_out_of_memory_suggests_smaller_batches(
    foundation_file, labelled_files, tmp_path, monkeypatch
):
    import torch

    from distill.models.mace import steps as mace_steps

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(mace_steps, "training_step", fail)
    with pytest.raises(UserError, match=r"out of memory .*teacher\.batch_size to 2"):
        fine_tune(foundation_file, labelled_files, tmp_path)


class TestPhysics:
    """What every potential must fulfil, on the fine-tuned model."""

    @pytest.fixture(scope="class")
    def calculator(self, teacher):
        return load_calculator(teacher / "teacher.model")

    @pytest.fixture
    def slab(self):
        atoms = fcc111("Cu", (2, 1, 3), a=3.65, vacuum=6.0)
        add_adsorbate(atoms, lying_h2(), 1.9, "bridge")
        atoms.pbc = True
        atoms.rattle(0.05, seed=2)
        return atoms

    def evaluate(self, calculator, atoms):
        copy = atoms.copy()
        copy.calc = calculator
        return copy.get_potential_energy(), copy.get_forces()

    def test_rotation(self, calculator, slab):
        energy, forces = self.evaluate(calculator, slab)
        turned = slab.copy()
        turned.rotate(37.0, (1, 2, -1), rotate_cell=True)
        rotation = np.linalg.solve(slab.cell[:], turned.cell[:])
        found = self.evaluate(calculator, turned)
        assert found[0] == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(found[1], forces @ rotation, atol=1e-7)

    def test_translation(self, calculator, slab):
        energy, forces = self.evaluate(calculator, slab)
        moved = slab.copy()
        moved.positions += [1.3, -4.2, 2.9]
        moved.wrap()
        found = self.evaluate(calculator, moved)
        assert found[0] == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(found[1], forces, atol=1e-8)

    def test_permutation(self, calculator, slab):
        energy, forces = self.evaluate(calculator, slab)
        order = np.random.default_rng(0).permutation(len(slab))
        found = self.evaluate(calculator, slab[order])
        assert found[0] == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(found[1], forces[order], atol=1e-8)

    def test_forces_are_minus_the_gradient(self, calculator, slab):
        _, forces = self.evaluate(calculator, slab)
        step = 1e-4
        for atom, axis in ((0, 0), (4, 2), (6, 1), (7, 2)):
            energies = []
            for sign in (1, -1):
                moved = slab.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(self.evaluate(calculator, moved)[0])
            gradient = (energies[0] - energies[1]) / (2 * step)
            assert -gradient == pytest.approx(forces[atom, axis], abs=1e-6)

    def test_smooth_at_the_cutoff(self, calculator):
        """Two atoms do not notice each other beyond 4 Å, and part without a jump."""

        def pair(distance):
            return self.evaluate(calculator, Atoms("H2", [[0, 0, 0], [0, 0, distance]]))

        apart = pair(6.0)[0]
        inside, outside = pair(4.0 - 1e-3), pair(4.0 + 1e-3)
        assert outside[0] == pytest.approx(apart, abs=1e-12)
        assert np.abs(outside[1]).max() == 0.0
        assert inside[0] == pytest.approx(apart, abs=1e-6)
        assert np.abs(inside[1]).max() < 1e-3
