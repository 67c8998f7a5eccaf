"""Walks on a lattice whose jumps remember each other, with a diffusivity that is known."""

from __future__ import annotations

import numpy as np

_DIRECTIONS = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float
)


def jump_walk(
    generator: np.random.Generator,
    frames: int,
    interval: float,
    *,
    residence_time: float,
    back: float = 0.0,
    length: float = 2.0,
    vibration: float = 0.1,
) -> np.ndarray:
    """An interstitial on a cubic lattice, Å, shape (frames, 1, 3).

    Jumps are a Poisson process; each undoes the one before with a probability `back`, and else goes
    anywhere, so that the mean cosine of successive jumps is −back.
    """
    count = generator.poisson(frames * interval / residence_time)
    times = np.sort(generator.random(count) * frames)
    steps = np.empty(count, dtype=int)
    for k in range(count):
        again = k > 0 and generator.random() < back
        # Opposite directions are neighbours in the list.
        steps[k] = steps[k - 1] ^ 1 if again else generator.integers(6)
    sites = np.vstack([np.zeros(3), np.cumsum(length * _DIRECTIONS[steps], axis=0)])
    places = sites[np.searchsorted(times, np.arange(frames))]
    return (places + generator.normal(scale=vibration, size=places.shape))[:, None, :]


def exact_diffusivity(residence_time: float, back: float, length: float = 2.0) -> float:
    """D = f l² / 6τ with the correlation factor f = (1 − b) / (1 + b), Å²/fs."""
    return (1 - back) / (1 + back) * length**2 / (6 * residence_time)
