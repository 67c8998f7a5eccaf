"""Structures repeated along the axes of their cells."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from distill.core.errors import UserError

_MOST_ATOMS = 10**6


def supercell(atoms: Atoms, repeats: Sequence[int]) -> Atoms:
    """A structure repeated along its three cell vectors.

    Raises
    ------
    UserError
        If it would have more than a million atoms, or the cell has no vector along an axis that
        is repeated: the copies of a molecule would lie on top of each other.
    """
    count = len(atoms) * repeats[0] * repeats[1] * repeats[2]
    shown = "x".join(map(str, repeats))
    if count > _MOST_ATOMS:
        raise UserError(
            f"a supercell {shown} of {len(atoms)} atoms has {count} atoms, expected at most "
            f"{_MOST_ATOMS}"
        )
    for axis, repeat in enumerate(repeats):
        if repeat > 1 and not atoms.cell[axis].any():
            raise UserError(
                f"a supercell {shown} of {atoms.get_chemical_formula()}: "
                f"the structure has no cell along axis {axis + 1}; repeat it along others only, or "
                "not at all"
            )
    repeated: Atoms = atoms.repeat(tuple(repeats))
    return repeated
