"""The verdict: a check passes only if its whole interval lies inside the bound."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from fake_observables import FAKES, barriers_result, sticking_condition, sticking_result
from fake_run import errors_result, judged, timing_result

from distill.compare.checks import error_checks, speedup_check
from distill.compare.errors_result import ErrorsResult
from distill.compare.harm import harm
from distill.compare.timing_result import Ratio
from distill.compare.verdict import refuse_what_cannot_work
from distill.compare.verdict_result import (
    Verdict,
    check_text,
    verdict_of,
    verdict_text,
)
from distill.config import CompareConfig, StickingConfig, Tolerances
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.metrics.errors import Errors
from distill.metrics.statistics import paired_difference, pairs_needed
from distill.observables.barriers.observable import Barriers
from distill.observables.base import OBSERVABLES, within
from distill.observables.sticking.observable import Sticking
from distill.observables.sticking.result import PairedSticking, PublishedPoint
from distill.teacher.teacher_results import TeacherErrors

RECORDS = Path(__file__).parents[1] / "data" / "records"
# A bound that anything is inside of: within or at most this, and at least its inverse.
ENDLESS = 1e9
KEYS = list(Tolerances.model_fields)
UNSET = dict.fromkeys(KEYS)


def bounds_of(**bounds):
    """These bounds and no others."""
    return Tolerances(**{**UNSET, **bounds})


@pytest.fixture(scope="module")
def results():
    """Made-up errors, times and observables."""
    observables = {name: make() for name, make in FAKES.items() if name in OBSERVABLES.names()}
    point = PublishedPoint(energy=0.8, probability=0.4, interval=(0.3, 0.5), source="experiment")
    observables["sticking"] = sticking_result(published=[point])
    return errors_result(), timing_result(), observables


def errors_with(rmse, interval) -> ErrorsResult:
    """Errors in which all that is judged by its forces has an RMSE, and there are no energies."""
    found = errors_result()
    forces = Errors(
        mae=rmse, rmse=rmse, rmse_interval=interval, max=rmse, mean=0.0, count=9, structures=3
    )
    table = found.held_out.model_copy(update={"forces": forces, "energy_per_atom": None})
    test = found.test.model_copy(update={"reference_teacher": table})
    return found.model_copy(update={"test": test, "held_out": table})


def judged_errors(errors, **bounds):
    """The checks of errors that have a bound."""
    return [check for check in error_checks(Tolerances(**bounds), errors) if check.bound]


def with_speedup(median, interval):
    timing = timing_result()
    student = timing.models["student"].model_copy(
        update={"speedup_forces": Ratio(median=median, interval=interval)}
    )
    return timing.model_copy(update={"models": {**timing.models, "student": student}})


def pairs_of(difference, interval, trajectories=100, only_first=0, only_second=0):
    return PairedSticking(
        difference=difference,
        interval=interval,
        trajectories=trajectories,
        only_first=only_first,
        only_second=only_second,
    )


def sticking_check(paired, confidence=0.95):
    result = sticking_result(sticking_condition(paired=paired), confidence=confidence)
    (check,) = Sticking().checks(result, Tolerances(sticking=0.05))
    return check


def barrier_differences(*pairs):
    """Paths whose barriers differ by so many eV, student minus teacher, both converged or not."""
    paths = {}
    for number, (difference, converged) in enumerate(pairs):
        (profiles,) = barriers_result().paths.values()
        barrier = profiles["teacher"].barrier + difference
        student = profiles["student"].model_copy(
            update={"barrier": barrier, "converged": converged}
        )
        paths[f"path {number}"] = {**profiles, "student": student}
    return barriers_result().model_copy(update={"paths": paths})


@pytest.mark.parametrize(
    ("rmse", "interval", "passed"),
    [
        (0.03, (0.02, 0.039), True),
        (0.03, (0.02, 0.041), False),
        (0.05, (0.045, 0.06), False),
        (0.03, None, False),
    ],
)
def test_an_rmse_passes_with_its_upper_end(rmse, interval, passed):
    (check,) = judged_errors(errors_with(rmse, interval), student_force_rmse=0.04)
    assert check.passed is passed
    assert ("beyond the bound" in check.comment) is (rmse < 0.04 and bool(interval) and not passed)


def test_each_bound_of_an_error_is_on_its_own_number():
    errors = errors_result()
    expected = {
        "teacher_force_rmse": errors.test.reference_teacher.forces.rmse,
        "teacher_energy_rmse": errors.test.reference_teacher.energy_per_atom.rmse,
        "student_force_rmse": errors.held_out.forces.rmse,
        "student_energy_rmse": errors.held_out.energy_per_atom.rmse,
        "purpose_force_rmse": errors.test.reference_student.forces.rmse,
        "purpose_energy_rmse": errors.test.reference_student.energy_per_atom.rmse,
    }
    assert len(set(expected.values())) == 6
    for key, value in expected.items():
        (check,) = judged_errors(errors, **{key: 1.0})
        assert (check.tolerance, check.value) == (key, value)
        of_levels = {"student": "faithful", "teacher": "teacher", "purpose": "purpose"}
        assert check.question == of_levels[key.split("_")[0]]


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(-0.04, 0.04, True), (-0.06, 0.02, False), (-0.02, 0.051, False)]
)
def test_a_sticking_difference_passes_with_both_ends(low, high, passed):
    assert sticking_check(pairs_of((low + high) / 2, (low, high))).passed is passed


def test_a_wide_sticking_interval_says_how_many_trajectories_are_needed():
    def check(teacher, student):
        found = paired_difference(teacher, student, 0.9)
        paired = pairs_of(
            found.value, found.interval, found.samples, found.only_first, found.only_second
        )
        return sticking_check(paired, confidence=0.9)

    def needed(comment):
        return int(re.search(r"about (\d+) teacher trajectories", comment)[1])

    agreeing = check([True] * 20, [True] * 20)
    assert not agreeing.passed
    assert needed(agreeing.comment) == pairs_needed(0.05, 0.9) < 60

    # Three pairs in 50 disagree, most to one side: the difference takes up part of the room.
    def one_sided(times):
        teacher, student = ([True] + [False] * 49) * times, ([False, True, True] + [False] * 47)
        return check(teacher, student * times)

    wide = one_sided(1)
    assert "instead of 50" in wide.comment
    times = needed(wide.comment) // 50
    assert not one_sided(times).passed
    assert one_sided(times + 1).passed


def test_a_difference_beyond_the_bound_is_not_a_matter_of_trajectories():
    check = sticking_check(pairs_of(0.06, (0.04, 0.08), 5000))
    assert not check.passed and check.comment == ""


def test_a_speedup_passes_with_its_lower_end():
    for median, interval, passed, comment in (
        (11.0, (10.5, 12.0), True, ""),
        (11.0, (9.5, 12.0), False, "the interval reaches below the bound"),
        (9.0, (8.5, 9.5), False, ""),
    ):
        check = speedup_check(with_speedup(median, interval), 10)
        assert check.passed is passed
        assert check.comment.split(":")[0] == comment


def test_a_speedup_needs_a_timed_student():
    timing = timing_result()
    timing = timing.model_copy(update={"models": {"teacher": timing.models["teacher"]}})
    with pytest.raises(UserError, match=r"tolerances\.speedup is set"):
        speedup_check(timing, 10)


def test_one_failed_barrier_fails_the_verdict():
    barriers = barrier_differences((-0.01, True), (0.03, True))
    verdict = verdict_of(Barriers().checks(barriers, Tolerances(barrier=0.02)))
    assert verdict.passed is False
    assert [check.passed for check in verdict.checks] == [True, False]
    lines = verdict_text(verdict).splitlines()
    assert lines[0] == "Is the student faithful to its teacher? no (1 of 2 checks failed)"
    alone = "; a single path has no interval"
    assert lines[-2:] == [
        f"  pass  barrier path 0, student − teacher: −10 meV, within ±20 meV{alone}",
        f"  FAIL  barrier path 1, student − teacher: 30 meV, within ±20 meV{alone}",
    ]
    good = verdict_of(Barriers().checks(barriers, Tolerances(barrier=0.04)))
    assert verdict_text(good).startswith(
        "Is the student faithful to its teacher? yes (2 checks passed)"
    )


def test_a_barrier_of_a_band_that_did_not_converge_does_not_pass():
    for converged in (False, None):
        barriers = barrier_differences((0.001, converged))
        (check,) = Barriers().checks(barriers, Tolerances(barrier=0.02))
        assert check.passed is False
        assert "did not converge" in check.comment


def test_a_check_is_told_with_its_interval_and_unit():
    (check,) = judged_errors(errors_with(0.03, (0.02, 0.041)), student_force_rmse=0.04)
    assert check_text(check).startswith("30 meV/Å (20 to 41), at most 40 meV/Å; the interval")
    check = speedup_check(with_speedup(11.0, (10.5, 12.0)), 10)
    assert check_text(check) == "11 (10.5 to 12), at least 10"


def test_a_check_with_another_confidence_says_so():
    check = sticking_check(pairs_of(0.0, (-0.02, 0.02)), confidence=0.9)
    assert check_text(check) == "0 (−0.02 to 0.02, 90 %), within ±0.05"
    check = sticking_check(pairs_of(0.0, (-0.02, 0.02)))
    assert check_text(check) == "0 (−0.02 to 0.02), within ±0.05"


def test_without_tolerances_everything_is_measured_and_nothing_is_judged(results):
    verdict = judged(Tolerances(**UNSET), *results)
    assert verdict.passed is None
    assert {answer.answer for answer in verdict.answers} == {"not judged"}
    assert {check.tolerance for check in verdict.checks} == set(KEYS)
    assert all(check.bound is None and check.passed is None for check in verdict.checks)
    assert "set some of purpose_force_rmse" in verdict_text(verdict)
    assert "pass" not in verdict_text(verdict).replace("compare.tolerances", "")


@pytest.mark.parametrize("key", KEYS)
def test_one_bound_answers_its_own_question_and_no_other(key, results):
    verdict = judged(bounds_of(**{key: ENDLESS if key != "speedup" else 1 / ENDLESS}), *results)
    judgements = {check.question for check in verdict.checks if check.bound is not None}
    answered = {found.question for found in verdict.answers if found.answer != "not judged"}
    assert answered == judgements and len(answered) == 1
    # What is not asked is not passed.
    assert verdict.passed is None


def test_a_verdict_passes_as_a_whole_only_if_every_question_is_answered(results):
    bounds = {key: ENDLESS for key in KEYS if key != "speedup"}
    assert judged(Tolerances(speedup=1 / ENDLESS, **bounds), *results).passed is True
    unjudged = {key: None for key in KEYS if key.startswith("purpose_")}
    assert judged(Tolerances(**{**bounds, **unjudged}), *results).passed is None
    assert judged(Tolerances(speedup=ENDLESS, **bounds), *results).passed is False


def test_a_path_without_a_saddle_does_not_pass_as_no_barrier():
    downhill = barrier_differences((0.0, True))
    ((title, profiles),) = downhill.paths.items()
    flat = {
        model: profile.model_copy(update={"energy": [0.0, -0.1, -0.3], "barrier": 0.0})
        for model, profile in profiles.items()
    }
    for changed in (flat, {**profiles, "student": flat["student"]}):
        result = downhill.model_copy(update={"paths": {title: changed}})
        (check,) = Barriers().checks(result, Tolerances(barrier=0.02))
        assert check.passed is False and check.value is None
        assert "has no saddle between its ends" in check.comment
        assert Barriers().cards(result) == []


def test_barriers_against_the_reference_answer_their_own_questions():
    result = barriers_result()
    checks = Barriers().checks(result, Tolerances(teacher_barrier=0.04, purpose_barrier=0.02))
    assert [(c.tolerance, c.question, c.passed) for c in checks] == [
        ("teacher_barrier", "teacher", True),
        ("purpose_barrier", "purpose", False),
    ]
    (profiles,) = result.paths.values()
    above = [profiles[m].barrier - profiles["reference"].barrier for m in ("teacher", "student")]
    assert [check.value for check in checks] == pytest.approx(above)


def test_too_few_sources_are_said_to_be_too_few():
    errors = errors_with(0.03, None)
    few = errors.held_out.forces.model_copy(update={"sources": 3})
    errors = errors.model_copy(
        update={"held_out": errors.held_out.model_copy(update={"forces": few})}
    )
    (check,) = judged_errors(errors, student_force_rmse=0.04)
    assert not check.passed
    assert check.comment.startswith("too few to judge: 3 trajectories")


class TestHarm:
    """A step that made things worse is told before anything else."""

    @staticmethod
    def scaled(table, factor):
        forces = table.forces
        return table.model_copy(
            update={"forces": forces.model_copy(update={"rmse": factor * forces.rmse})}
        )

    def test_a_teacher_worse_than_its_foundation(self):
        errors = errors_result()
        table = errors.test.reference_teacher
        assert harm(errors, TeacherErrors(teacher=table, foundation=table)) == []
        worse = TeacherErrors(teacher=table, foundation=self.scaled(table, 0.9))
        (told,) = harm(errors, worse)
        assert told.startswith("the teacher is worse than the foundation model")
        assert harm(errors, TeacherErrors(teacher=table)) == []

    def test_a_student_worse_than_one_on_the_reference_data_alone(self):
        errors = errors_result()
        table = errors.test.reference_student
        better = errors.model_copy(update={"alone": self.scaled(table, 1.1)})
        assert harm(errors, None) == harm(better, None) == []
        worse = errors.model_copy(update={"alone": self.scaled(table, 0.9)})
        (told,) = harm(worse, None)
        assert told.startswith("the student is worse than a student of equal size")
        verdict = verdict_of(error_checks(Tolerances(), worse), [told])
        assert verdict_text(verdict).splitlines()[0] == f"warning: {told}"


def test_a_verdict_of_the_first_version_is_read():
    verdict = read_result(RECORDS / "verdict_v1.json", Verdict)
    assert [(check.tolerance, check.question) for check in verdict.checks] == [
        ("teacher_force_rmse", "teacher"),
        ("student_force_rmse", "faithful"),
        ("speedup", "sound"),
    ]
    answers = {found.question: found.answer for found in verdict.answers}
    assert answers == {"faithful": "yes", "teacher": "no", "purpose": "not judged", "sound": "yes"}
    assert verdict.passed is False


def test_what_gave_no_number_fails_with_the_reason():
    result = sticking_result(sticking_condition(teacher=None, paired=None, two_level=None))
    verdict = verdict_of(Sticking().checks(result, Tolerances(sticking=0.05)))
    assert verdict.passed is False
    assert [check.value for check in verdict.checks] == [None]
    assert "no number, within ±0.05; no pair of sound trajectories" in verdict_text(verdict)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_number_that_is_none_does_not_pass(value):
    assert not within("barrier", "x", value, None, 1.0, "eV").passed
    assert not within("sticking", "x", 0.0, (-0.1, value), 1.0, "").passed
    assert not within("sticking", "x", 0.0, (value, 0.1), 1.0, "").passed
    assert within("sticking", "x", 0.0, (-0.1, 0.1), 1.0, "").passed


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_rmse_that_is_no_number_does_not_pass(value):
    for rmse, interval in ((value, (0.02, 0.03)), (0.02, (0.02, value))):
        (check,) = judged_errors(errors_with(rmse, interval), student_force_rmse=0.04)
        assert not check.passed


@pytest.mark.parametrize("key", KEYS)
def test_every_bound_has_checks_that_pass_only_with_the_whole_interval(key, results):
    def checks(bound):
        found = judged(bounds_of(**{key: bound}), *results).checks
        found = [check for check in found if check.bound is not None]
        assert found
        assert {check.tolerance for check in found} == {key}
        assert {check.bound for check in found} == {bound}
        return {check.name: check for check in found}

    for name, check in checks(ENDLESS).items():
        ends = [check.value, *(check.interval or ())]
        if check.sense == "at least":
            reach, beyond = min(ends), 1 + 1e-6
        else:
            reach, beyond = max(map(abs, ends)), 1 - 1e-6
        assert reach > 0
        assert checks(reach / beyond)[name].passed
        assert not checks(reach * beyond)[name].passed


def needed_by(key):
    """The section that a tolerance of an observable needs."""
    for name, kind in OBSERVABLES.members().items():
        if key in kind.Tolerances.model_fields:
            return name
    return None


@pytest.mark.parametrize("key", [key for key in KEYS if needed_by(key)])
def test_a_bound_of_an_observable_that_is_not_asked_for_is_refused_by_name(key):
    config = CompareConfig(timing=None, tolerances={key: 0.02})
    named = rf"tolerances\.{key} is set, but compare\.{needed_by(key)} is off"
    with pytest.raises(UserError, match=named):
        refuse_what_cannot_work(config)


@pytest.mark.parametrize(
    ("tolerances", "other", "named"),
    [
        ({"speedup": 10}, {"timing": None}, "tolerances.speedup is set, but compare.timing is off"),
        ({"sticking": 0.05}, {"sticking": StickingConfig(teacher_trajectories=0)}, "below 2"),
        ({"sticking": 0.05}, {"sticking": StickingConfig(teacher_trajectories=1)}, "below 2"),
    ],
)
def test_a_tolerance_on_something_not_computed_is_refused(tolerances, other, named):
    config = CompareConfig(tolerances=Tolerances(**tolerances), **other)
    with pytest.raises(UserError, match=named):
        refuse_what_cannot_work(config)


def test_a_tolerance_on_labels_that_are_missing_is_refused():
    with pytest.raises(UserError, match=r"tolerances\.student_energy_rmse is set"):
        error_checks(Tolerances(student_energy_rmse=0.01), errors_with(0.1, (0.1, 0.2)))
