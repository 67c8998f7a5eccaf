"""Intervals: textbook values, and coverage by simulation of known truths."""

import numpy as np
import pytest

from distill.core.errors import UserError
from distill.metrics.multilevel import multilevel
from distill.metrics.statistics import (
    paired_difference,
    pairs_needed,
    pairs_needed_within,
    proportion,
    trajectories_needed,
    wilson,
)

Z = 1.959964


def test_wilson_is_the_closed_form():
    for k, n in [(0, 10), (3, 10), (10, 10), (57, 300)]:
        p = k / n
        centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        estimate = wilson(k, n)
        assert estimate.value == p
        assert estimate.interval == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_wider_confidence_is_a_wider_interval():
    narrow, wide = wilson(3, 20, 0.68), wilson(3, 20, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_difference_is_bonett_and_price():
    first = [True] * 8 + [False] * 12
    second = [True] * 5 + [False] * 3 + [True] * 1 + [False] * 11
    p, q, n = 4 / 22, 2 / 22, 22
    half = Z * np.sqrt((p + q - (p - q) ** 2) / n)
    estimate = paired_difference(first, second)
    assert estimate.value == pytest.approx(2 / 20)
    assert estimate.interval == pytest.approx((p - q - half, p - q + half), abs=1e-6)


def test_agreement_on_few_pairs_is_not_certainty():
    few, many = (
        paired_difference([True] * 5, [True] * 5),
        paired_difference([True] * 500, [True] * 500),
    )
    assert few.value == many.value == 0.0
    assert few.high > 0.3
    assert many.high < 0.01
    assert few.low == pytest.approx(-few.high)


def test_pairs_beat_independent_samples_when_models_agree():
    outcomes = [i % 3 == 0 for i in range(60)]
    paired = paired_difference(outcomes, outcomes)
    alone = wilson(20, 60)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def draw(generator, both, only_exact, only_cheap, pairs, further):
    """Outcomes of exact and cheap model with a known joint distribution."""
    u = generator.random(pairs)
    exact = u < both + only_exact
    cheap = (u < both) | ((u >= both + only_exact) & (u < both + only_exact + only_cheap))
    more = generator.random(further) < both + only_cheap
    return exact, np.concatenate([cheap, more])


@pytest.mark.physics
@pytest.mark.parametrize(
    ("both", "only_exact", "only_cheap", "pairs", "further"),
    [
        (0.28, 0.02, 0.02, 20, 500),
        (0.30, 0.00, 0.00, 10, 200),
        (0.20, 0.10, 0.02, 20, 500),
        (0.03, 0.02, 0.01, 20, 500),
        (0.02, 0.03, 0.00, 100, 3000),
        (0.40, 0.10, 0.10, 50, 1000),
        (0.85, 0.05, 0.00, 30, 300),
    ],
)
def test_two_level_interval_covers_the_exact_probability(
    both, only_exact, only_cheap, pairs, further
):
    """At least 93 % of 95 % intervals hold the truth, for few pairs and rare events too."""
    generator = np.random.default_rng(0)
    truth, covered, values = both + only_exact, 0, []
    repeats = 400
    for _ in range(repeats):
        exact, cheap = draw(generator, both, only_exact, only_cheap, pairs, further)
        estimate = multilevel([cheap, exact])
        covered += estimate.low <= truth <= estimate.high
        values.append(estimate.value)
    # Three standard errors of the coverage below 0.95 is 0.917.
    assert covered / repeats >= 0.93
    spread = np.std(values) / np.sqrt(repeats)
    assert abs(np.mean(values) - truth) < 4 * spread + 0.01


@pytest.mark.parametrize(("both", "only_exact", "only_cheap", "pairs"), [(0.5, 0.1, 0.1, 12)])
def test_pairs_that_disagree_often_give_the_exact_models_own(both, only_exact, only_cheap, pairs):
    generator, truth = np.random.default_rng(5), both + only_exact
    widths, own, covered, repeats = [], [], 0, 400
    for _ in range(repeats):
        exact, cheap = draw(generator, both, only_exact, only_cheap, pairs, 1000)
        estimate = multilevel([cheap, exact])
        alone = wilson(int(exact.sum()), pairs)
        if estimate.alone:
            assert estimate.interval == alone.interval
        widths.append(estimate.high - estimate.low)
        own.append(alone.high - alone.low)
        covered += estimate.low <= truth <= estimate.high
    assert np.mean(widths) <= np.mean(own)
    assert covered / repeats >= 0.93


@pytest.mark.physics
@pytest.mark.parametrize(
    ("counts", "surfaces"), [((800, 200, 40), None), ((800, 200, 200), None), ((900, 300, 90), 300)]
)
def test_three_levels_cover_the_exact_probability_without_bias(counts, surfaces):
    """Levels differ by a tenth and a twentieth; outcomes of one surface are alike."""
    generator, repeats = np.random.default_rng(8), 400
    covered, values, truth = 0, [], 0.3 + 0.7 * 0.1 + 0.63 * 0.05
    cases = counts[0]
    for _ in range(repeats):
        surface = np.arange(cases) % (surfaces or cases)
        chances = generator.beta(3.0, 7.0, surface.max() + 1)[surface]
        levels = [generator.random(cases) < chances]
        for differ in (0.1, 0.05):
            levels.append(levels[-1] | (generator.random(cases) < differ))
        estimate = multilevel(
            [level[:count] for level, count in zip(levels, counts, strict=True)],
            clusters=None if surfaces is None else surface,
        )
        covered += estimate.low <= truth <= estimate.high
        values.append(estimate.value)
    assert covered / repeats >= 0.93
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(repeats)


def test_a_level_without_further_outcomes_is_passed_over():
    generator = np.random.default_rng(2)
    exact, cheap = draw(generator, 0.29, 0.01, 0.01, 100, 2000)
    middle = generator.random(100) < 0.5
    estimate = multilevel([cheap, exact])
    assert not estimate.alone
    assert multilevel([cheap, middle, exact]) == estimate
    assert multilevel([cheap, cheap, exact]) == estimate


def test_more_levels_are_narrower_where_neighbours_agree():
    generator = np.random.default_rng(3)
    student = generator.random(4000) < 0.3
    teacher = student[:1000] ^ (generator.random(1000) < 0.1)
    reference = teacher[:80] ^ (generator.random(80) < 0.01)
    three, two = multilevel([student, teacher, reference]), multilevel([student, reference])
    assert three.high - three.low < 0.8 * (two.high - two.low)


@pytest.mark.physics
@pytest.mark.parametrize(("truth", "pairs"), [(0.01, 12), (0.002, 50), (0.99, 12)])
def test_two_level_of_rare_events_is_unbiased(truth, pairs):
    """Nothing is clipped at 0 or 1, and the choice of the exact model's own has no say in it."""
    generator = np.random.default_rng(6)
    both = truth - 0.2 * min(truth, 1 - truth)
    disagreeing = truth - both
    values = [
        multilevel([cheap, exact]).value
        for exact, cheap in (
            draw(generator, both, disagreeing, disagreeing, pairs, 1000) for _ in range(4000)
        )
    ]
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(len(values))


def test_two_level_is_narrower_than_the_exact_model_alone():
    generator = np.random.default_rng(1)
    exact, cheap = draw(generator, 0.29, 0.01, 0.01, 100, 5000)
    joint, alone = multilevel([cheap, exact]), wilson(int(exact.sum()), 100)
    assert joint.high - joint.low < 0.6 * (alone.high - alone.low)


def test_two_level_without_further_outcomes_is_the_exact_model_alone():
    exact = [True, False, True, False]
    estimate = multilevel([[True, True, True, False], exact])
    assert estimate.alone
    assert estimate.interval == wilson(2, 4).interval


def test_needed_trajectories_give_the_width():
    for p, half in [(0.5, 0.05), (0.1, 0.02), (0.0, 0.05), (0.5, 0.4), (0.0, 0.3)]:
        n = trajectories_needed(p, half)

        def width(n: int, p: float = p) -> float:
            return Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))

        assert width(n) <= half + 1e-6
        assert width(n - 1) > half - 1e-6


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.02, 0.0), (0.1, 0.07)])
def test_needed_pairs_bring_the_whole_interval_within_the_bound(shares):
    def end(n):
        p, q = ((share * n + 1) / (n + 2) for share in shares)
        return p - q + Z * np.sqrt((p + q - (p - q) ** 2) / (n + 2))

    needed = pairs_needed_within(0.05, shares)
    assert end(needed) <= 0.05 < end(needed - 1)
    assert pairs_needed_within(0.05, shares[::-1]) == needed
    assert (needed == pairs_needed(0.05)) is (shares == (0.0, 0.0))


