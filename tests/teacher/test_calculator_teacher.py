"""Any calculator as the teacher: its labels, its energy scale, its record."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from helpers import label_by_emt, rattled_copper
from pydantic import ValidationError

from distill.config import TeacherConfig
from distill.core.errors import UserError
from distill.data.structures import read_structures, without_labels, write_structures
from distill.models.calculators import load_calculator
from distill.teacher.teacher_stage import run

EMT_PATH = {"path": "ase.calculators.emt:EMT"}
SHIFT = -3021.25


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """EMT's labels on another energy scale: as of an all-electron code."""
    folder = tmp_path_factory.mktemp("data")
    for name, seed in (("train", 0), ("test", 1)):
        structures = rattled_copper(6, seed=seed)
        if name == "train":
            structures.append(label_by_emt(Atoms("Cu")))
        for atoms in structures:
            atoms.info["REF_energy"] += SHIFT * len(atoms)
        write_structures(folder / f"{name}.xyz", structures)
        write_structures(folder / f"bare_{name}.xyz", [without_labels(a) for a in structures[:6]])
    return folder


def make(data, out, names=("train", "test"), **options):
    config = TeacherConfig(calculator=EMT_PATH, **options)
    train, test = (data / f"{name}.xyz" for name in names)
    run(config, train=train, test=test, out=out, seed=1)
    return json.loads((out / "teacher.json").read_text())


def test_it_is_put_on_the_energy_scale_of_the_data(data, tmp_path):
    about = make(data, tmp_path)
    test = read_structures(data / "test.xyz")
    errors = json.loads((tmp_path / "errors.json").read_text())["teacher"]
    assert errors["energy_per_atom"]["rmse"] < 1e-7
    assert errors["forces"]["rmse"] < 1e-7
    calculator = load_calculator(tmp_path / "teacher.model")
    for atoms in test:
        assert calculator.get_potential_energy(atoms) == pytest.approx(
            atoms.info["REF_energy"], abs=1e-6
        )
        np.testing.assert_allclose(
            calculator.get_stress(atoms), atoms.info["REF_stress"], atol=1e-8
        )
    assert about["e0_method"] == "isolated"
    assert about["e0_shifts"]["Cu"] == pytest.approx(SHIFT)
    assert about["free_atoms"]["Cu"] == pytest.approx(
        EMT().get_potential_energy(Atoms("Cu")) + SHIFT
    )
    assert about["parameters"] is None


def test_its_own_scale_stays_where_that_is_asked_for(data, tmp_path):
    about = make(data, tmp_path, e0="foundation")
    atoms = read_structures(data / "test.xyz")[0]
    found = load_calculator(tmp_path / "teacher.model").get_potential_energy(atoms)
    assert found == pytest.approx(atoms.info["REF_energy"] - SHIFT * len(atoms), abs=1e-6)
    assert about["training"]["used"] == 0


def test_structures_alone_get_its_labels(data, tmp_path):
    make(data, tmp_path, ("bare_train", "bare_test"), labels={})
    made = read_structures(tmp_path / "labels" / "test.xyz")
    own = EMT().get_forces(made[0].copy())
    np.testing.assert_allclose(made[0].arrays["REF_forces"], own, atol=1e-7)


def test_a_finished_one_is_not_asked_again(data, tmp_path, capsys):
    make(data, tmp_path)
    before = (tmp_path / "teacher.json").read_text()
    make(data, tmp_path)
    assert "skipped" in capsys.readouterr().out
    assert (tmp_path / "teacher.json").read_text() == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"strategy": "finetune"}, "strategy: none"),
        ({"committee": {"members": 2}}, "committee"),
        ({"calculator": {"path": "other.model"}}, "foundation"),
    ],
)
def test_what_does_not_go_together_is_refused(options, word):
    with pytest.raises(ValidationError, match=word):
        TeacherConfig(**{"calculator": EMT_PATH, **options})


def test_a_calculator_that_cannot_run_is_an_error_before_anything(data, tmp_path):
    config = TeacherConfig(calculator={"path": "no:Where", "python": sys.executable})
    with pytest.raises(UserError, match="No module named 'no'"):
        run(config, train=data / "train.xyz", test=data / "test.xyz", out=tmp_path, seed=1)
    assert not (tmp_path / "teacher.json").exists()
