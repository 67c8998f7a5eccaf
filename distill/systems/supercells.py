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
        If it would have more than a million atoms.
    """
    count = len(atoms) * repeats[0] * repeats[1] * repeats[2]
    if count > _MOST_ATOMS:
        shown = "x".join(map(str, repeats))
        raise UserError(
            f"a supercell {shown} of {len(atoms)} atoms has {count} atoms, expected at most "
            f"{_MOST_ATOMS}"
        )
    repeated: Atoms = atoms.repeat(tuple(repeats))
    return repeated
