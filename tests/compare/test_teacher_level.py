"""Numbers at the teacher's level in the comparison: asked for with its calls, written, left out."""

from __future__ import annotations

import csv

import pytest
from pydantic import ValidationError
from toy_observable import Toy

from distill.compare import compare_stage as stage
from distill.config import CalculatorConfig, CompareConfig, RunConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.observables.teacher_level import TeacherLevelResult, TeacherNumber, thinned
from distill.stages import STAGES

NUMBER = TeacherNumber(
    quantity="energy",
    place={"temperature": 300.0, "pair": "Li-F"},
    value=1.5,
    interval=(1.4, 1.6),
    student=1.3,
    unit="eV",
    form="reweighting",
    calls=7,
)


@pytest.mark.usefixtures("no_figures")
def test_numbers_are_asked_for_with_the_calls_of_the_config_and_written(
    with_toy, inputs, monkeypatch
):
    asked = []

    def teacher_level(self, config, teacher, student, calls, work):
        asked.append((str(teacher), str(student), calls, work.path.name))
        return [NUMBER]

    monkeypatch.setattr(Toy, "teacher_level", teacher_level)
    _, section = with_toy
    stage.run(section(timing=None, toy={}), **inputs)
    assert asked == []
    assert not (inputs["out"] / "teacher_level.json").exists()
    stage.run(section(timing=None, toy={}, teacher_calls=7), **inputs)
    assert asked == [("compare_toys:Teacher", "compare_toys:Student", 7, "toy")]
    result = read_result(inputs["out"] / "teacher_level.json", TeacherLevelResult)
    assert result.levels == {"teacher": {"toy": [NUMBER]}}
    with (inputs["out"] / "teacher_level.csv").open() as handle:
        [row] = csv.DictReader(handle)
    assert (row["level"], row["observable"]) == ("teacher", "toy")
    assert row["place"] == "temperature 300.0; pair Li-F"
    assert (row["interval_low"], row["calls"]) == ("1.4", "7")


@pytest.mark.usefixtures("no_figures")
def test_a_reference_that_can_be_run_has_a_budget_of_its_own(with_toy, inputs, monkeypatch):
    asked = []

    def teacher_level(self, config, teacher, student, calls, work):
        asked.append((getattr(teacher, "path", teacher), calls))
        return [NUMBER]

    monkeypatch.setattr(Toy, "teacher_level", teacher_level)
    _, section = with_toy
    config = section(timing=None, toy={}, reference_calls=5)
    reference = CalculatorConfig(path="compare_toys:Scaled")
    stage.run(config, **{**inputs, "reference": reference})
    assert asked == [("compare_toys:Scaled", 5)]
    result = read_result(inputs["out"] / "teacher_level.json", TeacherLevelResult)
    assert result.levels == {"reference": {"toy": [NUMBER]}}


def test_too_few_calls_and_calls_of_no_reference_are_refused():
    with pytest.raises(ValidationError, match="3 calls give no interval"):
        CompareConfig(teacher_calls=3)
    data = {"train": "bundled:h2cu_train", "test": "bundled:h2cu_test"}
    config = RunConfig(data=data, compare={"reference_calls": 5})
    [refuse] = [stage.refuse for stage in STAGES if stage.name == "compare"]
    with pytest.raises(UserError, match="no reference that can be called"):
        refuse(config)


def test_calls_are_spread_evenly_over_a_run_and_not_more_than_its_frames():
    assert thinned(100, 4) == (12, 37, 62, 87)
    assert thinned(3, 9) == (0, 1, 2)
