"""How far apart in time the values of a series are independent, and means over blocks of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Sokal's window: a sum over so many correlation times, beyond which there is noise alone.
_WINDOW = 6.0
# Length of a block over the statistical inefficiency. Variances from its means are a tenth low.
_BLOCK = 5.0


def statistical_inefficiency(series: Array) -> Array:
    """How many successive values tell as much as one independent one, shape (...), at least 1.

    That is 1 + 2 Σ ρ(t), with the autocorrelation ρ about the mean of all runs, so that runs that
    stay apart are correlated to their ends. The sum ends at the first lag beyond six correlation
    times. Source: Sokal, in Functional Integration, NATO ASI B 361, 131 (1997), sec. 3.

    Parameters
    ----------
    series
        Of equal independent runs, shape (runs, values, ...). A constant one counts as independent.
    """
    covariance, square = _autocovariance(series)
    return _inefficiency(covariance, square).reshape(series.shape[2:])


def vector_inefficiency(series: Array) -> float:
    """The same of vectors, with the autocorrelation of their scalar product.

    Parameters
    ----------
    series
        Of equal independent runs, shape (runs, values, components).
    """
    covariance, square = _autocovariance(series)
    return float(_inefficiency(covariance.sum(axis=1, keepdims=True), square.sum(keepdims=True))[0])


def _autocovariance(series: Array) -> tuple[Array, Array]:
    """About the mean of all runs, by lag and trailing place; and the mean square."""
    runs, count = series.shape[:2]
    flat = series.reshape(runs, count, -1)
    centred = flat - flat.mean(axis=(0, 1))
    spectrum = np.fft.rfft(centred, n=2 * count, axis=1)
    power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=0)
    covariance = np.fft.irfft(power, n=2 * count, axis=0)[:count]
    return covariance / (count - np.arange(count))[:, None], np.mean(flat**2, axis=(0, 1))


def _inefficiency(covariance: Array, square: Array) -> Array:
    """1 + 2 Σ ρ up to the end of the window, for each column of an autocovariance."""
    count = len(covariance)
    variance = covariance[0]
    # Rounding leaves something of a constant.
    constant = variance <= 1e-20 * square
    correlation = covariance / np.where(constant, 1.0, variance)
    sums = 1 + 2 * np.cumsum(correlation[1:], axis=0)
    sums = np.vstack([np.ones((1, len(variance))), sums])
    ended = np.arange(count)[:, None] >= _WINDOW * sums / 2
    ends = np.where(ended.any(axis=0), ended.argmax(axis=0), count - 1)
    found = np.where(constant, 1.0, sums[ends, np.arange(len(variance))])
    return np.clip(found, 1.0, count)


def block_length(series: Array) -> int:
    """Values in a block whose means are close to independent, the whole run at most.

    It is five times the largest statistical inefficiency, at which the variance of the means is a
    tenth below that of independent ones. Source of averages over blocks: Flyvbjerg & Petersen,
    J. Chem. Phys. 91, 461 (1989).

    Parameters
    ----------
    series
        Of equal independent runs, shape (runs, values, ...); the slowest of the trailing ones
        decides.
    """
    return min(math.ceil(_BLOCK * float(np.max(statistical_inefficiency(series)))), series.shape[1])


def block_means(series: Array, length: int) -> Array:
    """Means over equal blocks of at least a length, shape (blocks, ...), run after run.

    Parameters
    ----------
    series
        Shape (runs, values, ...). What is left over is left out at the start of each run.
    length
        Values in a block, at most those of a run.
    """
    runs, count = series.shape[:2]
    blocks = count // length
    size = count // blocks
    kept = series[:, count - blocks * size :]
    return kept.reshape(runs * blocks, size, *series.shape[2:]).mean(axis=1)
