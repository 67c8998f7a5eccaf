"""Divergences of distributions at their ends and against SciPy."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from distill.metrics.divergence import bhattacharyya_overlap, jensen_shannon_divergence


def test_equal_distributions_do_not_differ_whatever_their_counts():
    counts = np.array([1.0, 0.0, 3.0])
    assert jensen_shannon_divergence(counts, 7 * counts) == pytest.approx(0, abs=1e-15)
    assert bhattacharyya_overlap(counts, 7 * counts) == pytest.approx(1)


def test_disjoint_distributions_are_one_bit_apart():
    assert jensen_shannon_divergence([1, 0], [0, 5]) == pytest.approx(1)
    assert bhattacharyya_overlap([1, 0], [0, 5]) == 0


def test_it_is_the_square_of_the_distance_in_scipy_along_the_last_axis():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 4, 20))
    first[:, 3] = 0
    np.testing.assert_allclose(
        jensen_shannon_divergence(first, second),
        jensenshannon(first, second, base=2, axis=1) ** 2,
    )


def test_empty_histograms_are_equal_to_each_other_and_disjoint_from_others():
    assert jensen_shannon_divergence(np.zeros(3), np.zeros(3)) == 0
    assert jensen_shannon_divergence(np.zeros(3), np.ones(3)) == 1
