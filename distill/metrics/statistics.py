"""Intervals for counted outcomes: proportions and paired differences."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from distill.core.errors import UserError
from distill.metrics.clusters import Clustering, clustering, independent

# Where a search for a number of trajectories ends: more than anyone can run.
_MOST = 10**15


@dataclass(frozen=True)
class Estimate:
    """A number with a confidence interval.

    Attributes
    ----------
    value
        The estimate.
    low, high
        Ends of the interval.
    samples
        Number of samples behind it.
    """

    value: float
    low: float
    high: float
    samples: int

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the interval."""
        return self.low, self.high


@dataclass(frozen=True)
class Proportion(Estimate):
    """A proportion with Wilson's interval.

    Attributes
    ----------
    confidence
        Of the interval.
    clustering
        Of the cases, by what they share.
    """

    confidence: float
    clustering: Clustering

    def needed(self, half_width: float) -> int | None:
        """Cases after which the same proportion is known to ± `half_width`; None if never is."""
        return self.clustering.samples_worth(self._independent(half_width))

    def clusters_needed(self, half_width: float) -> int:
        """Clusters of which enough cases give ± `half_width`."""
        return self.clustering.clusters_for(self._independent(half_width))

    def _independent(self, half_width: float) -> int:
        return _least_wilson(self.value, half_width, self.clustering, self.confidence)


@dataclass(frozen=True)
class PairedDifference(Estimate):
    """A difference of two proportions on the same cases, with Bonett and Price's interval.

    Attributes
    ----------
    only_first, only_second
        Pairs of which only the first, or only the second, is true.
    confidence
        Of the interval.
    clustering
        Of the pairs, by what they share.
    """

    only_first: int
    only_second: int
    confidence: float
    clustering: Clustering

    @property
    def shares(self) -> tuple[float, float]:
        """Of the pairs of which only the first, and only the second, is true."""
        return self.only_first / self.samples, self.only_second / self.samples

    def needed(self, half_width: float) -> int | None:
        """Pairs after which the same disagreement is known to ± `half_width`; None if never is."""
        return self.clustering.samples_worth(self._independent(half_width))

    def clusters_needed(self, half_width: float) -> int:
        """Clusters of which enough pairs give ± `half_width`."""
        return self.clustering.clusters_for(self._independent(half_width))

    def _independent(self, half_width: float) -> int:
        usual = pairs_needed(half_width, self.confidence, self.shares)
        if usual <= self.clustering.available:
            return usual
        z = self.clustering.quantile_of_all(self.confidence)
        return _least(lambda n: _paired_width(self.shares, n, z) <= 2 * half_width)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Proportion:
    """A proportion of independent cases with Wilson's score interval (1927).

    Raises
    ------
    UserError
        If there are no trials.
    """
    if trials < 1:
        raise UserError("a proportion needs at least one trajectory that was not set aside")
    return wilson_of(successes / trials, independent(trials), confidence)


def wilson_of(value: float, of: Clustering, confidence: float) -> Proportion:
    """A proportion of cases that lie in clusters, with Wilson's interval of their effective number.

    The quantile is Student's for the number of clusters; see `proportion`.
    """
    n, z = of.effective, of.quantile(confidence)
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2)))
    # At 0 and 1 an end is the value itself, but for rounding.
    low, high = min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value)
    return Proportion(value, low, high, of.samples, confidence, of)


def proportion(
    outcomes: Sequence[bool] | np.ndarray,
    confidence: float = 0.95,
    *,
    clusters: Sequence[int] | None = None,
    available: int | None = None,
) -> Proportion:
    """A proportion with Wilson's interval, of cases that may share what they start from.

    The interval is that of the effective number of cases, with Student's quantile for the number of
    clusters (Korn & Graubard, Surv. Methodol. 24, 193 (1998), for Wilson's interval in place of
    Clopper and Pearson's: Franco et al., J. Surv. Stat. Methodol. 7, 334 (2019)).

    Parameters
    ----------
    outcomes
        Of the cases.
    confidence
        Of the interval.
    clusters, available
        What each case starts from, and how many of these there are; see `clustering`.

    Raises
    ------
    UserError
        If there are no cases.
    """
    if len(outcomes) == 0:
        return wilson(0, 0)
    true = np.asarray(outcomes, dtype=bool)
    return wilson_of(float(true.mean()), clustering(true, clusters, available), confidence)


