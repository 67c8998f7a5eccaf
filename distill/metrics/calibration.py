"""How well predicted standard deviations describe errors."""

from __future__ import annotations

from typing import Any

import numpy as np

_BINS = 10
# Half widths of the central 68 and 95 % of a normal distribution, in standard deviations.
LEVELS = {"68": 0.994458, "95": 1.959964}


def deviation_quality(error: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Coverage, scale, ranking and reliability of predicted deviations.

    Parameters
    ----------
    error
        Signed errors, shape (n,).
    predicted
        Predicted standard deviations in the same unit, shape (n,).

    Returns
    -------
    dict
        `count`; `rmse` and `predicted_deviation`, root mean squares; `coverage`, the share of
        errors inside the 68 and 95 % intervals; `scale`, the factor on the deviations that would
        make the squared errors right on average (None where a deviation is zero);
        `rank_correlation` of |error| and deviation (Spearman; None where either does not vary);
        and `bins` of equal count with predicted deviation and error (reliability diagram, Levi et
        al., Sensors 22, 5540 (2022)).
    """
    from scipy.stats import spearmanr

    size = np.abs(error)
    varied = len(error) > 2 and np.ptp(predicted) > 0 and np.ptp(size) > 0
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(predicted > 0, error / predicted, np.inf)
    return {
        "count": len(error),
        "rmse": rms(error),
        "predicted_deviation": rms(predicted),
        "coverage": {n: float(np.mean(size <= z * predicted)) for n, z in LEVELS.items()},
        "scale": rms(scaled) if np.isfinite(scaled).all() else None,
        "rank_correlation": float(spearmanr(size, predicted).statistic) if varied else None,
        "bins": [
            {
                "predicted_deviation": rms(predicted[part]),
                "rmse": rms(error[part]),
                "count": len(part),
            }
            for part in bins
        ],
    }


def rms(values: np.ndarray) -> float:
    """Root mean square of all values."""
    return float(np.sqrt(np.mean(np.square(values))))
