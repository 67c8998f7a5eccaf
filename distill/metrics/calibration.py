"""How well predicted standard deviations describe errors."""

from __future__ import annotations

import numpy as np

from distill.core.results import Record

_BINS = 10
# Half widths of the central 68 and 95 % of a normal distribution, in standard deviations.
LEVELS = {"68": 0.994458, "95": 1.959964}


class ReliabilityBin(Record):
    """Some errors of similar predicted deviation: root mean squares of both, and their number."""

    predicted_deviation: float
    rmse: float
    count: int


class DeviationQuality(Record):
    """How well predicted deviations describe errors.

    Attributes
    ----------
    count
        Number of errors.
    rmse, predicted_deviation
        Root mean squares; the second is the sharpness of the prediction, better where smaller.
    variation
        Standard deviation of the predicted deviations over their mean: 0 where they are the same
        everywhere (Levi et al. 2022).
    coverage
        Share of errors inside the 68 and 95 % intervals, by these numbers.
    scale
        Factor on the deviations that would make the squared errors right on average; None where a
        deviation is zero.
    rank_correlation
        Of |error| and deviation (Spearman); None where either does not vary.
    bins
        Of equal count (reliability diagram, Levi et al., Sensors 22, 5540 (2022)).
    """

    count: int
    rmse: float
    predicted_deviation: float
    variation: float | None = None
    coverage: dict[str, float]
    scale: float | None
    rank_correlation: float | None
    bins: list[ReliabilityBin]


def deviation_quality(error: np.ndarray, predicted: np.ndarray) -> DeviationQuality:
    """Coverage, scale, ranking and reliability of predicted deviations.

    Parameters
    ----------
    error
        Signed errors, shape (n,).
    predicted
        Predicted standard deviations in the same unit, shape (n,).
    """
    size = np.abs(error)
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(predicted > 0, error / predicted, np.inf)
    return DeviationQuality(
        count=len(error),
        rmse=rms(error),
        predicted_deviation=rms(predicted),
        variation=float(np.std(predicted) / np.mean(predicted)) if predicted.any() else None,
        coverage=coverage(error, predicted),
        scale=rms(scaled) if np.isfinite(scaled).all() else None,
        rank_correlation=rank_correlation(size, predicted),
        bins=[
            ReliabilityBin(
                predicted_deviation=rms(predicted[part]), rmse=rms(error[part]), count=len(part)
            )
            for part in bins
        ],
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's; None where either does not vary."""
    from scipy.stats import spearmanr

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)


def coverage(error: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Share of errors inside the intervals of `LEVELS` for normal deviations, by level."""
    size = np.abs(error)
    return {name: float(np.mean(size <= z * predicted)) for name, z in LEVELS.items()}


def rms(values: np.ndarray) -> float:
    """Root mean square of all values."""
    return float(np.sqrt(np.mean(np.square(values))))
