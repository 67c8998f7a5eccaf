"""Trajectories shared between student and pairs: at least cost, and to the precision asked for."""

from itertools import pairwise

import numpy as np
import pytest

from distill.metrics.multilevel import multilevel
from distill.metrics.statistics import half_width, paired_difference, proportion
from distill.observables.sticking.effort import Counts, Effort

FIRST, MOST = Counts(20, 100), Counts(3000, 30000)


def outcomes(generator, differ, count=30000):
    """Of student and teacher: 0.3 of the student's stick, and some differ either way."""
    student = generator.random(count) < 0.3
    return student, student ^ (generator.random(count) < differ)


def sequence(effort, student, teacher):
    """Counts at every look, and the last estimate."""
    looks = [effort.first]
    while True:
        done = looks[-1]
        cheap, exact = student[: done.student], teacher[: done.teacher]
        joint = multilevel([cheap, exact])
        pairs = paired_difference(exact, cheap[: done.teacher])
        counts = effort.after(joint, proportion(cheap), pairs, done)
        if counts == done:
            return looks, joint
        looks.append(counts)


def test_numbers_go_as_the_roots_of_variance_over_cost():
    student, teacher = outcomes(np.random.default_rng(0), 0.05)
    ratios = {}
    for cost in (1.0, 99.0):
        looks, joint = sequence(Effort(0.03, FIRST, MOST, cost), student, teacher)
        assert half_width(joint) <= 0.03
        last = looks[-1]
        ratios[cost] = (last.student - last.teacher) / last.teacher
        for before, after in pairwise(looks):
            assert before.teacher <= after.teacher <= 2 * before.teacher
            assert before.student <= after.student <= 2 * before.student
    # A pair costs 2 and 100 student trajectories.
    assert ratios[99.0] / ratios[1.0] == pytest.approx(np.sqrt(50), rel=0.3)


@pytest.mark.physics
def test_it_costs_less_than_other_shares():
    """Against the same precision from five or two hundred student trajectories a pair."""
    generator, cost = np.random.default_rng(1), 60.0
    chosen, others = [], {5: [], 200: []}
    for _ in range(20):
        student, teacher = outcomes(generator, 0.04)
        looks, _ = sequence(Effort(0.03, FIRST, MOST, cost), student, teacher)
        chosen.append(looks[-1].teacher * cost + looks[-1].student)
        for share, costs in others.items():
            pairs = 10
            while half_width(multilevel([student[: share * pairs], teacher[:pairs]])) > 0.03:
                pairs = int(pairs * 1.05) + 1
            costs.append(pairs * cost + share * pairs)
    assert all(np.mean(chosen) < 0.95 * np.mean(costs) for costs in others.values())


@pytest.mark.physics
@pytest.mark.parametrize("differ", [0.0, 0.05, 0.4])
def test_intervals_that_ended_it_hold_the_truth(differ):
    generator, repeats, held = np.random.default_rng(2), 1000, 0
    truth = 0.3 * (1 - differ) + 0.7 * differ
    for _ in range(repeats):
        student, teacher = outcomes(generator, differ, 6000)
        _, joint = sequence(Effort(0.06, FIRST, Counts(1500, 6000), 50.0), student, teacher)
        assert half_width(joint) <= 0.06
        held += joint.low <= truth <= joint.high
    assert held / repeats >= 0.93


def test_a_budget_is_spent_and_no_more():
    student, teacher = outcomes(np.random.default_rng(3), 0.3)
    most = Counts(50, 400)
    looks, joint = sequence(Effort(0.01, FIRST, most, 50.0), student, teacher)
    assert looks[-1] == most
    assert not Effort(0.01, FIRST, most, 50.0).reached(joint)


def test_without_sound_trajectories_there_are_more():
    effort = Effort(0.05, FIRST, MOST, 50.0)
    assert effort.after(None, None, None, FIRST) == Counts(40, 200)
