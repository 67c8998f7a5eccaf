"""Errors against numbers worked out by hand, and intervals against simulation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from ase import Atoms

from distill.core.errors import UserError
from distill.core.tables import write_table_csv
from distill.metrics.error_texts import study_table_text, table_rows
from distill.metrics.errors import ErrorTable, error_budget, error_table


def labelled(symbols, energy=None, forces=None, stress=None, config_type=None):
    atoms = Atoms(symbols, positions=np.arange(3 * len(Atoms(symbols))).reshape(-1, 3))
    if energy is not None:
        atoms.info["REF_energy"] = energy
    if forces is not None:
        atoms.arrays["REF_forces"] = np.array(forces, dtype=float)
    if stress is not None:
        atoms.info["REF_stress"] = np.array(stress, dtype=float)
    if config_type is not None:
        atoms.info["config_type"] = config_type
    return atoms


@pytest.fixture
def pair():
    zeros = np.zeros((2, 3))
    reference = [
        labelled("CuH", -1.0, zeros, np.zeros(6), "slab"),
        labelled("H2", -4.0, zeros, np.zeros(6), "gas"),
    ]
    predicted = [
        labelled("CuH", -0.8, [[0.3, 0, 0], [0, 0.4, 0]], np.full(6, 0.01)),
        labelled("H2", -4.4, [[0, 0, 0.5], [0, 0, -0.5]], np.zeros(6)),
    ]
    return reference, predicted


def test_errors_equal_the_hand_computed_ones(pair):
    table = error_table(*pair)
    assert table.energy.mae == pytest.approx(0.3)
    assert table.energy.rmse == pytest.approx(np.sqrt((0.04 + 0.16) / 2))
    assert table.energy.mean == pytest.approx(-0.1)
    assert table.energy_per_atom.mae == pytest.approx(0.15)
    assert table.energy_per_atom.rmse == pytest.approx(np.sqrt((0.01 + 0.04) / 2))
    assert table.forces.mae == pytest.approx(1.7 / 12)
    assert table.forces.rmse == pytest.approx(np.sqrt((0.09 + 0.16 + 0.5) / 12))
    assert table.forces.max == pytest.approx(0.5)
    assert table.forces.count == 12
    assert table.forces_by_element["Cu"].rmse == pytest.approx(np.sqrt(0.09 / 3))
    assert table.forces_by_element["H"].rmse == pytest.approx(np.sqrt(0.66 / 9))
    assert table.stress.rmse == pytest.approx(np.sqrt(6e-4 / 12))
    assert (table.structures, table.atoms) == (2, 4)
    gas = table.by_config_type["gas"]
    assert gas.structures == 1
    assert gas.forces.rmse == pytest.approx(np.sqrt(0.5 / 6))
    assert gas.forces.rmse_interval is None
    assert list(gas.forces_by_element) == ["H"]


def test_the_table_survives_json(pair):
    table = error_table(*pair)
    text = json.dumps(table.model_dump(mode="json"))
    assert ErrorTable.model_validate(json.loads(text)) == table


def test_labels_that_one_side_lacks_are_left_out():
    reference = [labelled("CuH", None, np.zeros((2, 3))), labelled("CuH", 1.0, np.zeros((2, 3)))]
    predicted = [labelled("CuH", 5.0, np.ones((2, 3))), labelled("CuH", 2.0, None)]
    table = error_table(reference, predicted)
    assert table.energy.mae == pytest.approx(1.0)
    assert table.energy.structures == 1
    assert table.forces.structures == 1
    assert table.stress is None


def test_lists_that_do_not_match_are_refused(pair):
    reference, predicted = pair
    with pytest.raises(UserError, match="each of the 2 structures, found 1"):
        error_table(reference, predicted[:1])
    with pytest.raises(UserError, match="structure 0 is HCu in the reference and H2"):
        error_table(reference, predicted[::-1])
    with pytest.raises(UserError, match="empty"):
        error_table([], [])


def test_intervals_cover_the_true_rmse():
    sigma, runs, structures = 0.05, 150, 40
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(runs):
        reference = [labelled("Cu4", 0.0, np.zeros((4, 3))) for _ in range(structures)]
        predicted = [
            labelled("Cu4", 0.0, sigma * rng.standard_normal((4, 3))) for _ in range(structures)
        ]
        low, high = error_table(reference, predicted).forces.rmse_interval
        covered += low <= sigma <= high
    assert 0.86 <= covered / runs <= 0.99


def test_intervals_do_not_change_from_call_to_call():
    rng = np.random.default_rng(0)
    reference = [labelled("Cu2", 0.0, np.zeros((2, 3))) for _ in range(9)]
    predicted = [labelled("Cu2", rng.normal(), rng.normal(size=(2, 3))) for _ in range(9)]
    assert error_table(reference, predicted) == error_table(reference, predicted)


def test_the_steps_of_the_budget_add_up():
    rng = np.random.default_rng(1)
    steps = rng.normal(scale=[[[[0.03]]], [[[0.04]]]], size=(2, 50, 3, 3))
    reference = [labelled("CuH2", 0.0, np.zeros((3, 3))) for _ in range(50)]
    teacher = [labelled("CuH2", 0.0, s) for s in steps[0]]
    student = [labelled("CuH2", 0.0, s) for s in steps.sum(axis=0)]
    budget = error_budget(reference, teacher, student)
    assert budget.teacher_student.forces.rmse == pytest.approx(np.sqrt((steps[1] ** 2).mean()))
    expected = (steps[0] * steps[1]).mean() / np.sqrt((steps**2).mean(axis=(1, 2, 3))).prod()
    assert budget.force_error_correlation == pytest.approx(expected)


def test_csv_has_a_column_for_every_number(tmp_path):
    rows = [
        {"model": "teacher", "interval": [0.1, 0.3], "outcomes": {"dissociated": 2}},
        {"model": "two-level", "interval": None, "outcomes": {}},
    ]
    write_table_csv(tmp_path / "rows.csv", rows)
    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        "model,interval_low,interval_high,dissociated",
        "teacher,0.1,0.3,2",
        "two-level,,,",
    ]


def test_csv_holds_every_number(pair, tmp_path):
    tables = {"reference_teacher": error_table(*pair)}
    write_table_csv(tmp_path / "errors.csv", table_rows(tables))
    rows = list(csv.DictReader((tmp_path / "errors.csv").open()))
    found = {(r["config_type"], r["quantity"]): r for r in rows}
    table = tables["reference_teacher"]
    assert float(found["all", "forces"]["rmse"]) == table.forces.rmse
    hydrogen = table.by_config_type["gas"].forces_by_element["H"]
    assert float(found["gas", "forces on H"]["mae"]) == hydrogen.mae
    assert found["gas", "forces"]["rmse_low"] == ""


def test_text_has_the_published_layout(pair):
    text = study_table_text({"teacher": error_table(*pair)}, {"teacher": (372.6, 390.5)})
    assert "MAE / RMSE E [meV]" in text
    assert "300.0 / 316.2" in text
    assert "H atoms MAE / RMSE F [meV/Å]" in text
    assert "373 / 390" in text or "373 / 391" in text
