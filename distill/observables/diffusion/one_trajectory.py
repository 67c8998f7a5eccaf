"""The diffusivity of an element from one trajectory of whatever program."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.observables.diffusion.diffusivity import (
    Diffusivity,
    diffusivity,
    displacements_in_framework,
)
from distill.observables.diffusion.window import choose_window
from distill.systems.defects import nearest_neighbour_distance

if TYPE_CHECKING:
    from ase import Atoms


def diffusivity_of_frames(
    frames: Sequence[Atoms],
    species: str,
    *,
    interval: float | None = None,
    fit_start: float | None = None,
    fit_end: float | None = None,
    defects: int | None = None,
    confidence: float = 0.95,
    seed: int = 1,
) -> Diffusivity:
    """Tracer diffusivity of an element, Å²/fs.

    Parameters
    ----------
    frames
        Structures in their order; positions may be wrapped into the cell.
    species
        Chemical symbol of what diffuses.
    interval
        Time between frames, fs; by `info["time_fs"]` if not given.
    fit_start, fit_end
        Lags of the fit, fs; without the last it is chosen by the data, not before `fit_start`, a
        hundredth of the whole time if not given.
    defects
        That the displacement is divided by; every atom of the element if not given.
    confidence, seed
        Of the interval, and of its bootstrap.

    Raises
    ------
    UserError
        If there is no such element, the time between frames is not known, or they are too few.
    """
    mobile = np.array([symbol == species for symbol in frames[0].get_chemical_symbols()])
    if not mobile.any():
        raise UserError(f"there is no {species} in {frames[0].get_chemical_formula()}")
    apart = interval if interval is not None else _time_between(frames)
    whole = apart * (len(frames) - 1)
    tracks = [displacements_in_framework(unwrapped(frames), mobile)]
    count = defects or int(mobile.sum())
    length = nearest_neighbour_distance(
        frames[0], species if mobile.sum() > 1 else frames[0].get_chemical_symbols()[0]
    )
    window = choose_window(
        [tracks],
        apart,
        fit_start=fit_start if fit_start is not None else max(whole / 100, apart),
        fit_end=fit_end,
        defects=count,
        jump_length=length,
    )
    return diffusivity(
        tracks,
        apart,
        defects=count,
        jump_length=length,
        fit_start=window.start,
        fit_end=window.end,
        confidence=confidence,
        generator=stream(seed, "bootstrap", species),
    )


def unwrapped(frames: Sequence[Atoms]) -> np.ndarray:
    """Positions along a trajectory without jumps across periodic boundaries, Å, (frames, N, 3).

    Every atom is taken to have moved by less than half a cell between frames; cells may change.
    """
    from ase.geometry import find_mic

    positions = [frames[0].get_positions()]
    for before, after in pairwise(frames):
        moved, _ = find_mic(after.positions - before.positions, after.cell, after.pbc)
        positions.append(positions[-1] + moved)
    return np.array(positions)


def _time_between(frames: Sequence[Atoms]) -> float:
    times = [atoms.info.get("time_fs") for atoms in frames]
    if len(frames) < 2 or any(time is None for time in times):
        raise UserError('give the time between frames, or frames with info["time_fs"]')
    steps = np.diff(np.array(times, dtype=float))
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        raise UserError('info["time_fs"] of the frames does not grow by equal steps')
    return float(steps[0])
