"""Accuracy of any models on any data: known errors, the budget's sum, and what is refused."""

import csv

import numpy as np
import pytest
from ase.build import bulk

from distill.cli.app import main
from distill.compare.accuracy import accuracy, accuracy_rows, accuracy_text
from distill.core.errors import UserError
from distill.data.structures import read_structures, reference_forces, write_structures
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures

TEACHER, STUDENT = "compare_toys:Teacher", "compare_toys:Student"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(2)
    for name, kinds in (("one", ("bulk", "bulk", "strained")), ("two", ("liquid", "liquid"))):
        structures = []
        for kind in kinds:
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.1, rng=rng)
            atoms.info["config_type"] = kind
            structures.append(atoms)
        labelled = label_structures(structures, load_calculator("compare_toys:Scaled"))
        write_structures(folder / f"{name}.xyz", labelled)
    return {name: folder / f"{name}.xyz" for name in ("one", "two")}


def test_every_model_has_a_table_on_every_set(files):
    result = accuracy({"teacher": TEACHER, "student": STUDENT}, files)
    assert list(result.tables) == [
        "teacher, one",
        "student, one",
        "teacher, two",
        "student, two",
    ]
    forces = np.concatenate([reference_forces(a).ravel() for a in read_structures(files["one"])])
    found = result.tables["teacher, one"].forces.rmse
    assert found == pytest.approx(0.03 * np.sqrt(np.mean(forces**2)), rel=1e-5)
    assert set(result.tables["teacher, one"].by_config_type) == {"bulk", "strained"}


def test_budget_follows_the_chain_and_is_written(files, tmp_path, monkeypatch, capsys):
    result = accuracy({"teacher": TEACHER, "student": STUDENT}, {"one": files["one"]}, budget=True)
    steps = result.budget["one"]
    first, second, both = (
        getattr(steps, k).forces.rmse
        for k in ("reference_teacher", "teacher_student", "reference_student")
    )
    # Both steps scale the forces up, so their errors add.
    assert both == pytest.approx(first + second, rel=1e-6)
    assert steps.force_error_correlation == pytest.approx(1, abs=1e-6)
    text = accuracy_text(result)
    assert "error budget on one" in text and "forces, strained" in text and "forces on Cu" in text
    titles = {row["comparison"] for row in accuracy_rows(result)}
    assert titles >= {"teacher", "student", "reference → teacher, one"}
    table = tmp_path / "errors.csv"
    arguments = ["errors", TEACHER, "--data", str(files["one"]), "--csv", str(table)]
    monkeypatch.setattr("sys.argv", ["distill", *arguments])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 0
    assert "MAE / RMSE F" in capsys.readouterr().out
    with table.open() as handle:
        assert {row["quantity"] for row in csv.DictReader(handle)} >= {"forces", "forces on Cu"}


def test_what_cannot_be_compared_is_refused(files):
    with pytest.raises(UserError, match="needs two models"):
        accuracy({"teacher": TEACHER}, files, budget=True)
    with pytest.raises(UserError, match="at least one model and one file"):
        accuracy({"teacher": TEACHER}, {})
