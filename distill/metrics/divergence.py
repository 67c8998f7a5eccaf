"""How much two distributions over the same bins differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def jensen_shannon_divergence(first: Array, second: Array) -> Array:
    """Jensen-Shannon divergence in bits, from 0 for equal to 1 for disjoint distributions.

    Empty histograms are equal to each other and disjoint from any other. Source: Lin, IEEE Trans.
    Inf. Theory 37, 145 (1991).

    Parameters
    ----------
    first, second
        Counts or densities over the last axis, shape (..., bins); each is normalised.

    Returns
    -------
    Array
        Shape (...).
    """
    p, q = _normalised(first), _normalised(second)
    middle = 0.5 * (p + q)
    divergence = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))
    # An empty one adds nothing to the sum, of which the other then gives a half.
    return np.where(p.any(axis=-1) == q.any(axis=-1), divergence, 1.0)


def bhattacharyya_overlap(first: Array, second: Array) -> Array:
    """Σ √(p q) of two distributions, from 0 for disjoint to 1 for equal ones.

    Source: Bhattacharyya, Bull. Calcutta Math. Soc. 35, 99 (1943).

    Parameters
    ----------
    first, second
        Counts or densities over the last axis, shape (..., bins); each is normalised.

    Returns
    -------
    Array
        Shape (...).
    """
    return np.asarray(np.sqrt(_normalised(first) * _normalised(second)).sum(axis=-1))


def _normalised(values: Array) -> Array:
    values = np.asarray(values, dtype=float)
    total = values.sum(axis=-1, keepdims=True)
    return values / np.where(total > 0, total, 1.0)


def _relative_entropy(p: Array, q: Array) -> Array:
    ratio = np.where(p > 0, p / np.where(q > 0, q, 1.0), 1.0)
    return np.asarray((p * np.log2(ratio)).sum(axis=-1))
