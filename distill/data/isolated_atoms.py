"""Single atoms in a set: they fix one-body energies, and nothing else is to be learnt from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.data.own_images import own_image
from distill.data.structures import is_named_isolated, reference_energy

if TYPE_CHECKING:
    from ase import Atoms

# No crystal with one atom in its cell is so wide, and few models reach further in one step, Å.
LONGEST_CUTOFF = 7.5
# Energies of one atom in boxes of different size agree far better than this, eV.
_SAME_ENERGY = 0.05


def is_isolated_atom(atoms: Atoms, cutoff: float = LONGEST_CUTOFF) -> bool:
    """Whether a structure is one atom without neighbours.

    Its `config_type` says so (IsolatedAtom, isolated_atom), or it is not periodic, or its own
    images are all as far away as a model sees, or further.

    Parameters
    ----------
    atoms
        Structure.
    cutoff
        How far a model sees, Å.
    """
    if len(atoms) != 1:
        return False
    if is_named_isolated(atoms) or not atoms.pbc.any():
        return True
    cell = np.asarray(atoms.cell)
    lengths = np.linalg.norm(cell[atoms.pbc], axis=1)
    heights = 1.0 / np.linalg.norm(np.linalg.pinv(cell)[:, atoms.pbc], axis=0)
    return bool(np.all(np.minimum(lengths, heights) >= cutoff))


def say_nearly_isolated(structures: Sequence[Atoms], origin: str | Path) -> None:
    """Say which single atoms are too near their images for free atoms, and touch none of them.

    Parameters
    ----------
    structures
        The set.
    origin
        Its file or name, for the message.
    """
    found = [
        index
        for index, atoms in enumerate(structures)
        if len(atoms) == 1
        and not is_isolated_atom(atoms)
        and own_image(atoms, LONGEST_CUTOFF) is not None
    ]
    if found:
        say(
            f"{origin}: the single atoms of structures {listed(found)} have periodic images nearer "
            f"than {LONGEST_CUTOFF:g} Å and are crystals to models that see so far, which take no "
            "atomic reference energy from them; name a free atom by config_type IsolatedAtom"
        )


def without_isolated(
    structures: Sequence[Atoms], origin: str | Path
) -> tuple[list[Atoms], list[Atoms]]:
    """The structures of a set that have an interaction, and its isolated atoms.

    Parameters
    ----------
    structures
        The set.
    origin
        Its file or name, for the message.

    Raises
    ------
    UserError
        If there are isolated atoms only.
    """
    alone = [is_isolated_atom(atoms) for atoms in structures]
    if alone and all(alone):
        raise UserError(f"{origin} holds only isolated atoms; expected structures with interaction")
    pairs = list(zip(structures, alone, strict=True))
    return [a for a, single in pairs if not single], [a for a, single in pairs if single]


def isolated_energies(isolated: Sequence[Atoms]) -> dict[str, float]:
    """Energy of a free atom of each element, eV: the mean over the labelled ones that there are.

    Parameters
    ----------
    isolated
        Isolated atoms.

    Raises
    ------
    UserError
        If two of one element disagree, as of different spin states or levels of theory.
    """
    found: dict[str, list[float]] = {}
    for atoms in isolated:
        energy = reference_energy(atoms)
        if energy is not None:
            found.setdefault(atoms.get_chemical_symbols()[0], []).append(energy)
    for symbol, energies in found.items():
        if max(energies) - min(energies) > _SAME_ENERGY:
            listed = ", ".join(f"{energy:.6g}" for energy in sorted(set(energies)))
            raise UserError(
                f"the isolated {symbol} atoms of the set differ in energy: {listed} eV; expected "
                "one spin state and one level of theory: remove the others"
            )
    return {symbol: float(np.mean(energies)) for symbol, energies in found.items()}
