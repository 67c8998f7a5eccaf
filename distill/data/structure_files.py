"""Structures of the user's files."""

from __future__ import annotations

from ase import Atoms

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
