"""Jumps of atoms between sites: how often, how often back, and how far atoms have gone.

An atom's position is averaged over windows in which vibrations cancel. Where two successive
averages lie more than half a jump from its site, it has jumped to the second. Jumps back and forth
within two windows are vibrations by this count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from distill.metrics.clusters import clustered_mean
from distill.metrics.statistics import proportion
from distill.observables.diffusion.result import JumpStatistics, Measured, VanHove

# Of a jump, beyond which an atom has left its site.
_LEFT = 0.5
# Cosine of the angle to the jump before below which a jump goes back.
_BACK = -0.5
_BINS = 60


@dataclass(frozen=True)
class Jumps:
    """Jumps of one run.

    Attributes
    ----------
    cosines
        Of each jump with the one before of the same atom; NaN for an atom's first.
    time
        Of the run, fs.
    """

    cosines: np.ndarray
    time: float


def jumps_of(
    displacements: np.ndarray, interval: float, *, average: float, jump_length: float
) -> Jumps:
    """The jumps of a run.

    Parameters
    ----------
    displacements
        Of the element's atoms, Å, shape (n_frames, n_mobile, 3).
    interval
        Time between frames, fs.
    average
        Time that positions are averaged over, fs.
    jump_length
        Å.
    """
    size = max(round(average / interval), 1)
    count = len(displacements) // size
    shape = (count, size, *displacements.shape[1:])
    means = displacements[: count * size].reshape(shape).mean(axis=1)
    sites, before = means[0].copy(), np.full(means[0].shape, np.nan)
    cosines: list[float] = []
    for now, after in pairwise(means[1:]):
        far = np.linalg.norm(now - sites, axis=1) > _LEFT * jump_length
        stays = np.linalg.norm(after - sites, axis=1) > _LEFT * jump_length
        for atom in np.flatnonzero(far & stays):
            jump = after[atom] - sites[atom]
            last = before[atom]
            cosines.append(float(jump @ last / np.linalg.norm(jump) / np.linalg.norm(last)))
            sites[atom], before[atom] = sites[atom] + jump, jump
    return Jumps(np.array(cosines), (len(displacements) - 1) * interval)


def jump_statistics(
    runs: Sequence[Jumps], *, defects: int, confidence: float
) -> JumpStatistics | None:
    """Residence time, share of jumps back, correlation factor; None without any jump.

    The correlation factor is (1 + c) / (1 − c) with the mean cosine c of a jump with the one before
    of the same atom, 0 for an atom's first: exact where only successive jumps are correlated
    (Compaan & Haven, Trans. Faraday Soc. 52, 786 (1956)). Jumps of one run are taken as independent
    of each other in the intervals.

    Parameters
    ----------
    runs
        Jumps of independent runs.
    defects
        In each run.
    confidence
        Of the intervals.
    """
    from scipy.stats import chi2

    cosines = np.concatenate([run.cosines for run in runs])
    count, time = len(cosines), defects * sum(run.time for run in runs)
    if count == 0:
        return None
    # Of a Poisson count (Garwood, Biometrika 28, 437 (1936)).
    tail = (1 - confidence) / 2
    fewest, most = chi2.ppf(tail, 2 * count) / 2, chi2.ppf(1 - tail, 2 * count + 2) / 2
    back = proportion(np.nan_to_num(cosines, nan=0.0) < _BACK, confidence)
    mean, ends = clustered_mean(np.nan_to_num(cosines, nan=0.0), confidence)
    low, high = (_correlation_factor(min(max(c, -1.0), 0.999)) for c in ends)
    return JumpStatistics(
        jumps=count,
        residence_time=Measured(value=time / count, interval=(time / most, time / fewest)),
        back=Measured(value=back.value, interval=back.interval),
        correlation_factor=Measured(
            value=_correlation_factor(min(mean, 0.999)), interval=(low, high)
        ),
    )


def _correlation_factor(cosine: float) -> float:
    return float((1 + cosine) / (1 - cosine))


def van_hove(
    runs: Sequence[np.ndarray], interval: float, lags: Sequence[float], jump_length: float
) -> VanHove:
    """Self part of the van Hove function, 4πr² G_s(r, t), of the atoms of the element.

    Source: van Hove, Phys. Rev. 95, 249 (1954).

    Parameters
    ----------
    runs
        Displacements of the element's atoms, Å, each of shape (n_frames, n_mobile, 3).
    interval
        Time between frames, fs.
    lags
        fs.
    jump_length
        Å; distances up to three of them are shown.
    """
    edges = np.linspace(0, 3 * jump_length, _BINS + 1)
    densities = []
    for lag in lags:
        frames = max(round(lag / interval), 1)
        far = np.concatenate(
            [np.linalg.norm(run[frames:] - run[:-frames], axis=-1).ravel() for run in runs]
        )
        counts, _ = np.histogram(far, bins=edges)
        densities.append((counts / len(far) / np.diff(edges)).tolist())
    return VanHove(
        lags=[float(lag) for lag in lags],
        distances=(0.5 * (edges[1:] + edges[:-1])).tolist(),
        densities=densities,
    )
