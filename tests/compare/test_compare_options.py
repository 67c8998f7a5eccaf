"""Every option of the comparison changes what it should."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from fake_run import errors_result, labelled_slabs, timing_result

from distill.compare import compare_stage as stage
from distill.compare import timing_stage
from distill.compare.config import CompareBase
from distill.compare.predictions import Labels
from distill.compare.timing_stage import compare_times
from distill.config import CompareConfig, TimingConfig
from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.results import read_result
from distill.data.structures import write_structures
from distill.observables.base import OBSERVABLES
from distill.systems.slabs import timing_slab


@pytest.fixture
def measured(monkeypatch, no_figures):
    """Arguments of every measurement, in place of one."""
    calls = []

    def time_models(models, atoms, repeats, **options):
        calls.append({"models": dict(models), "atoms": atoms, "repeats": repeats, **options})
        return timing_result()

    monkeypatch.setattr(timing_stage, "time_models", time_models)
    return calls


@pytest.fixture
def crystals(tmp_path):
    """A file of two crystals, of 2 and 4 atoms."""
    path = tmp_path / "crystals.xyz"
    write_structures(path, [bulk("Cu").repeat((1, 1, 2)), bulk("Cu", cubic=True)])
    return path


@pytest.fixture
def time_it(tmp_path, measured):
    """What is measured for a config on a study of H and Cu."""
    path = tmp_path / "slabs.xyz"
    write_structures(path, labelled_slabs(2, np.random.default_rng(0)))
    models = {"teacher": "compare_toys:Teacher", "student": "compare_toys:Student"}

    def run(config, seed=1):
        compare_times(config, models, Labels(*[path] * 5), errors_result(), tmp_path / "out", seed)
        return measured[-1]

    return run


class TestTiming:
    def test_every_option_has_a_test_here(self):
        tested = {"facet", "structure", "index", "repeats", "time_step", "supercells", "cores"}
        assert tested == set(TimingConfig.model_fields)

    @pytest.mark.parametrize("facet", ["111", "100"])
    def test_facet_is_that_of_the_slab(self, time_it, facet):
        assert time_it(TimingConfig(facet=facet))["atoms"] == timing_slab(facet)

    def test_structure_and_index_name_what_is_timed(self, time_it, crystals):
        assert len(time_it(TimingConfig(structure=str(crystals)))["atoms"]) == 2
        assert len(time_it(TimingConfig(structure=str(crystals), index=1))["atoms"]) == 4
        assert len(time_it(TimingConfig(structure=str(crystals), index=-2))["atoms"]) == 2

    @pytest.mark.parametrize(
        ("option", "value", "argument"),
        [
            ("repeats", 7, "repeats"),
            ("time_step", 0.7, "time_step"),
            ("supercells", [(2, 1, 1)], "supercells"),
            ("cores", [1], "core_counts"),
        ],
    )
    def test_what_the_measurement_is_told(self, time_it, option, value, argument):
        assert time_it(TimingConfig())[argument] != value
        assert time_it(TimingConfig(**{option: value}))[argument] == value

    def test_times_are_kept_for_the_same_question_only(self, time_it, measured):
        for config, seed, count in (
            (TimingConfig(), 1, 1),
            (TimingConfig(), 1, 1),
            (TimingConfig(repeats=7), 1, 2),
            (TimingConfig(repeats=7), 2, 3),
        ):
            time_it(config, seed)
            assert len(measured) == count

    def test_a_structure_that_is_not_in_the_file_is_refused_before_any_work(self, inputs, crystals):
        config = CompareConfig(timing=TimingConfig(structure=str(crystals), index=2))
        with pytest.raises(UserError, match=r"timing\.index is 2, but .*crystals\.xyz holds 2"):
            stage.run(config, **inputs)
        assert not inputs["out"].exists()

    def test_more_cores_than_there_are_are_refused_before_any_work(self, inputs):
        config = CompareConfig(timing=TimingConfig(cores=[1, available_cores() + 1]))
        with pytest.raises(UserError, match=rf"asks for {available_cores() + 1}, only"):
            stage.run(config, **inputs)
        assert not inputs["out"].exists()


class TestSection:
    def test_every_option_has_a_test_here(self):
        """`reference_student` is tested with the stage, calls with the teacher's level."""
        calls = {"teacher_calls", "reference_calls"}
        assert set(CompareBase.model_fields) == {"models", "timing", "reference_student", *calls}

    def test_timing_can_be_left_out(self, inputs, measured):
        stage.run(CompareConfig(timing=None), **inputs)
        assert not measured and not (inputs["out"] / "timing.json").exists()
        stage.run(CompareConfig(), **inputs)
        assert len(measured) == 1 and (inputs["out"] / "timing.json").exists()

    def test_further_models_are_timed_and_take_part_in_the_observables(
        self, inputs, measured, with_toy
    ):
        _, section = with_toy
        third = {"third": {"path": "compare_toys:Scaled"}}
        for models, expected in (
            (third, ["teacher", "student", "third"]),
            ({}, ["teacher", "student"]),
        ):
            stage.run(section(models=models, toy={}), **inputs)
            assert list(measured[-1]["models"]) == expected
            kind = OBSERVABLES.load("toy").Result
            assert list(read_result(inputs["out"] / "toy.json", kind).energies) == expected

    @pytest.mark.parametrize(
        "name", ["teacher", "student", "reference", "../evil", ".hidden", "a/b"]
    )
    def test_names_of_models_are_plain_and_their_own(self, name):
        with pytest.raises(ValueError, match=r"a name that a level|expected a plain name"):
            CompareConfig(models={name: {"path": "compare_toys:Scaled"}})

    def test_an_observable_is_computed_only_where_it_is_asked_for(
        self, inputs, measured, with_toy, monkeypatch
    ):
        _, section = with_toy
        stage.run(section(timing=None), **inputs)
        assert not (inputs["out"] / "toy.json").exists()
        energies = []
        for constant in (3.6, 3.7):
            stage.run(section(timing=None, toy={"lattice_constant": constant}), **inputs)
            kind = OBSERVABLES.load("toy").Result
            energies.append(read_result(inputs["out"] / "toy.json", kind).energies["teacher"])
        assert energies[0] != energies[1]
