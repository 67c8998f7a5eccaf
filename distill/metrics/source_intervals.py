"""Intervals of root mean square errors whose structures are not independent of one another.

Frames of one trajectory err together, so what counts is how the sources (trajectories, paths,
single calculations) differ, never how the frames do.
"""

from __future__ import annotations

import numpy as np

from distill.core.results import Interval

# Sources that carry a number; with fewer their scatter says next to nothing.
FEWEST_SOURCES = 4


def rms_interval(
    squared: np.ndarray, count: np.ndarray, sources: np.ndarray, confidence: float
) -> Interval | None:
    """Interval of a root mean square by leaving out one source at a time.

    What is jackknifed is m^(-1/4) of the mean square m, whose distribution is nearly symmetric
    where sources err by different amounts. Student's interval is taken with the degrees of freedom
    that the sources have: at most (Σ s)² / Σ s² - 1 with s a source's sum of squares, as few
    sources may make most of the error, and at most 2 n / (k - (n - 3) / (n - 1)) with k the
    kurtosis of the jackknife's n values, which tells how well the variance itself is known.
    Sources: Tukey, Ann. Math. Stat. 29, 614 (1958), for the jackknife; Kish, Survey Sampling
    (1965), ch. 8, and Satterthwaite, Biometrics Bull. 2, 110 (1946), for the two. How often it
    covers the truth is measured by `benchmarks/interval_coverage.py`.

    Parameters
    ----------
    squared, count
        Sum of squares and number of values of each structure, shape (n,); structures without a
        value count for nothing.
    sources
        Which source each structure is from, as whole numbers from 0, shape (n,).
    confidence
        Of the interval.

    Returns
    -------
    (float, float) or None
        None with fewer than `FEWEST_SOURCES` sources, or where they allow no upper end: one of them
        makes nearly all of the error.
    """
    from scipy.stats import t

    sums, counts = (np.bincount(sources, weights=values) for values in (squared, count))
    sums, counts = sums[counts > 0], counts[counts > 0]
    number = len(sums)
    total, values = sums.sum(), counts.sum()
    # Not a number where an error is none.
    if number < FEWEST_SOURCES or not np.isfinite(total):
        return None
    if total == 0:
        return 0.0, 0.0
    mean = total / values
    without = (total - sums) / (values - counts) / mean
    if not without.min() > 0:
        return None
    moved = 4 * (1 - without**-0.25)
    squares = (moved - moved.mean()) ** 2
    spread = squares.mean()
    freedom = total**2 / np.sum(sums**2) - 1
    if spread > 0:
        excess = np.mean(squares**2) / spread**2 - (number - 3) / (number - 1)
        freedom = min(freedom, 2 * number / excess) if excess > 0 else freedom
    centre = -(number - 1) * moved.mean()
    half = t.ppf((1 + confidence) / 2, max(freedom, 1.0)) * np.sqrt((number - 1) * spread)
    # At the mean square itself the transformed value is 0.
    low, high = (1 - end / 4 for end in (min(centre - half, 0.0), max(centre + half, 0.0)))
    if not high > 0:
        return None
    return float(np.sqrt(mean * low**-4)), float(np.sqrt(mean * high**-4))
