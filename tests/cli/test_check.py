"""`distill check`: a verdict without a workflow, by its exit code and its files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from helpers import call_distill

from distill.compare.verdict_result import Verdict
from distill.core.results import read_result
from distill.data.structures import write_structures
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures

GOOD, BAD = "gate_toys:Changed", "gate_toys:NotExtensive"
QUICK = ("timing=null", "gates.time=1000", "gates.temperature=40", "gates.runs=2")


@pytest.fixture
def data(tmp_path):
    """Six displaced clusters with the labels of the good model."""
    rng = np.random.default_rng(1)
    corners = 3.0 * np.array(list(itertools.product((0, 1), repeat=3)))
    structures = [Atoms("Ar8", positions=corners) for _ in range(6)]
    for atoms in structures:
        atoms.rattle(0.05, rng=rng)
    write_structures(tmp_path / "data.xyz", label_structures(structures, load_calculator(GOOD)))
    return tmp_path / "data.xyz"


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("distill.compare.error_tables.save_figure", lambda *arguments: None)


def check(student, data, folder, *settings):
    options = [part for setting in (*QUICK, *settings) for part in ("--set", setting)]
    return call_distill("check", student, "--teacher", GOOD, "--data", data, "-o", folder, *options)


def test_a_sound_student_ends_with_0_and_the_verdict_is_beside(data, tmp_path):
    bars = ("tolerances.student_force_rmse=0.01", "tolerances.purpose_energy_rmse=0.01")
    assert check(GOOD, data, tmp_path / "out", *bars) == 0
    verdict = read_result(tmp_path / "out" / "verdict.json", Verdict)
    answers = {found.question: found.answer for found in verdict.answers}
    assert answers == {"faithful": "yes", "teacher": "not judged", "purpose": "yes", "sound": "yes"}


def test_a_missed_default_bar_ends_with_1(data, tmp_path, capsys):
    assert check(BAD, data, tmp_path / "out") == 1
    verdict = read_result(tmp_path / "out" / "verdict.json", Verdict)
    assert {c.tolerance for c in verdict.checks if c.passed is False} == {"extensivity"}
    assert "failed: checks that did not pass: energy of two copies" in capsys.readouterr().err
    # The same numbers, judged by another bar.
    assert check(BAD, data, tmp_path / "out", "tolerances.extensivity=1") == 0


def test_an_unknown_bar_is_refused(data, tmp_path, capsys):
    assert check(GOOD, data, tmp_path / "out", "tolerances.drift=1") == 2
    assert "unknown key" in capsys.readouterr().err


def test_a_bar_on_what_is_not_computed_is_refused(data, tmp_path, capsys):
    assert check(GOOD, data, tmp_path / "out", "tolerances.speedup=10") == 2
    assert check(GOOD, data, tmp_path / "out", "gates=null", "tolerances.energy_drift=1") == 2
    assert "compare.gates is off" in capsys.readouterr().err
