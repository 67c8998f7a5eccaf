"""A costly model's proportion from many outcomes of cheaper ones and few of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from distill.core.errors import UserError
from distill.metrics.statistics import (
    Estimate,
    half_width,
    paired_difference,
    proportion,
    wilson_of,
)


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
    correlations = _correlations(parts, clusters)
    below = _joint([part.below for part in parts], correlations)
    above = _joint([part.above for part in parts], correlations)
    joint = MultilevelEstimate(value, value - below, value + above, len(used[0]), alone=False)
    usual = wilson_of(parts[0].value, own.clustering, confidence)
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
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    directions = sums / np.where(norms > 0, norms, 1.0)
    return np.maximum(directions @ directions.T, np.eye(len(parts)))
