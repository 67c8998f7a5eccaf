"""Intervals for counted outcomes: proportions, paired differences, two-level estimates."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from distill.core.errors import UserError

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
    """

    confidence: float

    def needed(self, half_width: float) -> int:
        """Trajectories after which the same proportion is known to ± `half_width`."""
        return trajectories_needed(self.value, half_width, self.confidence)


@dataclass(frozen=True)
class PairedDifference(Estimate):
    """A difference of two proportions on the same cases, with Bonett and Price's interval.

    Attributes
    ----------
    only_first, only_second
        Pairs of which only the first, or only the second, is true.
    confidence
        Of the interval.
    """

    only_first: int
    only_second: int
    confidence: float

    def needed(self, half_width: float) -> int:
        """Pairs after which the same shares of disagreement are known to ± `half_width`."""
        shares = self.only_first / self.samples, self.only_second / self.samples
        return pairs_needed(half_width, self.confidence, shares)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Proportion:
    """A proportion with Wilson's score interval (1927), as scipy computes it.

    Raises
    ------
    UserError
        If there are no trials.
    """
    from scipy.stats import binomtest

    if trials < 1:
        raise UserError("a proportion needs at least one trajectory that was not set aside")
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    low, high = float(interval.low), float(interval.high)
    return Proportion(successes / trials, low, high, trials, confidence)


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> PairedDifference:
    """Difference of two proportions observed on the same cases, `first` minus `second`.

    The value is the observed difference; the interval is the adjusted Wald interval of Bonett and
    Price, J. Educ. Behav. Stat. 37, 479 (2012), which adds one case to each discordant count and
    keeps its coverage for few cases and for no discordant pair at all.

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
    low, high = _paired_interval(only_first, only_second, n, confidence)
    value = (only_first - only_second) / n
    return PairedDifference(value, low, high, n, only_first, only_second, confidence)


def two_level(
    cheap: Sequence[bool],
    exact: Sequence[bool],
    confidence: float = 0.95,
) -> Estimate:
    """The exact model's proportion from many cheap outcomes and few pairs.

    The first `len(exact)` cheap outcomes are paired with the exact ones. With n pairs and N further
    cheap outcomes, independent of the pairs, the value is mean(cheap, N) + mean(exact - cheap, n):
    unbiased for the exact proportion whatever the cheap model does (two-level Monte Carlo, Giles,
    Oper. Res. 56, 607 (2008)). The interval joins the Wilson interval of the first mean and the
    Bonett-Price interval of the second by the method of variance estimates recovery (Zou and
    Donner, Stat. Med. 27, 1693 (2008)), within [0, 1]. Without further cheap outcomes the estimate
    is the exact model's own, with its Wilson interval.

    Parameters
    ----------
    cheap
        Outcomes of the cheap model, paired ones first.
    exact
        Outcomes of the exact model.

    Raises
    ------
    UserError
        If there are no exact outcomes, or fewer cheap ones.
    """
    n = len(exact)
    if n == 0 or len(cheap) < n:
        raise UserError(f"expected a cheap outcome for each exact one, found {len(cheap)} and {n}")
    further = np.asarray(cheap[n:], dtype=bool)
    alone = wilson(int(np.sum(exact)), n, confidence)
    if len(further) == 0:
        return alone
    base = wilson(int(further.sum()), len(further), confidence)
    correction = paired_difference(exact, cheap[:n], confidence)
    value = base.value + correction.value
    below = np.hypot(base.value - base.low, correction.value - correction.low)
    above = np.hypot(base.high - base.value, correction.high - correction.value)
    low, high = max(value - below, 0.0), min(value + above, 1.0)
    return Estimate(float(np.clip(value, 0.0, 1.0)), float(low), float(high), len(cheap))


def trajectories_needed(probability: float, half_width: float, confidence: float = 0.95) -> int:
    """Trajectories after which a Wilson interval around a probability is ± `half_width` wide.

    Raises
    ------
    UserError
        If the width is not between 0 and 0.5.
    """
    _check_half_width(half_width)
    z2 = _quantile(confidence) ** 2
    w2 = half_width**2
    # Wilson's half width z/(1 + z²/n) · sqrt(p q / n + z²/4n²), solved for n.
    spread = probability * (1 - probability)
    b = z2 * (spread - 2 * w2)
    return int(np.ceil((b + np.sqrt(b**2 + z2**2 * w2 * (1 - 4 * w2))) / (2 * w2)))


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

    def narrow(pairs: int) -> bool:
        low, high = _paired_interval(shares[0] * pairs, shares[1] * pairs, pairs, confidence)
        return high - low <= 2 * half_width

    return _least(narrow)


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

    def within(pairs: int) -> bool:
        low, high = _paired_interval(shares[0] * pairs, shares[1] * pairs, pairs, confidence)
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


def _paired_interval(
    only_first: float, only_second: float, pairs: int, confidence: float
) -> tuple[float, float]:
    """Bonett and Price's interval; the counts need not be whole."""
    p, q = (only_first + 1) / (pairs + 2), (only_second + 1) / (pairs + 2)
    half = _quantile(confidence) * float(np.sqrt((p + q - (p - q) ** 2) / (pairs + 2)))
    return max(p - q - half, -1.0), min(p - q + half, 1.0)


def _least(enough: Callable[[int], bool]) -> int:
    """The least number from 1 to `_MOST` that is enough, as all larger ones are."""
    return 1 + bisect_left(range(1, _MOST), True, key=enough)


def _check_half_width(half_width: float) -> None:
    if not 0 < half_width < 0.5:
        raise UserError(f"half width {half_width} of a probability: expected between 0 and 0.5")


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