def paired_difference(
    first: Sequence[bool],
    second: Sequence[bool],
    confidence: float = 0.95,
    *,
    clusters: Sequence[int] | None = None,
    available: int | None = None,
) -> PairedDifference:
    """Difference of two proportions observed on the same cases, `first` minus `second`.

    The value is the observed difference; the interval is the adjusted Wald interval of Bonett and
    Price, J. Educ. Behav. Stat. 37, 479 (2012), which adds one case to each discordant count and
    keeps its coverage for few cases and for no discordant pair at all. Of cases that share what
    they start from it is that of their effective number, as in `proportion`.

    Raises
    ------
    UserError
        If there are no pairs or the lengths differ.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if len(a) != len(b) or len(a) == 0:
        raise UserError(f"expected pairs of outcomes, found {len(a)} and {len(b)}")
    n = len(a)
    only_first, only_second = int(np.sum(a & ~b)), int(np.sum(~a & b))
    of_pairs = clustering(a.astype(int) - b, clusters, available)
    effect, z = of_pairs.design_effect, of_pairs.quantile(confidence)
    low, high = paired_interval(only_first / effect, only_second / effect, n / effect, z)
    value = (only_first - only_second) / n
    return PairedDifference(value, low, high, n, only_first, only_second, confidence, of_pairs)


def trajectories_needed(probability: float, half_width: float, confidence: float = 0.95) -> int:
    """Trajectories after which a Wilson interval around a probability is ± `half_width` wide.

    Raises
    ------
    UserError
        If the width is not between 0 and 0.5.
    """
    _check_half_width(half_width)
    return _wilson_needed(probability, half_width, _quantile(confidence))


def pairs_needed(
    half_width: float, confidence: float = 0.95, shares: tuple[float, float] = (0.0, 0.0)
) -> int:
    """Pairs after which the interval of a paired difference is ± `half_width` wide.

    Parameters
    ----------
    half_width
        Half the width asked for.
    confidence
        Of the interval.
    shares
        Of the pairs of which only the first, and only the second, is true; none disagrees unless
        given.

    Raises
    ------
    UserError
        If the width is not between 0 and 0.5.
    """
    _check_half_width(half_width)

    z = _quantile(confidence)
    return _least(lambda pairs: _paired_width(shares, pairs, z) <= 2 * half_width)


def pairs_needed_within(bound: float, shares: tuple[float, float], confidence: float = 0.95) -> int:
    """Pairs after which the whole interval of a paired difference lies within ± `bound`.

    Parameters
    ----------
    bound
        More than the difference of the shares.
    shares
        Of the pairs of which only the first, and only the second, is true.
    confidence
        Of the interval.

    Raises
    ------
    UserError
        If the difference itself is not within the bound.
    """
    if not abs(shares[0] - shares[1]) < bound:
        raise UserError(f"no number of pairs brings the shares {shares} within ±{bound:g}")

    z = _quantile(confidence)

    def within(pairs: int) -> bool:
        low, high = paired_interval(shares[0] * pairs, shares[1] * pairs, pairs, z)
        return -bound <= low and high <= bound

    return _least(within)


def percentile_interval(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends of the middle part of samples, as large as the confidence: of a bootstrap, or a chain.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    tail = 50 * (1 - confidence)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def half_width(estimate: Estimate) -> float:
    """Half the width of an interval."""
    return (estimate.high - estimate.low) / 2


def _least_wilson(value: float, width: float, of: Clustering, confidence: float) -> int:
    usual = trajectories_needed(value, width, confidence)
    if usual <= of.available:
        return usual
    return _wilson_needed(value, width, of.quantile_of_all(confidence))


def _wilson_needed(value: float, width: float, z: float) -> int:
    """Wilson's half width z/(1 + z²/n) · sqrt(p q / n + z²/4n²), solved for n."""
    z2, w2 = z**2, width**2
    b = z2 * (value * (1 - value) - 2 * w2)
    return int(np.ceil((b + np.sqrt(b**2 + z2**2 * w2 * (1 - 4 * w2))) / (2 * w2)))


def _paired_width(shares: tuple[float, float], pairs: int, z: float) -> float:
    low, high = paired_interval(shares[0] * pairs, shares[1] * pairs, pairs, z)
    return high - low


def paired_interval(
    only_first: float, only_second: float, pairs: float, z: float
) -> tuple[float, float]:
    """Bonett and Price's interval at a quantile; the counts need not be whole."""
    p, q = (only_first + 1) / (pairs + 2), (only_second + 1) / (pairs + 2)
    half = z * float(np.sqrt((p + q - (p - q) ** 2) / (pairs + 2)))
    return max(p - q - half, -1.0), min(p - q + half, 1.0)


def _least(enough: Callable[[int], bool]) -> int:
    """The least number from 1 to `_MOST` that is enough, as all larger ones are."""
    return 1 + bisect_left(range(1, _MOST), True, key=enough)


def _check_half_width(half_width: float) -> None:
    if not 0 < half_width < 0.5:
        raise UserError(f"half width {half_width} of a probability: expected between 0 and 0.5")


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
