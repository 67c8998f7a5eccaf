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
# As shares of the cell: root mean square step between frames, and step of an atom over a border.
_LONGEST_STEP, _JUMP = 1 / 6, 0.8


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
        If there is no such element, the time between frames is not known, they are too few, or
        their atoms cannot be followed from one to the next.
    """
    _refuse_other_atoms(frames)
    mobile = np.array([symbol == species for symbol in frames[0].get_chemical_symbols()])
    if not mobile.any():
        raise UserError(f"there is no {species} in {frames[0].get_chemical_formula()}")
    apart = interval if interval is not None else _time_between(frames)
    whole = apart * (len(frames) - 1)
    positions = unwrapped(frames)
    _refuse_unfollowed(frames, positions)
    tracks = [displacements_in_framework(positions, mobile)]
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


def _refuse_other_atoms(frames: Sequence[Atoms]) -> None:
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, frames[0].numbers):
            raise UserError(
                f"frame {index} has {atoms.get_chemical_formula()} in another order or number of "
                "atoms than frame 0: expected the same atoms in the same order (sort by their IDs)"
            )


def _refuse_unfollowed(frames: Sequence[Atoms], positions: np.ndarray) -> None:
    """Refuse frames between which atoms move so far that no one can tell where they went.

    Steps that are a sixth of the cell in the root mean square are often half a cell long, which is
    taken for a step the other way; of atoms in another order they are about 0.29 of it.
    """
    steps = np.diff(positions, axis=0)
    for index in range(3):
        inverse = [np.linalg.pinv(atoms.cell[:])[:, index] for atoms in frames[1:]]
        scaled = np.einsum("fni,fi->fn", steps, np.array(inverse).reshape(-1, 3))
        periodic = frames[0].pbc[index]
        longest = max(
            float(np.sqrt(np.mean(scaled[:, frames[0].numbers == z] ** 2))) if len(scaled) else 0.0
            for z in set(frames[0].numbers.tolist())
        )
        if periodic and longest > _LONGEST_STEP:
            raise UserError(
                f"atoms move by {longest:.2f} of the cell along axis {index} between frames: they "
                "cannot be followed across its borders. Either the frames list like atoms in "
                "another order (sort by their IDs), or they lie too far apart (save more often)"
            )
        if not periodic and frames[0].cell.rank == 3 and np.abs(scaled).max(initial=0) > _JUMP:
            raise UserError(
                f"an atom jumps across the cell along axis {index} between two frames, and pbc is "
                "F there: positions seem to be wrapped; set pbc to T"
            )


def _time_between(frames: Sequence[Atoms]) -> float:
    times = [atoms.info.get("time_fs") for atoms in frames]
    if len(frames) < 2 or any(time is None for time in times):
        raise UserError('give the time between frames, or frames with info["time_fs"]')
    steps = np.diff(np.array(times, dtype=float))
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        raise UserError('info["time_fs"] of the frames does not grow by equal steps')
    return float(steps[0])
