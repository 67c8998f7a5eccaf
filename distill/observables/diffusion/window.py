"""The lags that a mean squared displacement is fitted over, chosen by the data.

A diffusivity is the slope at lags at which jumps have forgotten each other. Where a jump often goes
back, the mean squared displacement first grows with the rate of jumps and later slower, by the
correlation factor. What is left of it decays within a few residence times, whatever the mechanism:
each jump decides anew (Compaan & Haven, Trans. Faraday Soc. 52, 786 (1956)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.observables.diffusion.diffusivity import diffusivity

# The window starts after so many residence times, and is so many times as long as its start.
_RESIDENCE_TIMES = 3.0
_WIDTH = 4.0
# It ends within this share of the shortest runs, for blocks enough.
_SHARE = 0.25
# Of the runs, where the first jumps are counted, and where the window ends without memory.
_FIRST_SHARE = 1 / 20
# A window that starts before so many residence times may see memory that it cannot tell of.
_LEAST_RESIDENCE_TIMES = 2.0


@dataclass(frozen=True)
class Window:
    """First and last lag of a fit.

    Attributes
    ----------
    start, end
        fs.
    residence_time
        Mean time between jumps of a defect, fs, the longest of all models; None where too few jumps
        were seen.
    """

    start: float
    end: float
    residence_time: float | None

    @property
    def early(self) -> bool:
        """Whether it starts before jumps have surely forgotten each other."""
        least = _LEAST_RESIDENCE_TIMES * (self.residence_time or 0.0)
        return self.start < least


def first_window(time: float, fit_start: float, fit_end: float | None) -> Window:
    """The window as asked for, or of jumps without memory: a twentieth of runs of a time (fs)."""
    return Window(fit_start, fit_end or max(time * _FIRST_SHARE, 2 * fit_start), None)


def choose_window(
    models: Sequence[Sequence[np.ndarray]],
    interval: float,
    *,
    fit_start: float,
    fit_end: float | None,
    defects: int,
    jump_length: float,
) -> Window:
    """A window for several models alike: after the memory of the slowest, within the shortest runs.

    It starts three residence times after lag 0, or at a sixteenth of the shortest runs if that is
    earlier, and not before `fit_start`; it is four times as long as its start, or a twentieth of
    the shortest runs if that is longer. With a `fit_end` it is the window asked for.

    Parameters
    ----------
    models
        Of each model the displacements of its runs, Å, each of shape (n_frames, n_mobile, 3).
    interval
        Time between frames, fs.
    fit_start, fit_end
        Least first lag, and last lag or None, fs.
    defects
        Number of defects in a run.
    jump_length
        Å.
    """
    time = (min(len(run) for runs in models for run in runs) - 1) * interval
    window = first_window(time, fit_start, fit_end)
    rates = [
        6 * first.value / jump_length**2
        for runs in models
        if (
            first := diffusivity(
                runs,
                interval,
                defects=defects,
                jump_length=jump_length,
                fit_start=window.start,
                fit_end=window.end,
                # Of the interval, which is not used.
                generator=np.random.default_rng(0),
            )
        ).value
    ]
    if not rates:
        return window
    residence = 1 / min(rates)
    if fit_end is not None:
        return Window(window.start, window.end, residence)
    latest = time * _SHARE / _WIDTH
    start = max(fit_start, min(_RESIDENCE_TIMES * residence, latest))
    return Window(start, max(window.end, _WIDTH * start if start > fit_start else 0.0), residence)
