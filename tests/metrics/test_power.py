"""Power of checks: exact numbers against simulation."""

import numpy as np
import pytest

from distill.metrics.power import (
    chance_each,
    chance_of_pairs,
    deviation_to_pass,
    pairs_to_pass,
)
from distill.metrics.statistics import paired_interval


@pytest.mark.parametrize(
    ("pairs", "disagree", "bound"), [(200, 0.056, 0.05), (200, 0.12, 0.05), (400, 0.08, 0.05)]
)
def test_the_chance_of_pairs_is_that_of_a_simulation(pairs, disagree, bound):
    generator, repeats = np.random.default_rng(1), 4000
    shares = [disagree / 2, disagree / 2, 1 - disagree]
    counts = generator.multinomial(pairs, shares, repeats)
    ends = [paired_interval(a, b, pairs, 1.959964) for a, b, _ in counts]
    passed = np.mean([-bound <= low and high <= bound for low, high in ends])
    exact = chance_of_pairs(pairs, disagree, bound)
    assert passed == pytest.approx(exact, abs=4 * np.sqrt(0.25 / repeats))


def test_pairs_to_pass_are_the_least():
    needed = pairs_to_pass(0.06, 0.05, 0.95)
    assert chance_of_pairs(needed, 0.06, 0.05) >= 0.95
    assert chance_of_pairs(needed - 3, 0.06, 0.05) < 0.96
    assert chance_of_pairs(needed // 2, 0.06, 0.05) < 0.95
    assert pairs_to_pass(0.5, 0.0001, 0.95) is None


def test_many_checks_together_ask_more_of_each():
    assert chance_each(0.95, 1) == 0.95
    assert chance_each(0.95, 18) ** 18 == pytest.approx(0.95)
    assert pairs_to_pass(0.06, 0.05, chance_each(0.95, 18)) > pairs_to_pass(0.06, 0.05, 0.95)


def test_the_standard_error_that_passes_does():
    generator = np.random.default_rng(2)
    deviation = deviation_to_pass(0.05, 0.9)
    found = generator.normal(scale=deviation, size=20000)
    passed = np.mean(np.abs(found) + 1.959964 * deviation <= 0.05)
    assert passed == pytest.approx(0.9, abs=0.01)
