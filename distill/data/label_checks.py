"""What labels say of themselves, without a model: names and values that point to a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.progress import say
from distill.data.structures import reference_forces

if TYPE_CHECKING:
    from ase import Atoms

# Structures in which some atoms have no force at all before they are more than coincidence.
_FEWEST = 3


def say_zero_forces(structures: Sequence[Atoms], name: str) -> int:
    """Number of structures in which some atoms, but not all, have forces of exactly zero, said.

    ASE's `get_forces()` gives zero for atoms that a constraint fixes. A model that is trained on
    them learns that these atoms feel nothing. Zeros that the symmetry of an atom's site enforces
    come with rounding errors in most programs, and in few structures of a set.
    """
    fixed, some, labelled = 0, 0, 0
    for atoms in structures:
        forces = reference_forces(atoms)
        if forces is None or len(atoms) == 1:
            continue
        labelled += 1
        zero = np.all(forces == 0, axis=1)
        if not zero.any() or zero.all():
            continue
        some += 1
        held = _held(atoms)
        fixed += bool(held.any() and zero[held].all())
    found = fixed if fixed else some if some >= max(_FEWEST, labelled / 2) else 0
    if found:
        say(
            f"{name}: forces are exactly zero on some atoms of {found} of {labelled} structures"
            f"{', those that a constraint fixes' if fixed else ', as where atoms were held fixed'}"
            ": a model would learn that nothing acts on them; give the raw forces "
            "(ASE's get_forces(apply_constraint=False))"
        )
    return found


def _held(atoms: Atoms) -> np.ndarray:
    """Which atoms a constraint of the structure holds in all directions, shape (N,)."""
    from ase.constraints import FixAtoms

    held = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        everywhere = isinstance(constraint, FixAtoms) or (
            hasattr(constraint, "mask") and np.all(constraint.mask)
        )
        if everywhere:
            held[constraint.index] = True
    return held
