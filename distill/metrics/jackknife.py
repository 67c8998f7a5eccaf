"""Bias and standard error of any function of means, from independent blocks of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jackknife:
    """A statistic with what its blocks say of its errors; arrays have the statistic's shape.

    Attributes
    ----------
    value
        The statistic of the means over all blocks.
    bias
        What finite sampling adds to it in the mean.
    standard_error
        NaN for a single block.
    blocks
        Number of independent blocks.
    """

    value: Array
    bias: Array
    standard_error: Array
    blocks: int

    @property
    def corrected(self) -> Array:
        """The value without its bias."""
        return self.value - self.bias

    def interval(self, confidence: float) -> tuple[Array, Array]:
        """Ends of Student's interval around the corrected value; infinite for a single block."""
        from scipy.stats import t

        if self.blocks < 2:
            return np.full_like(self.value, -np.inf), np.full_like(self.value, np.inf)
        half = float(t.ppf((1 + confidence) / 2, self.blocks - 1)) * self.standard_error
        return self.corrected - half, self.corrected + half

    def intervals(self, confidence: float) -> list[tuple[float, float]]:
        """The intervals of a statistic of one dimension, entry by entry."""
        low, high = self.interval(confidence)
        return list(zip(low.tolist(), high.tolist(), strict=True))


def jackknife(statistic: Callable[..., Any], *samples: Array) -> Jackknife:
    """A statistic of the means of samples, with bias and error by leaving out a block at a time.

    The same block is left out of all samples at once, so that what the samples of one block have
    in common is accounted for. Where the statistic is a mean, the error is the standard error of
    the mean and the bias is zero. The estimated variance is too large in the mean, if anything
    (Efron & Stein, Ann. Stat. 9, 586 (1981)). Sources: Quenouille, Biometrika 43, 353 (1956), for
    the bias; Tukey, Ann. Math. Stat. 29, 614 (1958), for the error; Künsch, Ann. Stat. 17, 1217
    (1989), for blocks of a series.

    Parameters
    ----------
    statistic
        Smooth function of one mean for each sample, to a number or an array.
    samples
        Block means, each of shape (blocks, ...), with the same number of independent blocks.
    """
    blocks = len(samples[0])
    totals = [sample.sum(axis=0) for sample in samples]
    value = np.asarray(statistic(*(total / blocks for total in totals)), dtype=float)
    if blocks < 2:
        return Jackknife(value, np.zeros_like(value), np.full_like(value, np.nan), blocks)
    without = np.array(
        [
            statistic(
                *(
                    (total - sample[left_out]) / (blocks - 1)
                    for total, sample in zip(totals, samples, strict=True)
                )
            )
            for left_out in range(blocks)
        ]
    )
    bias = (blocks - 1) * (without.mean(axis=0) - value)
    variance = (blocks - 1) * without.var(axis=0)
    return Jackknife(value, bias, np.sqrt(variance), blocks)
