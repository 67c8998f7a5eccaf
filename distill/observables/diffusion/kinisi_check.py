"""The diffusivity a second time, by kinisi where it is installed: another covariance, another fit.

kinisi regresses the mean squared displacement under a multivariate normal likelihood whose
covariance is that of a Brownian walker (McCluskey, Coles & Morgan, J. Chem. Theory Comput. 21, 79
(2025)). It counts every atom of the element as an independent sample, which is not so where one
defect moves one atom at a time; compare the intervals with that in mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from distill.metrics.statistics import percentile_interval
from distill.observables.diffusion.result import KinisiEstimate

_STEPS = 1000


def kinisi_diffusivity(
    runs: Sequence[np.ndarray],
    interval: float,
    lags: np.ndarray,
    *,
    defects: int,
    confidence: float = 0.95,
    seed: int,
) -> KinisiEstimate | None:
    """Diffusivity of one defect by tracer counting, with kinisi's credible interval.

    Parameters
    ----------
    runs
        Displacements of the element's atoms, Å, each of shape (n_frames, n_mobile, 3).
    interval
        Time between frames, fs.
    lags
        Lags of the fit, fs, multiples of `interval`.
    defects
        Number of defects that the displacement is divided by.
    confidence
        Of the interval.
    seed
        Of its Markov chain.

    Returns
    -------
    KinisiEstimate or None
        None if kinisi is not installed.
    """
    if find_spec("kinisi") is None or find_spec("scipp") is None:
        return None
    import kinisi
    import scipp
    from kinisi.diffusion import Diffusion

    mobile = runs[0].shape[1]
    frames = sum(len(run) - 1 for run in runs)
    means, variances, counts = [], [], []
    for lag in np.rint(lags / interval).astype(int):
        squares = np.concatenate([((r[lag:] - r[:-lag]) ** 2).sum(axis=-1).ravel() for r in runs])
        independent = mobile * frames / lag
        means.append(squares.mean())
        variances.append(squares.var(ddof=1) / independent)
        counts.append(independent)
    axis = "time interval"
    curve = scipp.DataArray(
        data=scipp.array(dims=[axis], values=means, variances=variances, unit="angstrom^2"),
        coords={
            axis: scipp.array(dims=[axis], values=np.asarray(lags, dtype=float), unit="fs"),
            "n_samples": scipp.array(dims=[axis], values=counts),
        },
    )
    dimensions = scipp.scalar(3, unit="dimensionless")
    diffusion = Diffusion(scipp.DataGroup({"da": curve, "dimensionality": dimensions}))
    diffusion.bayesian_regression(
        start_dt=scipp.scalar(float(lags[0]), unit="fs"),
        n_samples=_STEPS,
        progress=False,
        # The chain's own interface takes the legacy generator only.
        random_state=np.random.RandomState(seed),
    )
    samples = np.asarray(diffusion.gradient.values) * mobile / (6 * defects)
    return KinisiEstimate(
        value=float(np.median(samples)),
        interval=percentile_interval(samples, confidence),
        version=str(kinisi.__version__),
    )
