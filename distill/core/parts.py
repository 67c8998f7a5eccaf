"""Long runs in parts, each a file to go on from after a kill, with the same result either way.

What a part depends on is what the part before it left, and nothing that lives in a process: a run
that was killed goes on with the part that it was in, and leaves what one does that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.progress import say

# Steps of dynamics in a part: half an hour of a costly model, a second of a student.
STEPS_IN_PART = 2000
# Entry of a part that another part follows.
UNDER_WAY = "under_way"

Part = dict[str, Any]


def lengths_of_parts(steps: int, each: int) -> list[int]:
    """Steps of each part of so many, the last of which may be shorter."""
    return [min(each, steps - begun) for begun in range(0, steps, each)]


def in_parts(folder: Path | None, computed: Callable[[Part | None, int], Part]) -> list[Part]:
    """The parts of a run: those that are in its folder, and those that are left to do.

    Parameters
    ----------
    folder
        `Unit.parts`; without one nothing is kept. A run of one part alone writes none.
    computed
        Makes a part from the one before it (None at the start) and its number. It says in the
        entry `under_way` whether another follows.
    """
    parts: list[Part] = []
    while not parts or parts[-1][UNDER_WAY]:
        number = len(parts)
        file = None if folder is None else folder / f"{number:05d}.npz"
        part = None if file is None else read_part(file)
        if part is None:
            part = computed(parts[-1] if parts else None, number)
            if file is not None and (number or part[UNDER_WAY]):
                write_part(file, part)
        parts.append(part)
    return parts


def write_part(file: Path, part: Part) -> None:
    """Write a part; it is there whole or not at all."""
    with atomic_path(file) as temporary:
        np.savez(temporary, **part)


def read_part(file: Path) -> Part | None:
    """A part that was written; None where there is none, or said, where it is damaged."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as data:
            part = dict(data)
    except (OSError, ValueError, EOFError, BadZipFile):
        part = {}
    if UNDER_WAY not in part:
        say(f"{file} is damaged and made again")
        return None
    return part
