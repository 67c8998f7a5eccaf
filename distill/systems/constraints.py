"""Which atoms of a structure may move."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from distill.core.errors import UserError


def mobile_atoms(atoms: Atoms) -> np.ndarray:
    """Which atoms no `FixAtoms` constraint holds, boolean, shape (N,)."""
    mobile = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            mobile[constraint.index] = False
    return mobile


def refuse_other_constraints(atoms: Atoms, origin: str) -> None:
    """Refuse constraints that hold anything but whole atoms.

    Parameters
    ----------
    atoms
        Structure.
    origin
        What it is, for the message.

    Raises
    ------
    UserError
        For planes, lines, bonds, springs and whatever else ASE knows: they would be ignored.
    """
    others = {type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms)}
    if others:
        raise UserError(
            f"{origin} has the constraints {', '.join(sorted(others))}: expected FixAtoms alone, "
            "which holds whole atoms; others are not kept here. Remove them, or fix the atoms"
        )
