"""Correlated series: the inefficiency of a known process, blocks, and coverage from blocks."""

import numpy as np
import pytest

from distill.metrics.autocorrelation import block_length, block_means, statistical_inefficiency
from distill.metrics.jackknife import jackknife


def autoregressive(generator, kept, shape):
    """x' = kept x + noise with unit variance, along axis 1; 1 + 2 Σ ρ = (1 + kept)/(1 − kept)."""
    values = np.empty(shape)
    values[:, 0] = generator.normal(size=values[:, 0].shape)
    for k in range(1, shape[1]):
        noise = generator.normal(size=values[:, 0].shape)
        values[:, k] = kept * values[:, k - 1] + np.sqrt(1 - kept**2) * noise
    return values


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_it_is_that_of_the_process(kept):
    series = autoregressive(np.random.default_rng(0), kept, (4, 20_000))
    assert statistical_inefficiency(series) == pytest.approx((1 + kept) / (1 - kept), rel=0.1)


def test_constant_and_oscillating_series_count_as_independent():
    series = np.zeros((2, 500, 2))
    series[..., 0] = 0.1
    series[..., 1] = np.cos(np.pi * np.arange(500))
    np.testing.assert_array_equal(statistical_inefficiency(series), [1, 1])


def test_runs_that_stay_apart_are_blocks_as_a_whole():
    generator = np.random.default_rng(1)
    series = generator.normal(size=(4, 300)) + 10 * generator.normal(size=(4, 1))
    assert block_length(series) == 300


def test_the_slowest_series_decides():
    generator = np.random.default_rng(2)
    fast, slow = (autoregressive(generator, kept, (3, 5000)) for kept in (0.0, 0.9))
    assert block_length(np.stack([fast, slow], axis=-1)) == block_length(slow)


def test_blocks_are_equal_and_lie_inside_a_run():
    series = np.arange(14.0).reshape(2, 7)
    np.testing.assert_array_equal(block_means(series, 3), [2, 5, 9, 12])
    np.testing.assert_array_equal(block_means(series, 7), [3, 10])


@pytest.mark.physics
@pytest.mark.parametrize("kept", [0.0, 0.9])
def test_intervals_from_blocks_of_correlated_runs_hold_the_truth(kept):
    generator = np.random.default_rng(3)
    many = autoregressive(generator, kept, (1200, 1000)).reshape(300, 4, 1000)
    held = 0
    for series in many:
        blocks = block_means(series, block_length(series))
        low, high = jackknife(lambda mean: mean, blocks).interval(0.95)
        held += low <= 0 <= high
    assert 0.91 < held / 300 < 0.98