def test_nothing_to_count_is_explained():
    with pytest.raises(UserError, match="at least one trajectory"):
        wilson(0, 0)
    with pytest.raises(UserError, match="pairs of outcomes"):
        paired_difference([True], [])
    with pytest.raises(UserError, match="a cheaper model's for each"):
        multilevel([[True], [True, False]])
    with pytest.raises(UserError, match=r"between 0 and 0\.5"):
        trajectories_needed(0.5, 0.6)
    with pytest.raises(UserError, match=r"between 0 and 0\.5"):
        pairs_needed(0.0)
    with pytest.raises(UserError, match="no number of pairs"):
        pairs_needed_within(0.05, (0.05, 0.0))


def on_surfaces(generator, truth, correlation, surfaces, trajectories):
    """Outcomes on surfaces whose probabilities vary, by the beta-binomial of a correlation."""
    total = 1 / correlation - 1
    chances = generator.beta(truth * total, (1 - truth) * total, surfaces)
    surface = np.arange(trajectories) % surfaces
    return generator.random(trajectories) < chances[surface], surface


@pytest.mark.physics
@pytest.mark.parametrize(
    ("truth", "surfaces", "trajectories"),
    [(0.33, 20, 1200), (0.33, 20, 10000), (0.05, 50, 2000), (0.5, 500, 1000), (0.5, 500, 10000)],
)
def test_intervals_hold_for_trajectories_that_share_surfaces(truth, surfaces, trajectories):
    """A correlation of 0.019, measured on a copper slab: Wilson's interval alone is too narrow."""
    generator, repeats = np.random.default_rng(8), 400
    covered = naive = 0
    for _ in range(repeats):
        outcomes, surface = on_surfaces(generator, truth, 0.019, surfaces, trajectories)
        estimate = proportion(outcomes, clusters=surface)
        covered += estimate.low <= truth <= estimate.high
        plain = wilson(int(outcomes.sum()), trajectories)
        naive += plain.low <= truth <= plain.high
    # Three standard errors below 0.95 is 0.917.
    assert covered / repeats >= 0.925
    if trajectories >= 50 * surfaces:
        assert naive / repeats < covered / repeats - 0.05


