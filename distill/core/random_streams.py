"""One random stream for each unit of work, named by what the unit is."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

_RESOLUTION = 1_000_000


def stream(seed: int, *unit: int | float | str) -> np.random.Generator:
    """The random stream of a unit of work.

    A unit is named by its values (facet, temperature in K, energy in eV, number, ...), not by its
    place in a list, so that adding conditions to a run leaves the other units as they were.

    Parameters
    ----------
    seed
        The run's seed.
    unit
        Names and numbers; numbers count to six decimals.
    """
    words = [
        zlib.crc32(part.encode()) if isinstance(part, str) else round(part * _RESOLUTION)
        for part in unit
    ]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def thermal_noise(
    generator: np.random.Generator | None, steps: int, n_atoms: int
) -> NDArray[np.float64]:
    """Normal numbers of a thermostat for some steps, (steps, N, 3); (steps, 0, 3) without one."""
    if generator is None:
        return np.empty((steps, 0, 3))
    return generator.standard_normal((steps, n_atoms, 3))
