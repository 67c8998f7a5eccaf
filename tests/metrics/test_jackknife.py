"""The jackknife: what it gives for means, ratios and divergences whose truth is known."""

import numpy as np
import pytest

from distill.metrics.divergence import jensen_shannon_divergence
from distill.metrics.jackknife import jackknife


def test_of_a_mean_it_is_the_standard_error_without_bias():
    data = np.random.default_rng(0).normal(size=(9, 4))
    found = jackknife(lambda mean: mean, data)
    np.testing.assert_allclose(found.value, data.mean(axis=0))
    np.testing.assert_allclose(found.standard_error, data.std(axis=0, ddof=1) / 3)
    np.testing.assert_allclose(found.bias, 0, atol=1e-12)


def test_the_bias_of_a_square_is_the_variance_of_the_mean():
    data = np.random.default_rng(1).normal(size=12)
    found = jackknife(lambda mean: mean**2, data)
    assert found.bias == pytest.approx(data.var(ddof=1) / 12)


def test_blocks_of_two_samples_are_left_out_together():
    generator = np.random.default_rng(2)
    common = generator.normal(size=20)
    first, second = common + 0.01 * generator.normal(size=(2, 20))
    found = jackknife(lambda a, b: a - b, first, second)
    assert found.standard_error == pytest.approx((first - second).std(ddof=1) / np.sqrt(20))


def test_a_single_block_says_nothing_of_the_error():
    found = jackknife(lambda mean: mean, np.ones((1, 3)))
    low, high = found.interval(0.95)
    assert np.all(low == -np.inf) and np.all(high == np.inf)


def test_intervals_of_a_ratio_hold_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        top = generator.normal(2.0, 0.6, size=8)
        bottom = generator.normal(1.0, 0.2, size=8) + 0.2 * (top - 2.0)
        low, high = jackknife(lambda a, b: a / b, top, bottom).interval(0.95)
        held += low <= 2.0 <= high
    assert 0.92 < held / 1000 < 0.97


def histograms(generator, probabilities, blocks, size):
    """Counts of blocks whose values come in clusters of five, as correlated frames do."""
    return np.array([5 * generator.multinomial(size // 5, probabilities) for _ in range(blocks)])


@pytest.fixture
def shapes():
    """Two distributions over 30 bins, and their divergence."""
    bins = np.arange(30)
    first = np.exp(-0.5 * ((bins - 14) / 5.0) ** 2)
    second = np.exp(-0.5 * ((bins - 15.5) / 5.0) ** 2)
    first, second = first / first.sum(), second / second.sum()
    return first, second, float(jensen_shannon_divergence(first, second))


def test_the_noise_floor_of_equal_models_is_half_the_divergence_of_their_halves(shapes):
    first, *_ = shapes
    generator = np.random.default_rng(4)
    floors, halves, found = [], [], []
    for _ in range(100):
        one, other = (histograms(generator, first, 20, 500) for _ in range(2))
        estimate = jackknife(jensen_shannon_divergence, one, other)
        floors.append(estimate.bias)
        found.append(estimate.value)
        halves.append(jensen_shannon_divergence(one[:10].mean(axis=0), one[10:].mean(axis=0)))
    # Means over half as many blocks vary twice as much.
    assert np.mean(floors) == pytest.approx(np.mean(found), rel=0.1)
    assert np.mean(floors) == pytest.approx(np.mean(halves) / 2, rel=0.1)


@pytest.mark.parametrize("same", [True, False])
def test_intervals_of_a_divergence_above_its_floor_hold_the_truth(shapes, same):
    first, second, truth = shapes
    generator = np.random.default_rng(5)
    held, excess = 0, []
    for _ in range(300):
        one = histograms(generator, first, 20, 500)
        other = histograms(generator, first if same else second, 20, 500)
        estimate = jackknife(jensen_shannon_divergence, one, other)
        low, high = estimate.interval(0.95)
        held += low <= (0.0 if same else truth) <= high
        excess.append(estimate.corrected)
    assert held / 300 > 0.92
    scatter = np.std(excess) / np.sqrt(300)
    assert abs(np.mean(excess) - (0.0 if same else truth)) < 4 * scatter