@pytest.mark.physics
def test_paired_and_two_level_intervals_hold_on_shared_surfaces():
    generator, repeats, surfaces, pairs = np.random.default_rng(9), 400, 20, 200
    truth, bias = 0.3, 0.04
    held = {"difference": 0, "two-level": 0}
    for _ in range(repeats):
        chances = generator.beta(3.0, 7.0, surfaces)
        surface = np.arange(4000) % surfaces
        u = generator.random(len(surface))
        # The cheap model lacks what some surfaces alone give: the difference varies by surface.
        lost = generator.random(surfaces) < 2 * bias
        exact = u < chances[surface]
        cheap = u < chances[surface] * (1 - 0.5 * lost[surface])
        mean = truth * 0.5 * 2 * bias
        difference = paired_difference(exact[:pairs], cheap[:pairs], clusters=surface[:pairs])
        joint = multilevel([cheap, exact[:pairs]], clusters=surface)
        held["difference"] += difference.low <= mean <= difference.high
        held["two-level"] += joint.low <= truth <= joint.high
    assert min(held.values()) / repeats >= 0.93


def test_a_surface_for_each_trajectory_is_the_plain_interval():
    outcomes = [True, False, False, True, False]
    estimate = proportion(outcomes, clusters=[3, 1, 4, 0, 5])
    assert estimate.interval == pytest.approx(wilson(2, 5).interval, abs=1e-12)
    other = [False, False, True, True, False]
    shared = paired_difference(outcomes, other, clusters=[3, 1, 4, 0, 5])
    assert shared.interval == paired_difference(outcomes, other).interval


def test_one_surface_says_nothing_of_others():
    estimate = proportion([True, False] * 500, clusters=[7] * 1000)
    assert estimate.high - estimate.low > 0.8


def test_the_design_effect_is_kishs():
    """Surfaces on which all or none stick are worth one trajectory each."""
    outcomes, surface = [True] * 10 + [False] * 10 + [True] * 10 + [False] * 10, np.arange(40) // 10
    found = proportion(outcomes, clusters=surface).clustering
    assert found.correlation == pytest.approx(1.0)
    assert found.effective == pytest.approx(4.0)
    alike = proportion([True, False] * 20, clusters=surface).clustering
    assert alike.correlation == 0.0 and alike.effective == 40


def test_more_trajectories_on_few_surfaces_do_not_help_without_end():
    generator = np.random.default_rng(10)
    outcomes, surface = on_surfaces(generator, 0.33, 0.1, 20, 4000)
    estimate = proportion(outcomes, clusters=surface, available=20)
    assert estimate.needed(0.005) is None
    wide = estimate.needed(0.2)
    again, same = on_surfaces(np.random.default_rng(10), 0.33, 0.1, 20, wide)
    half = proportion(again, clusters=same, available=20)
    assert (half.high - half.low) / 2 < 0.25
    assert estimate.clusters_needed(0.005) > 20 * 10
