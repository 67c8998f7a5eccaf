"""How much must be measured so that what is right passes its checks.

A check passes if its whole interval lies within a bound. Where several checks must all pass, each
has to pass a right model far more often than all of them together.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import NormalDist

from distill.metrics.statistics import paired_interval

# Where a search for a number of pairs ends.
_MOST_PAIRS = 1_000_000
# Discordant pairs further from their mean than so many standard deviations are left out.
_REACH = 8.0


def chance_each(all_of_them: float, checks: int) -> float:
    """Chance of each of several independent checks at which all pass with a chance."""
    return all_of_them ** (1 / max(checks, 1))


def chance_of_pairs(pairs: int, disagree: float, bound: float, confidence: float = 0.95) -> float:
    """Chance that the paired difference of two equally good models lies within a bound.

    Pairs disagree either way alike; their number is binomial, and so is its part of the first. The
    interval is Bonett and Price's, as of `paired_difference`.

    Parameters
    ----------
    pairs
        Their number.
    disagree
        Share of pairs that disagree.
    bound
        The interval has to lie within ± it.
    confidence
        Of the interval.
    """
    from scipy.stats import binom

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre, deviation = pairs * disagree, math.sqrt(pairs * disagree * (1 - disagree))
    first = max(math.floor(centre - _REACH * deviation), 0)
    last = min(math.ceil(centre + _REACH * deviation), pairs)
    chance = 0.0
    for count in range(first, last + 1):
        # The interval moves away from 0 with the difference: find the largest that still passes.
        def outside(difference: int, count: int = count) -> bool:
            half = (count - difference) / 2
            low, high = paired_interval(half + difference, half, pairs, z)
            return high > bound or low < -bound

        passing = bisect_left(range(count + 1), True, key=outside) - 1
        if passing < 0:
            continue
        fewest, most = math.ceil((count - passing) / 2), (count + passing) // 2
        within = binom.cdf(most, count, 0.5) - binom.cdf(fewest - 1, count, 0.5)
        chance += float(binom.pmf(count, pairs, disagree) * within)
    return chance


def pairs_to_pass(
    disagree: float, bound: float, chance: float, confidence: float = 0.95
) -> int | None:
    """Pairs at which two equally good models pass with a chance; None beyond a million."""

    def enough(pairs: int) -> bool:
        return chance_of_pairs(pairs, disagree, bound, confidence) >= chance

    pairs = 16
    while not enough(pairs):
        pairs *= 2
        if pairs > _MOST_PAIRS:
            return None
    return pairs // 2 + bisect_left(range(pairs // 2, pairs), True, key=enough)


def deviation_to_pass(bound: float, chance: float, confidence: float = 0.95) -> float:
    """Standard error at which a normal difference that is zero passes a bound with a chance."""
    normal = NormalDist()
    return bound / (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf((1 + chance) / 2))
