"""Diffusivity of a defect from unwrapped positions: mean squared displacement, fit, interval.

The displacements of all atoms of the element are summed, so that it does not matter which atom
moves: where an interstitial pushes a lattice atom out of its site and takes it (kick-out), both
count. Divided by the number of defects, this is the diffusivity of one defect by tracer counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from distill.core.errors import UserError
from distill.observables.diffusion.result import DiffusivitySummary

Counting = Literal["tracer", "collective"]
BLOCKS_PER_WINDOW = 5
LAGS = 30
_LEAST_LAGS = 3
RESAMPLES = 2000
# An atom that moved on by more than this share of a jump has left its site.
_LEFT_SITE = 0.4
# Confidence at which two halves of a window disagree.
_DISAGREEMENT = 0.99
# Fewer jumps than this do not make a mean squared displacement.
_LEAST_JUMPS = 3


@dataclass(frozen=True)
class Diffusivity:
    """A diffusivity with its interval, or an upper bound where nothing diffused.

    Attributes
    ----------
    value
        Å²/fs; None if there is only a bound.
    interval
        Lower and upper end, Å²/fs; None if there is only a bound.
    upper_bound
        Å²/fs; None if there is a value.
    reason
        Why there is only a bound; empty otherwise.
    late
        From the later half of the fit window alone, Å²/fs.
    disagreement
        In words, where `late` differs from `value` by more than chance; empty otherwise.
    jumps
        Number of jumps that the mean squared displacement amounts to.
    time
        Time of all runs together, fs.
    blocks
        Independent pieces that the interval rests on.
    lags, msd, msd_low, msd_high
        Fitted mean squared displacement per defect with its interval: fs and Å², shape (n_lags,).
    intercept
        Of the fit, per defect, Å².
    samples
        Of the bootstrap, Å²/fs, shape (n_resamples,); spread as widely as the interval.
    """

    value: float | None
    interval: tuple[float, float] | None
    upper_bound: float | None
    reason: str
    late: float
    disagreement: str
    jumps: float
    time: float
    blocks: int
    lags: np.ndarray
    msd: np.ndarray
    msd_low: np.ndarray
    msd_high: np.ndarray
    intercept: float
    samples: np.ndarray

    def summary(self) -> DiffusivitySummary:
        """All but the bootstrap samples."""
        return DiffusivitySummary(
            value=self.value,
            interval=self.interval,
            upper_bound=self.upper_bound,
            reason=self.reason,
            late_window=self.late,
            disagreement=self.disagreement,
            jumps=self.jumps,
            time=self.time,
            blocks=self.blocks,
            intercept=self.intercept,
            lags=self.lags.tolist(),
            msd=self.msd.tolist(),
            msd_interval=(self.msd_low.tolist(), self.msd_high.tolist()),
        )


def displacements_in_framework(positions: np.ndarray, mobile: np.ndarray) -> np.ndarray:
    """Displacements of the mobile element from the first frame, relative to the framework, Å.

    The framework is the mean of the other atoms, or of all where there are no others; this takes
    out the drift of the centre of mass and the recoil of the lattice.

    Parameters
    ----------
    positions
        Unwrapped, Å, shape (n_frames, n_atoms, 3).
    mobile
        Which atoms are of the element, boolean, shape (n_atoms,).

    Returns
    -------
    ndarray
        Shape (n_frames, n_mobile, 3).
    """
    moved = np.asarray(positions, dtype=float) - positions[0]
    framework = moved[:, ~mobile] if not mobile.all() else moved
    return moved[:, mobile] - framework.mean(axis=1, keepdims=True)


def diffusivity(
    runs: Sequence[np.ndarray],
    interval: float,
    *,
    defects: int,
    jump_length: float,
    fit_start: float,
    fit_end: float,
    counting: Counting = "tracer",
    confidence: float = 0.95,
    generator: np.random.Generator,
) -> Diffusivity:
    """Diffusivity from several independent runs of the same system.

    The time-averaged mean squared displacement is fitted by a straight line with intercept (the
    vibrations) over lags from `fit_start` to `fit_end`, by generalised least squares with the
    covariance of a Gaussian walk (Qian, Sheetz & Elson, Biophys. J. 60, 910 (1991); Bullerjahn,
    von Bülow & Hummer, J. Chem. Phys. 153, 024116 (2020)). The interval comes from a bootstrap
    over blocks of all runs, each five fit windows long (Künsch, Ann. Stat. 17, 1217 (1989)), in
    ln D, expanded for the number of blocks (Hesterberg, Am. Stat. 69, 371 (2015)).

    Parameters
    ----------
    runs
        Displacements of the element's atoms, Å, each of shape (n_frames, n_mobile, 3).
    interval
        Time between frames, fs.
    defects
        Number of defects that the displacement is divided by.
    jump_length
        Length of a jump of the defect, Å; used for counting jumps and for the upper bound.
    fit_start, fit_end
        Lags of the fit, fs.
    counting
        tracer: sum over atoms of |Δr|². collective: |sum over atoms of Δr|², the motion of the
        defect itself, with correlations between jumps of different atoms.
    confidence
        Of the interval and the bound.
    generator
        Random stream of the bootstrap.

    Raises
    ------
    UserError
        If the runs are too short for the window, or the window holds fewer than three frames.
    """
    shortest = min(len(run) for run in runs)
    check_window(shortest, interval, fit_start, fit_end)
    first, last = _window(interval, fit_start, fit_end)
    lags = _lags(first, last)
    block = min(BLOCKS_PER_WINDOW * last, shortest // 2)
    parts = [_block_sums(run, lags, block, counting) for run in runs]
    sums = np.concatenate([part[0] for part in parts]) / defects
    counts = np.concatenate([part[1] for part in parts])
    blocks = len(sums)
    draws = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES)
    msd, curves = sums.sum(axis=0) / counts.sum(axis=0), (draws @ sums) / (draws @ counts)
    intercept_row, slope_row = _line_fit(lags, msd, atoms=runs[0].shape[1] / defects)
    to_diffusivity = slope_row / (6 * interval)
    value, samples = float(to_diffusivity @ msd), curves @ to_diffusivity
    expansion = _expansion(blocks, confidence)
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = np.percentile(msd + expansion * (curves - msd), ends, axis=0)
    time = float(sum(len(run) - 1 for run in runs)) * interval
    jumps = max(6 * value, 0.0) * defects * time / jump_length**2
    to_late = _late_slope(lags) / (6 * interval)
    common: dict[str, Any] = {
        "late": float(to_late @ msd),
        "disagreement": _disagreement(msd, curves, to_diffusivity, to_late, blocks),
        "jumps": jumps,
        "time": time,
        "blocks": blocks,
        "lags": lags * interval,
        "msd": msd,
        "msd_low": low,
        "msd_high": high,
        "intercept": float(intercept_row @ msd),
    }
    left = any(_left_site(run, jump_length, int(lags[0])) for run in runs)
    reason = _why_only_a_bound(left, jumps, float(np.percentile(samples, ends[0])), time)
    if reason:
        bound = _most_jumps(round(jumps) if left else 0, confidence)
        bound *= jump_length**2 / (6 * defects * time)
        return Diffusivity(None, None, bound, reason, samples=samples, **common)
    floor = samples[samples > 0].min()
    wide = value * np.exp(expansion * np.log(np.maximum(samples, floor) / value))
    lower, upper = np.percentile(wide, ends)
    return Diffusivity(value, (float(lower), float(upper)), None, "", samples=wide, **common)


def check_window(frames: int, interval: float, fit_start: float, fit_end: float) -> None:
    """Refuse a fit window that runs of a number of frames, `interval` fs apart, do not allow.

    Raises
    ------
    UserError
        If the runs are too short for the window, or the window holds fewer than three frames.
    """
    first, last = _window(interval, fit_start, fit_end)
    if last - first < 2:
        raise UserError(
            f"the fit window {fit_start:g} to {fit_end:g} fs holds fewer than three frames that "
            f"are {interval:g} fs apart: save more often or widen the window"
        )
    # A block is longer than the longest lag, so that time origins lie in every block.
    if frames < 2 * (last + 1):
        raise UserError(
            f"a run of {(frames - 1) * interval:g} fs is too short for a fit window that ends "
            f"at {fit_end:g} fs: run more than twice as long, or lower fit_end"
        )


def _window(interval: float, fit_start: float, fit_end: float) -> tuple[int, int]:
    """First and last lag of the fit, in frames."""
    return max(round(fit_start / interval), 1), round(fit_end / interval)


def _lags(first: int, last: int) -> np.ndarray:
    """Lags of the fit in frames, as far apart as the first is from 0 where the window allows it.

    The least squares trust differences of neighbouring lags, as a walk deserves. The vibrations,
    which still ring at lags that are close together, must not be in such differences.
    """
    count = min(max((last - first) // first + 1, _LEAST_LAGS), LAGS)
    return np.unique(np.linspace(first, last, count).round().astype(int))


def _block_sums(
    displacements: np.ndarray, lags: np.ndarray, block: int, counting: Counting
) -> tuple[np.ndarray, np.ndarray]:
    """Squared displacements summed over the time origins of each block, and how many there are.

    Both of shape (n_blocks, n_lags), in Å². The last block takes the rest of the run.
    """
    track = displacements
    if counting == "collective":
        track = displacements.sum(axis=1, keepdims=True)
    starts = np.arange(len(track) // block) * block
    sums = np.empty((len(starts), len(lags)))
    counts = np.empty_like(sums)
    for column, lag in enumerate(lags):
        step = track[lag:] - track[:-lag]
        squared = np.einsum("tij,tij->t", step, step)
        sums[:, column] = np.add.reduceat(squared, starts)
        counts[:, column] = np.diff(np.append(starts, len(squared)))
    return sums, counts


def _line_fit(lags: np.ndarray, msd: np.ndarray, atoms: float) -> np.ndarray:
    """Rows that give intercept (Å²) and slope (Å² a frame) from a curve, shape (2, n_lags).

    One walker of the summed displacement jumps; the vibrations are shared by `atoms` atoms.
    """
    design = np.column_stack([np.ones(len(lags)), lags])
    intercept, slope = np.linalg.lstsq(design, msd, rcond=None)[0]
    covariance = _walk_covariance(lags, max(intercept, 0.0) / atoms, max(slope, 1e-12 * msd[-1]))
    covariance += 1e-9 * np.trace(covariance) / len(lags) * np.eye(len(lags))
    weighted = np.linalg.solve(covariance, design)
    return np.linalg.solve(design.T @ weighted, weighted.T)


def _late_slope(lags: np.ndarray) -> np.ndarray:
    """Row that gives the slope (Å² a frame) over the later half of the lags."""
    late = np.arange(len(lags)) >= min(np.searchsorted(lags, lags.mean()), len(lags) - 2)
    centred = np.where(late, lags - lags[late].mean(), 0.0)
    return np.asarray(centred / (centred @ centred))


def _disagreement(
    msd: np.ndarray, curves: np.ndarray, row: np.ndarray, late: np.ndarray, blocks: int
) -> str:
    """Whether the later half of the window gives another diffusivity, in words."""
    value, difference = float(row @ msd), float((late - row) @ msd)
    expansion = _expansion(blocks, _DISAGREEMENT)
    spread = expansion * (curves @ (late - row) - difference)
    ends = [50 * (1 - _DISAGREEMENT), 50 * (1 + _DISAGREEMENT)]
    low, high = np.percentile(difference + spread, ends)
    if low <= 0 <= high or value <= 0:
        return ""
    return (
        f"the later half of the fit window gives {(value + difference) / value:.2f} times the "
        "diffusivity: jumps remember each other within the window; run longer, or fit later lags"
    )


def _walk_covariance(lags: np.ndarray, noise: float, slope: float) -> np.ndarray:
    """Covariance of time-averaged squared displacements of a Gaussian walk, up to a factor.

    For increments with E|r(t + h) − r(t)|² = s(h), overlapping displacements over lags n and m
    whose origins are δ apart have the covariance
    C(δ) = ½ [s(n − δ) + s(m + δ) − s(n − m − δ) − s(δ)], and by Isserlis' theorem the squares
    have 2 C². Here s(h) = noise + slope |h| for h ≠ 0.
    """

    def structure(lag: np.ndarray) -> np.ndarray:
        return np.where(lag == 0, 0.0, noise + slope * np.abs(lag))

    offsets = np.arange(-lags[-1], lags[-1] + 1)
    n, m = lags[:, None, None], lags[None, :, None]
    overlap = 0.5 * (
        structure(n - offsets)
        + structure(m + offsets)
        - structure(n - m - offsets)
        - structure(offsets)[None, None]
    )
    return (overlap**2).sum(axis=-1)


def _left_site(displacements: np.ndarray, jump_length: float, window: int) -> bool:
    """Whether any atom's position, averaged over `window` frames, moved on by part of a jump."""
    sums = np.cumsum(np.concatenate([np.zeros_like(displacements[:1]), displacements]), axis=0)
    smooth = (sums[window:] - sums[:-window]) / window
    return bool(np.linalg.norm(smooth - smooth[0], axis=-1).max() > _LEFT_SITE * jump_length)


def _why_only_a_bound(left: bool, jumps: float, lower: float, time: float) -> str:
    if not left:
        return f"no atom left its site in {time / 1000:g} ps"
    if jumps < _LEAST_JUMPS:
        return f"about {jumps:.1f} jumps in {time / 1000:g} ps, fewer than {_LEAST_JUMPS}"
    if lower <= 0:
        return "the mean squared displacement does not grow beyond its own scatter"
    return ""


def _most_jumps(seen: int, confidence: float) -> float:
    """Upper limit on the mean of a Poisson count (Garwood, Biometrika 28, 437 (1936))."""
    from scipy.stats import chi2

    return float(0.5 * chi2.ppf(confidence, 2 * (seen + 1)))


def _expansion(blocks: int, confidence: float) -> float:
    """Factor that makes a percentile interval of a few blocks as wide as Student's."""
    from scipy.stats import norm, t

    tail = 0.5 * (1 + confidence)
    return float(np.sqrt(blocks / (blocks - 1)) * t.ppf(tail, blocks - 1) / norm.ppf(tail))
