"""Trajectories until the interval is narrow enough: decisions, budgets, coverage by simulation."""

import numpy as np
import pytest

from distill.config import StickingConfig
from distill.core.errors import UserError
from distill.metrics.statistics import (
    half_width,
    paired_difference,
    pairs_needed,
    trajectories_needed,
    wilson,
)
from distill.observables.sticking.sequential_precision import Target, targets


def test_all_trajectories_are_run_where_no_precision_is_asked_for():
    target = Target(None, 10, 500)
    assert target.first == 500
    assert target.after(wilson(3, 500), 500) == 500
    assert target.report(wilson(3, 500), 500)["reached"]


def test_a_narrow_interval_stops_and_a_wide_one_goes_on():
    target = Target(0.05, 50, 1000)
    assert target.first == 50
    assert target.after(wilson(400, 800), 800) == 800
    further = target.after(wilson(25, 50), 50)
    assert 50 < further <= 100
    # A batch more at least: 730 would do for this one.
    estimate = wilson(144, 720)
    assert half_width(estimate) < 0.03 and Target(0.029, 50, 1000).needed(estimate, 720) < 770
    assert Target(0.029, 50, 1000).after(estimate, 720) == 770


def test_without_a_sound_trajectory_another_batch_is_run():
    target = Target(0.05, 50, 1000)
    assert target.after(None, 200) == 250
    report = target.report(None, 200)
    assert report.pop("surfaces_needed") is None
    assert report == {"asked": 0.05, "half_width": None, "reached": False, "needed": 250}


def test_the_budget_is_the_end_and_the_report_says_how_many_are_needed():
    target = Target(0.05, 50, 120)
    estimate = wilson(60, 120)
    assert target.after(estimate, 120) == 120
    report = target.report(estimate, 120)
    assert not report["reached"]
    assert report["needed"] == trajectories_needed(0.5, 0.05)
    assert half_width(wilson(report["needed"] // 2, report["needed"])) == pytest.approx(
        0.05, rel=0.05
    )


def test_pairs_that_all_agree_need_no_more_than_the_least():
    least = pairs_needed(0.05)
    for done in (10, 20, least - 1):
        agreeing = [i % 3 == 0 for i in range(done)]
        estimate = paired_difference(agreeing, agreeing)
        assert Target(0.05, 10, 500).report(estimate, done)["needed"] == least
    # From 40 on, a doubling reaches it: the second look is the last.
    agreeing = [True] * 40
    assert Target(0.05, 10, 500).after(paired_difference(agreeing, agreeing), 40) == least


@pytest.mark.parametrize(("only_first", "only_second"), [(1, 0), (0, 2), (3, 3), (10, 0)])
def test_the_pairs_needed_are_the_least_with_the_same_disagreement(only_first, only_second):
    estimate = disagreeing(20, only_first, only_second)
    needed = Target(0.05, 10, 500).needed(estimate, 20)

    def interval(pairs):
        # Bonett and Price's, with counts that need not be whole.
        p = (only_first * pairs / 20 + 1) / (pairs + 2)
        q = (only_second * pairs / 20 + 1) / (pairs + 2)
        return 1.959964 * np.sqrt((p + q - (p - q) ** 2) / (pairs + 2))

    assert interval(needed) <= 0.05 < interval(needed - 1)
    whole = 20 * (-(-needed // 20))
    scale = whole // 20
    wider = disagreeing(whole, scale * only_first, scale * only_second)
    assert half_width(wider) <= 0.05


def disagreeing(pairs, only_first, only_second):
    first = [i < only_first for i in range(pairs)]
    second = [only_first <= i < only_first + only_second for i in range(pairs)]
    return paired_difference(first, second)


def test_trajectories_set_aside_are_run_again_in_the_same_share():
    target = Target(0.05, 50, 10000)
    assert target.needed(wilson(50, 100), 125) == np.ceil(1.25 * trajectories_needed(0.5, 0.05))


def test_a_budget_that_cannot_do_is_refused_with_the_number_needed():
    needed = pairs_needed(0.05)
    half = disagreeing(1000, 250, 250).needed(0.05)
    expected = rf"teacher_trajectories is 20.*: {needed} are needed.*about {half} where half"
    with pytest.raises(UserError, match=expected):
        targets(StickingConfig(precision=0.05, teacher_trajectories=20))
    with pytest.raises(UserError, match=r"student_trajectories is 100.*about 9600"):
        targets(StickingConfig(precision=0.01, teacher_trajectories=0, student_trajectories=100))
    targets(StickingConfig(precision=0.05, teacher_trajectories=needed))
    # The student alone needs no teacher.
    targets(StickingConfig(precision=0.05, teacher_trajectories=0))


def test_pairs_needed_is_the_width_of_agreeing_pairs():
    needed = pairs_needed(0.05)
    agreeing = [True] * needed
    assert half_width(paired_difference(agreeing, agreeing)) <= 0.05
    assert half_width(paired_difference(agreeing[1:], agreeing[1:])) > 0.05


@pytest.mark.physics
@pytest.mark.parametrize("truth", [0.02, 0.2, 0.5])
def test_stopping_when_precise_keeps_the_coverage(truth):
    generator, covered, repeats = np.random.default_rng(4), 0, 500
    target = Target(0.04, 100, 5000)
    for _ in range(repeats):
        outcomes = generator.random(target.most) < truth
        done = target.first
        while True:
            estimate = wilson(int(outcomes[:done].sum()), done)
            further = target.after(estimate, done)
            if further == done:
                break
            done = further
        assert half_width(estimate) <= 0.04
        covered += estimate.low <= truth <= estimate.high
    # Three standard errors below 0.95 is 0.921.
    assert covered / repeats > 0.92
