"""Which atoms of a structure may move."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms


def mobile_atoms(atoms: Atoms) -> np.ndarray:
    """Which atoms no `FixAtoms` constraint holds, boolean, shape (N,)."""
    mobile = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            mobile[constraint.index] = False
    return mobile
