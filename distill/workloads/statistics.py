"""Intervals for counted outcomes: proportions, paired differences, two-level estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from distill.errors import UserError


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


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
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
    return Estimate(successes / trials, float(interval.low), float(interval.high), trials)


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> Estimate:
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
    p, q = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = _quantile(confidence) * float(np.sqrt((p + q - (p - q) ** 2) / (n + 2)))
    return Estimate(
        (only_first - only_second) / n, max(p - q - half, -1.0), min(p - q + half, 1.0), n
    )


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


def pairs_needed(half_width: float, confidence: float = 0.95) -> int:
    """Pairs after which a paired difference is ± `half_width` where no pair disagrees.

    Bonett and Price's half width is then z sqrt(2 / (n + 2)) / sqrt(n + 2).

    Raises
    ------
    UserError
        If the width is not between 0 and 0.5.
    """
    _check_half_width(half_width)
    return max(int(np.ceil(np.sqrt(2) * _quantile(confidence) / half_width)) - 2, 1)


def half_width(estimate: Estimate) -> float:
    """Half the width of an interval."""
    return (estimate.high - estimate.low) / 2


def _check_half_width(half_width: float) -> None:
    if not 0 < half_width < 0.5:
        raise UserError(f"half width {half_width} of a probability: expected between 0 and 0.5")


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
