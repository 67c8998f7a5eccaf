"""Single atoms in a set: they fix one-body energies, and nothing else is to be learnt from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY

if TYPE_CHECKING:
    from ase import Atoms

_CONFIG_TYPES = {"isolatedatom", "isolated_atom"}
# No model of the field reaches further in one step, Å.
LONGEST_CUTOFF = 10.0
# Boxes and grids move the energy of a free atom by less, other spin states by more, eV.
_SAME_ENERGY = 0.01


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
    if str(atoms.info.get(CONFIG_TYPE_KEY, "")).lower() in _CONFIG_TYPES or not atoms.pbc.any():
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


def isolated_energies(
    structures: Sequence[Atoms], cutoff: float = LONGEST_CUTOFF
) -> dict[str, float]:
    """Energies of the isolated atoms of a set by chemical symbol, eV; the mean of equal ones.

    Raises
    ------
    UserError
        If two isolated atoms of an element have different energies (two spin states, or levels of
        theory): which of them is meant would depend on the order of the file.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for index, atoms in enumerate(structures):
        energy = atoms.info.get(ENERGY_KEY)
        if energy is not None and is_isolated_atom(atoms, cutoff):
            found.setdefault(atoms.get_chemical_symbols()[0], []).append((index, float(energy)))
    for symbol, labelled in found.items():
        low, high = min(labelled, key=lambda at: at[1]), max(labelled, key=lambda at: at[1])
        if high[1] - low[1] > _SAME_ENERGY:
            one, other = sorted((low, high))
            raise UserError(
                f"the energies of two isolated {symbol} atoms differ: {one[1]:.4f} eV in structure "
                f"{one[0]} and {other[1]:.4f} eV in structure {other[0]}; expected one state of "
                "each element: remove the other one"
            )
    return {symbol: float(np.mean([e for _, e in at])) for symbol, at in found.items()}
