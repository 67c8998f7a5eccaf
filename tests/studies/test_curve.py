"""Learning curves: what is planned, trained once, resumed, drawn and refused."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from curve_tiny import curve_tiny
from helpers import SUPPORT, CountedEMT

from distill.config import load_config
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.data.structures import read_structures, reference_energy, write_structures
from distill.models import labelling
from distill.studies import curve
from distill.studies.curve import RESULT_NAME, learning_curves, plan_units
from distill.studies.curve_results import data_needed, summarise
from distill.teacher import teacher_stage as stage

CONFIG = """
name: tiny
data: {{train: {train}, test: {test}}}
teacher:
  foundation: {foundation}
  epochs: 8
  batch_size: 4
  validation_fraction: 0.2
  schedule: cosine
  stage_two: {{start_epoch: 6}}
curve:
  strategies:
    f4:
    new: {{teacher: {{strategy: scratch}}, fractions: [1.0], steps: 24}}
  fractions: [0.5, 1.0]
  seeds: [1, 2]
  steps: 12
parallel: {{backend: serial}}
"""


@pytest.fixture(scope="module")
def workflow(foundation_file, labelled_files, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("curve") / "curve.yaml"
    train, test = labelled_files
    path.write_text(CONFIG.format(train=train, test=test, foundation=foundation_file))
    return path


@pytest.fixture(scope="module")
def finished(workflow) -> Path:
    return learning_curves(load(workflow))


def load(workflow, *settings):
    return load_config(workflow, [f"output={workflow.parent / 'run'}", *settings])


def planned(workflow, *settings):
    config = load(workflow, *settings)
    return plan_units(config, workflow.parent / "run")


def test_every_strategy_fraction_and_seed_is_a_unit(workflow, finished):
    units = planned(workflow)
    assert {(u.strategy, u.fraction, u.seed) for u in units} == {
        *(("f4", fraction, seed) for fraction in (0.5, 1.0) for seed in (1, 2)),
        *(("new", 1.0, seed) for seed in (1, 2)),
    }
    assert len({u.out for u in units}) == len(units)
    assert [u.seed for u in units] == sorted(u.seed for u in units)


def test_all_take_the_wanted_number_of_steps(workflow, finished):
    for unit in planned(workflow):
        wanted = 24 if unit.strategy == "new" else 12
        assert abs(unit.teacher.epochs * unit.steps_per_epoch - wanted) <= unit.steps_per_epoch / 2
        if unit.teacher.stage_two:
            share = unit.teacher.stage_two.start_epoch / unit.teacher.epochs
            assert share == pytest.approx(6 / 8, abs=0.51 / unit.teacher.epochs)
    for row in read_json(finished / "curve.json")["trainings"]:
        if row["strategy"] != "foundation":
            unit = next(
                u
                for u in planned(workflow)
                if (u.strategy, u.fraction, u.seed)
                == (row["strategy"], row["fraction"], row["seed"])
            )
            assert row["epochs"] == unit.teacher.epochs
            about = read_json(unit.out / "teacher.json")["training"]
            assert about["used"] == row["structures"] == unit.structures


def test_large_sets_are_seen_a_least_number_of_times(workflow, finished):
    units = planned(workflow, "curve.least_epochs=5", "curve.strategies=[f4]", "curve.steps=8")
    epochs = {u.fraction: u.teacher.epochs for u in units}
    assert epochs == {0.5: 5, 1.0: 5}
    units = planned(workflow, "curve.least_epochs=3", "curve.strategies=[f4]", "curve.steps=8")
    assert {u.fraction: u.teacher.epochs for u in units} == {0.5: 4, 1.0: 3}


def test_without_steps_all_take_the_same_epochs(workflow, finished):
    units = planned(workflow, "curve.steps=null", "curve.strategies=[f4, f6]")
    assert {u.teacher.epochs for u in units} == {8}
    assert {u.teacher.freeze for u in units} == {"f4", "f6"}


def test_subsets_are_nested_and_seeds_differ(finished):
    def used(name):
        return set(read_json(finished / "f4" / name / "teacher.json")["training"]["indices"])

    assert used("50pct_seed1") < used("100pct_seed1")
    assert used("50pct_seed1") != used("50pct_seed2")
    rmse = [
        read_json(finished / "new" / f"100pct_seed{seed}" / RESULT_NAME)[0]["errors"]["forces"]
        for seed in (1, 2)
    ]
    assert rmse[0] != rmse[1]


def test_tables_and_figures(finished):
    found = read_json(finished / "curve.json")
    assert found["missing"] == []
    names = {row["strategy"] for row in found["summary"]}
    assert names == {"f4", "new", "foundation"}
    quantities = {"energy_per_atom", "forces", "forces_H", "forces_Cu"}
    for row in found["summary"]:
        assert set(row["errors"]) == quantities
        assert row["seeds"] == [1, 2]
        for error in row["errors"].values():
            assert 0 < error["low"] <= error["mean"] <= error["high"]
    trainings = {r["strategy"]: r for r in found["trainings"]}
    assert trainings["new"]["trainable_parameters"] == trainings["new"]["parameters"]
    assert trainings["f4"]["trainable_parameters"] < trainings["f4"]["parameters"]
    assert 0 < trainings["f4"]["fastest_epoch_s"] <= trainings["f4"]["seconds_per_epoch"]
    with (finished / "curve.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(quantities) * len(found["trainings"])
    for name in ("learning_curves", "curve_cost"):
        for suffix in (".png", ".pdf"):
            assert (finished / f"{name}{suffix}").stat().st_size > 1000


def test_a_finished_curve_is_not_trained_again(workflow, finished, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("distill.teacher.teacher_stage.run", refuse)
    before = (finished / "curve.csv").read_bytes()
    assert learning_curves(load(workflow)) == finished
    assert (finished / "curve.csv").read_bytes() == before


def test_other_settings_are_refused_by_name(workflow, finished):
    with pytest.raises(UserError, match=r"other settings \(teacher\.lr: None -> 0\.5\)"):
        learning_curves(load(workflow, "teacher.lr=0.5"))


def test_one_failed_training_does_not_end_the_others(workflow, tmp_path, capsys):
    settings = [
        f"output={tmp_path / 'run'}",
        "curve.strategies={bad: {teacher: {freeze: [nothing]}}, f6: }",
        "curve.fractions=[1.0]",
        "curve.seeds=[1]",
        "curve.steps=2",
    ]
    with pytest.raises(UserError, match=r"1 of 2 trainings failed.*\n.*bad, 100 %.*matches none"):
        learning_curves(load(workflow, *settings))
    found = read_json(tmp_path / "run" / "curve" / "curve.json")
    assert {row["strategy"] for row in found["trainings"]} == {"f6", "foundation"}
    assert found["missing"] == ["bad, 100 % of the data, seed 1"]


def test_labels_are_made_once_for_all_trainings(workflow, tmp_path, monkeypatch):
    """Two strategies, two seeds and an interruption: each structure is labelled once."""
    settings = [
        f"output={tmp_path / 'run'}",
        "teacher.labels={calculator: {path: 'helpers:CountedEMT'}}",
        "curve.strategies=[f6, scratch]",
        "curve.fractions=[1.0]",
        "curve.steps=2",
    ]
    monkeypatch.setattr(CountedEMT, "count", 0)
    monkeypatch.setattr(CountedEMT, "limit", 14)
    monkeypatch.setattr(labelling, "_SHARD", 6)
    with pytest.raises(KeyboardInterrupt):
        learning_curves(load(workflow, *settings))
    monkeypatch.setattr(CountedEMT, "limit", None)
    out = learning_curves(load(workflow, *settings))
    lost = 14 % 6
    assert CountedEMT.count == 18 + 6 + lost
    found = read_json(out / "curve.json")
    made = {record["file"]: record["structures"] for record in found["labels"]}
    assert sorted(made.values()) == [6, 18]
    for file in made:
        assert all(
            reference_energy(atoms) is not None for atoms in read_structures(out.parent / file)
        )
    assert len(found["trainings"]) == 8
    (out / "f6" / "100pct_seed1" / RESULT_NAME).unlink()
    learning_curves(load(workflow, *settings))
    assert CountedEMT.count == 18 + 6 + lost


@pytest.mark.slow
def test_trainings_on_made_labels_are_those_of_the_teacher_stage(workflow, tmp_path):
    """As with the same teacher section alone: its labels, its test set, its numbers."""
    settings = [
        f"output={tmp_path / 'run'}",
        "curve.strategies={f6: , own: {teacher: {freeze: f6, labels: {test: false}}}}",
        "curve.fractions=[1.0]",
        "curve.seeds=[1]",
        "curve.steps=2",
    ]
    config = load(workflow, *settings)
    out = learning_curves(config)
    units = {unit.strategy: unit for unit in plan_units(config, out.parent)}
    for name, unit in units.items():
        stage.run(
            unit.teacher, train=unit.train, test=unit.test, out=tmp_path / name, seed=unit.seed
        )
        alone = read_json(tmp_path / name / "errors.json")
        curve_errors = read_json(unit.out / "errors.json")
        for table in ("foundation", "teacher"):
            assert curve_errors[table]["forces"]["rmse"] == pytest.approx(
                alone[table]["forces"]["rmse"], rel=1e-9
            )
    assert read_json(units["f6"].out / "errors.json") != read_json(units["own"].out / "errors.json")


def test_labels_that_cannot_be_made_end_only_the_trainings_that_ask_for_them(workflow, tmp_path):
    options = "labels: {calculator: {path: 'nowhere:EMT'}}"
    settings = [
        f"output={tmp_path / 'run'}",
        f"curve.strategies={{f6: , bad: {{teacher: {{{options}}}}}}}",
        "curve.fractions=[1.0]",
        "curve.seeds=[1]",
        "curve.steps=2",
    ]
    with pytest.raises(
        UserError, match=r"1 of 2 trainings failed.*\n.*bad, .*cannot import nowhere"
    ):
        learning_curves(load(workflow, *settings))
    found = read_json(tmp_path / "run" / "curve" / "curve.json")
    assert {row["strategy"] for row in found["trainings"]} == {"f6", "foundation"}


def test_a_curve_from_scratch_needs_no_foundation_that_knows_the_elements(
    workflow, foreign_files, tmp_path
):
    settings = [
        f"output={tmp_path / 'run'}",
        f"data.train={foreign_files[0]}",
        f"data.test={foreign_files[1]}",
        "curve.strategies=[scratch]",
        "curve.fractions=[1.0]",
        "curve.seeds=[1]",
        "curve.steps=2",
    ]
    found = read_json(learning_curves(load(workflow, *settings)) / "curve.json")
    assert [row["strategy"] for row in found["summary"]] == ["scratch"]


@pytest.mark.slow
def test_a_killed_curve_goes_on_to_the_same_numbers(workflow, finished, tmp_path):
    """SIGKILL in mid training, then the same call in another process."""
    script = SUPPORT / "curve_tiny.py"
    process = subprocess.Popen([sys.executable, str(script), str(workflow), str(tmp_path / "run")])
    unit = tmp_path / "run" / "curve" / "new" / "100pct_seed1"
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        if list(unit.glob(".kept/training-*.pt")):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (unit / RESULT_NAME).exists()
    curve_tiny(workflow, tmp_path / "run")
    assert "continuing after epoch" in (unit / "log.txt").read_text()
    again = read_json(unit / RESULT_NAME)
    undisturbed = read_json(finished / "new" / "100pct_seed1" / RESULT_NAME)
    for key, error in undisturbed[0]["errors"].items():
        assert again[0]["errors"][key]["rmse"] == pytest.approx(error["rmse"], rel=1e-6)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("strategies=[]", "expected at least one strategy"),
        ("strategies={}", "no strategy"),
        ("strategies=[f4, f4]", "strategy f4 is given more than once"),
        ("strategies=[f4, lroa]", "unknown strategy 'lroa'"),
        ("strategies={foundation: {}}", "'foundation' is taken"),
        ("strategies={a/b: {}}", "no name for a folder"),
        ("strategies={a: {teacher: {frezze: f4}}}", r"strategies\.a.*\n.*did you mean 'freeze'"),
        ("strategies={a: {teacher: {fraction: 0.1}}}", "give it under fractions"),
        ("strategies={a: {fraction: 0.1}}", "did you mean 'fractions'"),
        ("fractions=[]", "expected at least one fraction"),
        ("fractions=[0.5, 0.5]", "fraction 0.5 is given more than once"),
        ("fractions=[0]", "greater than 0"),
        ("fractions=[1.5]", "less than or equal to 1"),
        ("seeds=[]", "expected at least one seed"),
        ("seeds=[3, 3]", "seed 3 is given more than once"),
        ("seeds=[-1]", "greater than or equal to 0"),
        ("steps=0", "greater than or equal to 1"),
    ],
)
def test_impossible_settings(workflow, setting, words):
    with pytest.raises(UserError, match=words):
        load(workflow, f"curve.{setting}")


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ("[0.01]", r"0\.01 of 18 structures is none; give at least 0\.056"),
        ("[0.1, 0.15, 1.0]", r"0\.1 and 0\.15 of 18 structures are the same 3"),
    ],
)
def test_fractions_that_the_data_cannot_give(workflow, finished, fractions, words):
    with pytest.raises(UserError, match=words):
        planned(workflow, f"curve.fractions={fractions}", "curve.strategies=[f4]")


def test_drawing_before_training_says_what_to_do(workflow, tmp_path):
    with pytest.raises(UserError, match="no data yet"):
        learning_curves(load(workflow, f"output={tmp_path / 'new'}"), train=False)


def test_isolated_atoms_are_no_structures_of_a_curve(workflow, finished, labelled_files, tmp_path):
    from ase import Atoms

    from distill.data.structures import set_labels

    atom = set_labels(Atoms("H"), energy=0.0, forces=[[0.0, 0.0, 0.0]])
    (tmp_path / "data").mkdir()
    write_structures(tmp_path / "data" / "train.xyz", [*read_structures(labelled_files[0]), atom])
    write_structures(tmp_path / "data" / "test.xyz", read_structures(labelled_files[1]))
    units = plan_units(load(workflow, "curve.fractions=[1.0]"), tmp_path)
    assert {u.structures for u in units if u.strategy == "f4"} == {18}


def row(strategy, fraction, seed, forces, scratch=False):
    errors = {"forces": {"mae": forces, "rmse": forces}}
    return {
        "strategy": strategy,
        "fraction": fraction,
        "seed": seed,
        "structures": round(100 * fraction),
        "errors": errors,
        "from_scratch": scratch,
        "trainable_parameters": 10,
    }


def test_mean_and_spread_over_seeds_and_the_data_needed():
    rows = [
        row("f4", 0.1, 1, 0.5),
        row("f4", 0.1, 2, 0.3),
        row("f4", 0.2, 1, 0.1),
        row("f4", 0.2, 2, 0.25),
        row("new", 0.2, 1, 0.9, scratch=True),
        row("new", 1.0, 1, 0.2, scratch=True),
        row("foundation", 0.1, 1, 2.0),
    ]
    summary = summarise(rows)
    assert [(r["strategy"], r["fraction"]) for r in summary] == [
        ("f4", 0.1),
        ("f4", 0.2),
        ("new", 0.2),
        ("new", 1.0),
        ("foundation", 0.1),
    ]
    assert summary[0]["errors"]["forces"] == {"mean": 0.4, "low": 0.3, "high": 0.5}
    assert summary[0]["seeds"] == [1, 2]
    assert data_needed(summary) == [
        {
            "strategy": "f4",
            "quantity": "forces",
            "fraction": 0.2,
            "rmse": pytest.approx(0.175),
            "baseline": "new",
            "target": 0.2,
            "target_fraction": 1.0,
        }
    ]
    worse = summarise([row("f4", 0.2, 1, 0.5), row("new", 1.0, 1, 0.2, scratch=True)])
    assert data_needed(worse)[0]["fraction"] is None
    assert data_needed(summarise(rows[:2])) == []


def test_the_foundation_has_nothing_to_train(finished):
    rows = [
        r for r in read_json(finished / "curve.json")["summary"] if r["strategy"] == "foundation"
    ]
    assert {r["fraction"] for r in rows} == {0.5, 1.0}
    assert all(r["trainable_parameters"] is None for r in rows)
    forces = {r["errors"]["forces"]["mean"] for r in rows}
    assert max(forces) == pytest.approx(min(forces), rel=1e-9)


def test_units_name_themselves(workflow, finished):
    assert curve.FOLDER == "curve"
    assert planned(workflow)[0].title.endswith("seed 1")


@pytest.mark.parametrize("folder", ["curve", "curve_labels"])
def test_data_in_a_folder_that_is_written_are_refused(workflow, tmp_path, labelled_files, folder):
    data = tmp_path / "run" / folder / "train.xyz"
    data.parent.mkdir(parents=True)
    data.write_bytes(labelled_files[0].read_bytes())
    config = load_config(workflow, [f"output={tmp_path / 'run'}", f"data.train={data}"])
    with pytest.raises(UserError, match=rf"{folder} is where the input .*xyz lies"):
        learning_curves(config)
