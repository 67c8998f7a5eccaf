"""Intervals for counted outcomes: proportions, paired differences, multilevel estimates."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
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


@dataclass(frozen=True)
class MultilevelEstimate(Estimate):
    """The exact model's proportion, with the help of cheaper models where that is more certain.

    Attributes
    ----------
    alone
        Whether it is the exact model's own, because the others disagree too often to help.
    """

    alone: bool


@dataclass(frozen=True)
class _Part:
    """A mean that a multilevel estimate adds: its ends, and each case's share of its error."""

    value: float
    below: float
    above: float
    errors: np.ndarray
    cases: slice


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Proportion:
    """A proportion of independent cases with Wilson's score interval (1927).

    Raises
    ------
    UserError
        If there are no trials.
    """
    if trials < 1:
        raise UserError("a proportion needs at least one trajectory that was not set aside")
    return _wilson(successes / trials, independent(trials), confidence)


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
    return _wilson(float(true.mean()), clustering(true, clusters, available), confidence)


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


def multilevel(
    levels: Sequence[Sequence[bool]],
    confidence: float = 0.95,
    *,
    clusters: Sequence[int] | None = None,
) -> MultilevelEstimate:
    """The exact model's proportion from many outcomes of cheap models and few of costly ones.

    Each level has outcomes of the first cases of the level before it. With n cases of a level and
    m of the next costlier one, the value is the mean of the cheapest model's n - m further outcomes
    and, for each other level, the mean difference to the level before it on its own n - m further
    cases: unbiased for the exact proportion whatever the cheaper models do, and so not kept within
    0 and 1 (multilevel Monte Carlo, Giles, Oper. Res. 56, 607 (2008)). A level without further
    cases is passed over. The interval joins the Wilson interval of the first mean and the
    Bonett-Price intervals of the others by the method of variance estimates recovery (Zou and
    Donner, Stat. Med. 27, 1693 (2008)), with the correlation that shared clusters bring (Zou,
    Psychol. Methods 12, 399 (2007)), where it widens. The exact model's own proportion is taken
    where its interval, at the cheapest model's proportion, is no wider: the exact outcomes have no
    say in the choice, which would bias it.

    Parameters
    ----------
    levels
        Outcomes by model, the cheapest first, the exact last.
    confidence
        Of the interval.
    clusters
        What each of the cheapest model's cases starts from; None for independent ones.

    Raises
    ------
    UserError
        If there are no exact outcomes, or fewer of a cheaper model than of the next.
    """
    counts = [len(level) for level in levels]
    if counts[-1] == 0 or sorted(counts, reverse=True) != counts:
        raise UserError(
            "expected outcomes of the exact model, and a cheaper model's for each of a costlier "
            f"one, found {', '.join(map(str, counts))}"
        )
    exact = levels[-1]
    own = proportion(exact, confidence, clusters=_those(clusters, slice(len(exact))))
    alone = MultilevelEstimate(own.value, own.low, own.high, len(exact), alone=True)
    # Levels with further cases, and the exact one.
    used = [a for a, b in pairwise(levels) if len(a) > len(b)] + [exact]
    if len(used) == 1:
        return alone
    parts = []
    for place, level in enumerate(used):
        cases = slice(len(used[place + 1]) if level is not exact else 0, len(level))
        before = used[place - 1] if place else None
        parts.append(_part(level, before, cases, confidence, clusters))
    value = sum(part.value for part in parts)
    below, above = (
        _joint([getattr(part, side) for part in parts], _correlations(parts, clusters))
        for side in ("below", "above")
    )
    joint = MultilevelEstimate(value, value - below, value + above, len(used[0]), alone=False)
    usual = _wilson(parts[0].value, own.clustering, confidence)
    return joint if half_width(joint) < half_width(usual) else alone


def _part(
    level: Sequence[bool],
    before: Sequence[bool] | None,
    cases: slice,
    confidence: float,
    clusters: Sequence[int] | None,
) -> _Part:
    """The mean of a level over some cases, or of its difference to the level before it."""
    shared = _those(clusters, cases)
    outcomes = np.asarray(level[cases], dtype=float)
    mean: Estimate
    if before is None:
        mean = proportion(level[cases], confidence, clusters=shared)
    else:
        mean = paired_difference(level[cases], before[cases], confidence, clusters=shared)
        outcomes = outcomes - np.asarray(before[cases], dtype=float)
    errors = (outcomes - outcomes.mean()) / len(outcomes)
    return _Part(mean.value, mean.value - mean.low, mean.high - mean.value, errors, cases)


def _those(clusters: Sequence[int] | None, cases: slice) -> Sequence[int] | None:
    return None if clusters is None else clusters[cases]


def _joint(widths: Sequence[float], correlations: np.ndarray) -> float:
    return float(np.sqrt(np.asarray(widths) @ correlations @ np.asarray(widths)))


def _correlations(parts: Sequence[_Part], clusters: Sequence[int] | None) -> np.ndarray:
    """Of the parts through the clusters that their cases share; those that narrow count as 0."""
    if clusters is None:
        return np.eye(len(parts))
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.array(
        [np.bincount(place[part.cases], part.errors, int(place.max()) + 1) for part in parts]
    )
    norms = np.linalg.norm(sums, axis=1)
    products = np.divide(
        sums @ sums.T,
        np.outer(norms, norms),
        out=np.zeros((len(parts), len(parts))),
        where=np.outer(norms, norms) > 0,
    )
    return np.maximum(products, np.eye(len(parts)))


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


def _wilson(value: float, of: Clustering, confidence: float) -> Proportion:
    n, z = of.effective, of.quantile(confidence)
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2)))
    # At 0 and 1 an end is the value itself, but for rounding.
    low, high = min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value)
    return Proportion(value, low, high, of.samples, confidence, of)


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
