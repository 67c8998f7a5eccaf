"""Single atoms in a set: they fix one-body energies, and nothing else is to be learnt from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.data.structures import config_type

if TYPE_CHECKING:
    from ase import Atoms

_CONFIG_TYPES = {"isolatedatom", "isolated_atom"}
# No model of the field reaches further in one step, Å.
LONGEST_CUTOFF = 10.0


def is_isolated_atom(atoms: Atoms, cutoff: float = LONGEST_CUTOFF) -> bool:
    """Whether a structure is one atom without neighbours.

    Its `config_type` says so (IsolatedAtom or isolated_atom, in any case), or it is not periodic,
    or its own images are all further away than a model sees.

    Parameters
    ----------
    atoms
        Structure.
    cutoff
        How far a model sees, Å.
    """
    if len(atoms) != 1:
        return False
    if config_type(atoms).lower() in _CONFIG_TYPES or not atoms.pbc.any():
        return True
    cell = np.asarray(atoms.cell)
    lengths = np.linalg.norm(cell[atoms.pbc], axis=1)
    heights = 1.0 / np.linalg.norm(np.linalg.pinv(cell)[:, atoms.pbc], axis=0)
    return bool(np.all(np.minimum(lengths, heights) > cutoff))


def without_isolated(structures: Sequence[Atoms], origin: Path) -> tuple[list[Atoms], list[Atoms]]:
    """The structures of a file that have an interaction, and its isolated atoms.

    Raises
    ------
    UserError
        If there are isolated atoms only.
    """
    alone = [is_isolated_atom(atoms) for atoms in structures]
    if all(alone):
        raise UserError(f"{origin} holds only isolated atoms; expected structures with interaction")
    pairs = list(zip(structures, alone, strict=True))
    return [a for a, single in pairs if not single], [a for a, single in pairs if single]
