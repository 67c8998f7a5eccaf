"""How many samples of each level, cheap and costly, an estimate of several levels should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One level of an estimate that adds differences to a cheap mean.

    Attributes
    ----------
    variance
        Of one sample: of the cheapest model's value, or of a difference between two models.
    cost
        Of one sample, in any unit, such as seconds.
    """

    variance: float
    cost: float


@dataclass(frozen=True)
class Allocation:
    """Samples of each level, and what they give.

    Attributes
    ----------
    samples
        By level.
    standard_error
        Of the sum of the levels' means.
    cost
        Of all samples.
    """

    samples: tuple[int, ...]
    standard_error: float
    cost: float


def allocation(
    levels: Sequence[Level], *, standard_error: float | None = None, cost: float | None = None
) -> Allocation:
    """Samples of each level that cost least for a standard error, or err least at a cost.

    Their numbers are as the root of variance over cost (Giles, Oper. Res. 56, 607 (2008)), two at
    least, so that each level has a variance.

    Parameters
    ----------
    levels
        Independent of each other.
    standard_error, cost
        One of them: what is wanted, or what may be spent.

    Raises
    ------
    UserError
        If both or none is given, a variance is negative, a cost is not positive, or the cost does
        not buy two samples of each level.
    """
    if (standard_error is None) == (cost is None):
        raise UserError("allocation: expected either a standard error or a cost")
    wanted = standard_error if standard_error is not None else cost
    if any(not (level.variance >= 0 and level.cost > 0) for level in levels) or not (
        wanted is not None and wanted > 0
    ):
        raise UserError("allocation: expected variances of at least 0 and costs above 0")
    variances = np.array([level.variance for level in levels])
    costs = np.array([level.cost for level in levels])
    if standard_error is not None:
        total = float(np.sqrt(variances * costs).sum())
        ideal = total / standard_error**2 * np.sqrt(variances / costs)
        samples = np.maximum(np.ceil(ideal - 1e-9), 2).astype(int)
    else:
        assert cost is not None
        samples = _within(cost, variances, costs)
    return Allocation(
        samples=tuple(samples.tolist()),
        standard_error=float(np.sqrt(np.sum(variances / samples))),
        cost=float(np.sum(samples * costs)),
    )


def _within(budget: float, variances: Array, costs: Array) -> NDArray[np.int64]:
    """Samples for a budget; levels that would get fewer than two get two, the others what is left.

    Raises
    ------
    UserError
        If it does not buy two of each.
    """
    if budget < 2 * costs.sum():
        raise UserError(
            f"allocation: a budget of {budget:g} does not buy two samples of each level, which "
            f"cost {2 * costs.sum():g}: without two there is no interval"
        )
    free = np.ones(len(costs), dtype=bool)
    while True:
        left = budget - 2 * costs[~free].sum()
        total = np.sqrt(variances[free] * costs[free]).sum()
        ideal = np.full(len(costs), 2.0)
        if total > 0:
            ideal[free] = left / total * np.sqrt(variances[free] / costs[free])
        short = free & (ideal < 2)
        if not short.any():
            return np.maximum(np.floor(ideal + 1e-9), 2).astype(np.int64)
        free &= ~short
