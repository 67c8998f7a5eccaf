"""The verdict: a check passes only if its whole interval lies inside the bound."""

from __future__ import annotations

import re

import pytest

from distill.compare.verdict import check_text, judge, require_computed, verdict_text
from distill.config import CompareConfig, StickingConfig, Tolerances
from distill.core.errors import UserError
from distill.metrics.statistics import paired_difference, pairs_needed


def errors(rmse, interval):
    table = {"forces": {"rmse": rmse, "rmse_interval": interval}, "energy_per_atom": None}
    return {"test": {"reference_teacher": table}, "held_out": {"teacher_student": table}}


def only(verdict):
    (check,) = verdict["checks"]
    assert verdict["passed"] == check["passed"]
    return check


@pytest.mark.parametrize(
    ("rmse", "interval", "passed"),
    [
        (0.03, [0.02, 0.039], True),
        (0.03, [0.02, 0.041], False),
        (0.05, [0.045, 0.06], False),
        (0.03, None, False),
    ],
)
def test_an_rmse_passes_with_its_upper_end(rmse, interval, passed):
    check = only(judge(Tolerances(student_force_rmse=0.04), errors=errors(rmse, interval)))
    assert check["passed"] is passed
    assert ("beyond the bound" in check["comment"]) is (
        rmse < 0.04 and bool(interval) and not passed
    )


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(-0.04, 0.04, True), (-0.06, 0.02, False), (-0.02, 0.051, False)]
)
def test_a_sticking_difference_passes_with_both_ends(low, high, passed):
    result = {"difference": (low + high) / 2, "interval": [low, high], "trajectories": 100}
    verdict = judge(Tolerances(sticking=0.05), errors={}, sticking={"111": result})
    assert only(verdict)["passed"] is passed


def test_a_wide_sticking_interval_says_how_many_trajectories_are_needed():
    def check(teacher, student):
        found = paired_difference(teacher, student, 0.9)
        result = {
            "difference": found.value,
            "interval": list(found.interval),
            "trajectories": found.samples,
            "only_teacher": found.only_first,
            "only_student": found.only_second,
            "confidence": 0.9,
        }
        return only(judge(Tolerances(sticking=0.05), errors={}, sticking={"111": result}))

    def needed(comment):
        return int(re.search(r"about (\d+) teacher trajectories", comment)[1])

    agreeing = check([True] * 20, [True] * 20)
    assert not agreeing["passed"]
    assert needed(agreeing["comment"]) == pairs_needed(0.05, 0.9) < 60

    # Three pairs in 50 disagree, most to one side: the difference takes up part of the room.
    def one_sided(times):
        teacher, student = ([True] + [False] * 49) * times, ([False, True, True] + [False] * 47)
        return check(teacher, student * times)

    wide = one_sided(1)
    assert "instead of 50" in wide["comment"]
    times = needed(wide["comment"]) // 50
    assert not one_sided(times)["passed"]
    assert one_sided(times + 1)["passed"]


def test_a_difference_beyond_the_bound_is_not_a_matter_of_trajectories():
    result = {"difference": 0.06, "interval": [0.04, 0.08], "trajectories": 5000}
    check = only(judge(Tolerances(sticking=0.05), errors={}, sticking={"111": result}))
    assert not check["passed"] and check["comment"] == ""


def test_a_sticking_difference_without_its_counts_is_judged_too():
    result = {"difference": 0.0, "interval": [-0.1, 0.1], "trajectories": 50}
    check = only(judge(Tolerances(sticking=0.05), errors={}, sticking={"111": result}))
    assert not check["passed"] and "more than the 50 teacher trajectories" in check["comment"]


def test_a_speedup_passes_with_its_lower_end():
    for median, interval, passed, comment in (
        (11.0, [10.5, 12.0], True, ""),
        (11.0, [9.5, 12.0], False, "the interval reaches below the bound"),
        (9.0, [8.5, 9.5], False, ""),
    ):
        speedup = {"median": median, "interval": interval}
        check = only(judge(Tolerances(speedup=10), errors={}, speedup=speedup))
        assert check["passed"] is passed
        assert check["comment"].split(":")[0] == comment


