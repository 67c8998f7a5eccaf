"""Samples that share something: how much fewer independent ones they are worth.

Trajectories that start from the same surface end alike more often than those of different surfaces.
With an intraclass correlation ρ and m samples of each cluster, the variance of a mean is
1 + (m − 1) ρ times that of independent samples (Kish, Survey Sampling (1965), sec. 5.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Clustering:
    """How samples lie in clusters.

    Attributes
    ----------
    samples
        Their number.
    clusters
        Of which there are samples.
    available
        Clusters that further samples are spread over evenly, those without samples so far too.
    correlation
        Intraclass correlation ρ, 0 to 1.
    mean_size
        Samples in the cluster of a sample, in the mean: Σ m² / Σ m.
    """

    samples: int
    clusters: int
    available: int
    correlation: float
    mean_size: float

    @property
    def shared(self) -> bool:
        """Whether any cluster has two samples."""
        return self.clusters < self.samples

    @property
    def design_effect(self) -> float:
        """Variance of a mean over that of as many independent samples, at least 1."""
        return 1 + (self.mean_size - 1) * self.correlation

    @property
    def effective(self) -> float:
        """Independent samples that the samples are worth."""
        return self.samples / self.design_effect

    def quantile(self, confidence: float) -> float:
        """Student's of the clusters where some are shared, that of the normal distribution else."""
        return _quantile(confidence, self.clusters if self.shared else None)

    def quantile_of_all(self, confidence: float) -> float:
        """The same once every available cluster is shared."""
        return _quantile(confidence, self.available)

    def samples_worth(self, effective: int) -> int | None:
        """Samples that are worth so many independent ones; None if no number is.

        Up to one of each available cluster they are independent; after that they are m of each, and
        worth at most `available` / ρ.
        """
        if effective <= self.available:
            return effective
        left = 1 - self.correlation * effective / self.available
        return None if left <= 0 else math.ceil(effective * (1 - self.correlation) / left)

    def clusters_for(self, effective: int) -> int:
        """Clusters of which twice the least number of samples is worth so many independent ones."""
        return max(math.ceil(2 * self.correlation * effective), self.available + 1)


def independent(samples: int) -> Clustering:
    """Each sample in a cluster of its own, without end."""
    return Clustering(samples, samples, 10**18, 0.0, 1.0)


def clustering(
    values: Sequence[float] | np.ndarray, clusters: Sequence[int] | None, available: int | None
) -> Clustering:
    """How values lie in clusters, with their intraclass correlation.

    The correlation is the analysis of variance estimate for clusters of unequal size (Donner,
    Int. Stat. Rev. 54, 67 (1986), sec. 2), 0 where it is negative. A single cluster says nothing of
    others: its correlation counts as 1.

    Parameters
    ----------
    values
        Of the samples, shape (n,).
    clusters
        Number of the cluster of each sample, shape (n,); None for independent samples.
    available
        Clusters there are; as many as `clusters` names if not given.
    """
    y = np.asarray(values, dtype=float)
    n = len(y)
    if clusters is None:
        return independent(n)
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(place).astype(float)
    count = len(sizes)
    mean_size = float((sizes**2).sum() / n)
    available = max(available or count, count)
    if count == n:
        return Clustering(n, count, available, 0.0, 1.0)
    if count == 1:
        return Clustering(n, count, available, 1.0, mean_size)
    means = np.bincount(place, weights=y) / sizes
    between = float((sizes * (means - y.mean()) ** 2).sum()) / (count - 1)
    within = float(((y - means[place]) ** 2).sum()) / (n - count)
    size = (n - mean_size) / (count - 1)
    total = between + (size - 1) * within
    correlation = (between - within) / total if total > 0 else 0.0
    return Clustering(n, count, available, min(max(correlation, 0.0), 1.0), mean_size)


def clustered_mean(
    values: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    *,
    clusters: Sequence[int] | None = None,
) -> tuple[float, tuple[float, float]]:
    """Mean of values that may share what they start from, with Student's interval.

    Infinite for a single value.
    """
    y = np.asarray(values, dtype=float)
    of = clustering(y, clusters, None)
    mean = float(y.mean())
    if of.effective < 2:
        return mean, (-math.inf, math.inf)
    count = of.clusters if of.shared else len(y)
    half = _quantile(confidence, count) * float(y.std(ddof=1)) / math.sqrt(of.effective)
    return mean, (mean - half, mean + half)


def _quantile(confidence: float, clusters: int | None) -> float:
    tail = (1 + confidence) / 2
    # A single cluster has no degree of freedom; its samples are worth one.
    if clusters is None or clusters < 2:
        return NormalDist().inv_cdf(tail)
    from scipy.special import stdtrit

    return float(stdtrit(clusters - 1, tail))
