"""Structures by the name that a config gives them: those of a file, and presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.data.structure_files import read_structure
from distill.systems.defects import LIF_LATTICE_CONSTANT

if TYPE_CHECKING:
    from ase import Atoms

LIF_PRESET = "preset:lif"


def named_structure(name: str, index: int = 0) -> Atoms:
    """A structure of a file, of a bundled set, or the preset `preset:lif`, the cubic cell of LiF.

    Parameters
    ----------
    name
        File that ASE reads, `bundled:NAME` or `preset:lif`.
    index
        Which structure of the file.

    Raises
    ------
    UserError
        If there is no such file, structure in it, or preset.
    """
    from ase.build import bulk

    if name == LIF_PRESET:
        return bulk("LiF", "rocksalt", a=LIF_LATTICE_CONSTANT, cubic=True)
    if name.startswith("preset:"):
        raise UserError(f"there is no structure '{name}': the only preset is {LIF_PRESET}")
    return read_structure(name, index)
