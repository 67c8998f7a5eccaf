"""What labels say of themselves, without a model: names and values that point to a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.progress import say
from distill.data.structures import reference_forces, reference_stress

if TYPE_CHECKING:
    from ase import Atoms

# Structures in which some atoms have no force at all before they are more than coincidence.
_FEWEST = 3
# eV/Å³ (160 GPa): few sets are compressed so far, and stresses in GPa or kbar exceed it.
_LARGE_STRESS = 1.0


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


def say_large_stresses(structures: Sequence[Atoms], name: str) -> None:
    """Say that stresses are so large in half of the structures that they may be in another unit."""
    from ase.units import GPa

    stresses = [six for atoms in structures if (six := reference_stress(atoms)) is not None]
    if not stresses:
        return
    largest = float(np.median([np.abs(six).max() for six in stresses]))
    if largest > _LARGE_STRESS:
        say(
            f"{name}: stresses reach {largest:.3g} eV/Å³ ({largest / GPa:.3g} GPa) in half of the "
            "structures: are they in GPa or kbar, or virials in eV (data.virial_key)? Expected "
            "eV/Å³ with ASE's sign"
        )


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
