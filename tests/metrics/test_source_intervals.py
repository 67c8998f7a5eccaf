"""Intervals of root mean square errors: sources count, frames do not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from distill.metrics.errors import error_table
from distill.metrics.source_intervals import FEWEST_SOURCES, rms_interval


def labelled(forces, **info):
    atoms = Atoms("Cu4", positions=np.arange(12.0).reshape(4, 3), info=dict(info))
    atoms.arrays["REF_forces"] = np.asarray(forces, dtype=float)
    return atoms


def trajectories(count, frames, rng, scatter=0.3):
    """Sums of squares of unit variance whose size is each trajectory's own; their frames' sources.

    The mean square over all trajectories is 1.
    """
    sizes = np.exp(scatter * rng.normal(size=count) - scatter**2)
    sources = np.repeat(np.arange(count), frames)
    return (sizes**2)[sources] * rng.chisquare(12, size=len(sources)), sources


@pytest.mark.parametrize("count", [4, 8, 30])
def test_intervals_cover_the_true_error_however_many_frames_a_trajectory_has(count):
    rng = np.random.default_rng(count)
    runs, covered = 400, 0
    for _ in range(runs):
        squared, sources = trajectories(count, 20, rng)
        found = rms_interval(squared, np.full(len(squared), 12.0), sources, 0.95)
        # Without an upper end there is no interval, and nothing passes.
        covered += found is None or found[0] <= 1.0 <= found[1]
    assert 0.92 <= covered / runs <= 0.98


def test_frames_that_repeat_those_of_their_trajectory_narrow_nothing():
    squared, sources = trajectories(9, 3, np.random.default_rng(1))
    counts = np.full(len(squared), 12.0)
    once = rms_interval(squared, counts, sources, 0.95)
    thrice = rms_interval(np.tile(squared, 3), np.tile(counts, 3), np.tile(sources, 3), 0.95)
    assert thrice == pytest.approx(once)
    frames = rms_interval(squared, counts, np.arange(len(squared)), 0.95)
    assert frames[1] - frames[0] < once[1] - once[0]


def test_a_higher_confidence_is_wider():
    squared, sources = trajectories(9, 3, np.random.default_rng(1))
    counts = np.full(len(squared), 12.0)
    (a, b), (c, d) = (rms_interval(squared, counts, sources, level) for level in (0.8, 0.95))
    assert c < a < b < d


def test_too_few_sources_give_no_interval():
    squared, counts = np.ones(12), np.ones(12)
    for number in (1, FEWEST_SOURCES - 1):
        assert rms_interval(squared, counts, np.arange(12) % number, 0.95) is None
    assert rms_interval(squared, counts, np.arange(12) % FEWEST_SOURCES, 0.95) is not None


def test_structures_without_the_quantity_are_no_sources():
    counts = np.array([1.0, 1, 1, 0, 0])
    assert rms_interval(np.array([1.0, 2, 3, 0, 0]), counts, np.arange(5), 0.95) is None


@pytest.mark.parametrize("squared", [[1.0, 0, 0, 0, 0], [1, 1, 1, 1, np.nan], [1, 1, 1, 1, np.inf]])
def test_what_says_nothing_of_its_scatter_has_no_interval(squared):
    assert rms_interval(np.array(squared, dtype=float), np.ones(5), np.arange(5), 0.95) is None


def test_no_error_at_all_is_known():
    assert rms_interval(np.zeros(5), np.ones(5), np.arange(5), 0.95) == (0.0, 0.0)


def test_a_table_takes_its_sources_from_the_reference():
    rng = np.random.default_rng(2)
    names = [f"run {index // 5}" for index in range(30)]
    reference = [labelled(np.zeros((4, 3)), trajectory=name) for name in names]
    predicted = [labelled(rng.normal(size=(4, 3))) for _ in names]
    errors = error_table(reference, predicted).forces
    assert (errors.structures, errors.sources) == (30, 6)
    alone = [labelled(np.zeros((4, 3))) for _ in names]
    frames = error_table(alone, predicted).forces
    assert frames.sources == 30
    assert frames.rmse == errors.rmse and frames.rmse_interval != errors.rmse_interval
