"""Structures of the user's files, and files of structures in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.input_files import resolve_file
from distill.data.structure_formats import read_frames


def read_structure(name: str, index: int = 0) -> Atoms:
    """One structure of a file that ASE reads, with its masses and constraints, without labels.

    Raises
    ------
    UserError
        If the file is missing or unreadable, or has no such structure.
    """
    path = resolve_file(name)
    frames, _ = read_frames(path)
    if not -len(frames) <= index < len(frames):
        raise UserError(f"{path} holds {len(frames)} structures, expected one at index {index}")
    found = frames[index].atoms
    bare = Atoms(found.symbols, positions=found.positions, cell=found.cell, pbc=found.pbc)
    bare.set_constraint(found.constraints)
    if found.has("masses"):
        bare.set_masses(found.get_masses())
    return bare


def structure_file(structure: Any, folder: Path, name: str) -> str:
    """File of a structure, which is written where it is in memory, constraints included.

    Raises
    ------
    UserError
        If it is neither a file nor one structure.
    """
    if isinstance(structure, (str, os.PathLike)):
        return os.fspath(structure)
    if not isinstance(structure, Atoms):
        raise UserError(
            f"expected one structure (ase.Atoms) or a file, found {type(structure).__name__}"
        )
    path = folder / f"{name}.traj"
    with atomic_path(path) as temporary:
        bare = structure.copy()
        bare.calc = None
        write(temporary, bare, format="traj")
    return str(path)
