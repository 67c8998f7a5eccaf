"""Structures of the user's files."""

from __future__ import annotations

from ase import Atoms

from distill.core.errors import UserError
from distill.core.input_files import resolve_file


def read_structure(name: str, index: int = 0) -> Atoms:
    """One structure of a file that ASE reads, with its masses and constraints, without labels.

    Raises
    ------
    UserError
        If the file is missing or unreadable, or has no such structure.
    """
    from ase.io import iread

    path = resolve_file(name)
    try:
        structures = list(iread(path, index=":"))
    except Exception as error:
        # ASE's readers raise whatever their parsing meets first.
        raise UserError(
            f"{path} cannot be read as a structure: {type(error).__name__}: {error}"
        ) from None
    if not -len(structures) <= index < len(structures):
        raise UserError(f"{path} holds {len(structures)} structures, expected one at index {index}")
    found = structures[index]
    bare = Atoms(found.symbols, positions=found.positions, cell=found.cell, pbc=found.pbc)
    bare.set_constraint(found.constraints)
    if found.has("masses"):
        bare.set_masses(found.get_masses())
    return bare
