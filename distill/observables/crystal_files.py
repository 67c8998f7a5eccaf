"""Crystals of the user's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.data.structure_files import read_structure

if TYPE_CHECKING:
    from ase import Atoms


def read_crystal(structure: str, index: int = 0) -> Atoms:
    """One structure of a file (or `bundled:NAME`), periodic in all directions.

    Raises
    ------
    UserError
        As `read_structure`, or if it is not periodic.
    """
    atoms = read_structure(structure, index)
    if not atoms.pbc.all():
        raise UserError(
            f"{structure}: expected a crystal periodic in all directions, found pbc "
            f"{atoms.pbc.tolist()}"
        )
    return atoms