def test_an_activation_energy_passes_with_both_ends():
    for interval, passed in (([-0.015, 0.019], True), ([-0.03, 0.05], False)):
        result = {"difference": 0.01, "interval": interval}
        check = only(judge(Tolerances(activation_energy=0.02), errors={}, activation_energy=result))
        assert check["passed"] is passed
        assert ("longer or more runs" in check["comment"]) is not passed


def test_one_failed_barrier_fails_the_verdict():
    barriers = {
        "Cu(111)": {"difference": -0.01, "converged": True},
        "Cu(100)": {"difference": 0.03, "converged": True},
    }
    verdict = judge(Tolerances(barrier=0.02), errors={}, barriers=barriers)
    assert verdict["passed"] is False
    assert [check["passed"] for check in verdict["checks"]] == [True, False]
    assert verdict_text(verdict).splitlines() == [
        "verdict: 1 of 2 checks failed",
        "  pass  barrier Cu(111), student − teacher: −10 meV, within ±20 meV",
        "  FAIL  barrier Cu(100), student − teacher: 30 meV, within ±20 meV",
    ]
    good = judge(Tolerances(barrier=0.04), errors={}, barriers=barriers)
    assert good["passed"] is True
    assert verdict_text(good).splitlines()[0] == "verdict: all 2 checks passed"


def test_a_check_is_told_with_its_interval_and_unit():
    check = only(judge(Tolerances(student_force_rmse=0.04), errors=errors(0.03, [0.02, 0.041])))
    assert check_text(check).startswith("30 meV/Å (20 to 41), at most 40 meV/Å; the interval")
    speedup = {"median": 11.0, "interval": [10.5, 12.0]}
    check = only(judge(Tolerances(speedup=10), errors={}, speedup=speedup))
    assert check_text(check) == "11 (10.5 to 12), at least 10"


def test_a_barrier_of_a_band_that_did_not_converge_does_not_pass():
    barriers = {"Cu(111)": {"difference": 0.001, "converged": False}}
    check = only(judge(Tolerances(barrier=0.02), errors={}, barriers=barriers))
    assert check["passed"] is False
    assert "did not converge" in check["comment"]


def test_without_tolerances_there_is_no_verdict():
    verdict = judge(Tolerances(), errors={})
    assert verdict == {"passed": None, "checks": []}
    assert "no tolerances" in verdict_text(verdict)


def test_what_gave_no_number_fails_with_the_reason():
    verdict = judge(Tolerances(sticking=0.05, activation_energy=0.02), errors={})
    assert verdict["passed"] is False
    assert [check["value"] for check in verdict["checks"]] == [None, None]
    assert "no number, within ±20 meV; no Arrhenius fit of both" in verdict_text(verdict)


@pytest.mark.parametrize(
    ("tolerances", "other", "named"),
    [
        ({"speedup": 10}, {"timing": None}, "tolerances.speedup is set, but compare.timing is off"),
        ({"barrier": 0.02}, {}, "tolerances.barrier"),
        ({"activation_energy": 0.02}, {}, "tolerances.activation_energy"),
        ({"sticking": 0.05}, {}, "tolerances.sticking"),
        ({"sticking": 0.05}, {"sticking": StickingConfig(teacher_trajectories=0)}, "below 2"),
    ],
)
def test_a_tolerance_on_something_not_computed_is_refused(tolerances, other, named):
    config = CompareConfig(tolerances=Tolerances(**tolerances), **other)
    with pytest.raises(UserError, match=named):
        require_computed(config)


def test_a_tolerance_on_labels_that_are_missing_is_refused():
    with pytest.raises(UserError, match=r"tolerances\.student_energy_rmse is set"):
        judge(Tolerances(student_energy_rmse=0.01), errors=errors(0.1, [0.1, 0.2]))
