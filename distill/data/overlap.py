"""What is in a training set and in a test set as well, whatever frame and cell it is written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.data.congruence import congruent
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.structures import reference_energy

if TYPE_CHECKING:
    from ase import Atoms

# Energies of one crystal in cells with other k points agree better than this, eV/atom.
_SAME_ENERGY = 5e-3
# Coordinates of successive frames of a trajectory, or of one structure rounded, differ by less, Å.
_NEAR = 0.02


def copies(structures: Sequence[Atoms]) -> list[tuple[int, int]]:
    """The pairs of `congruent` among structures with an interaction, as indices of all."""
    chosen = [i for i, atoms in enumerate(structures) if not is_isolated_atom(atoms)]
    pairs = congruent([structures[i] for i in chosen])
    return [(chosen[first], chosen[later]) for first, later in pairs]


def refuse_overlap(train: Sequence[Atoms], test: Sequence[Atoms]) -> None:
    """Refuse a test set that holds structures of the training set.

    A rotated or mirrored copy has the energy of the original in every model that knows no outer
    frame, and a crystal has it in every cell.

    Raises
    ------
    UserError
        With the indices of both.
    """
    pairs = copies([*train, *test])
    found = [(one, other - len(train)) for one, other in pairs if one < len(train) <= other]
    if found:
        shown = listed([f"structure {other} is training structure {one}" for one, other in found])
        raise UserError(
            f"{len(found)} of {len(test)} structures of the test set are also in the training "
            "set, up to translation, rotation, reflection, the order of like atoms and the cell "
            f"that a crystal is written in: {shown}. Errors on them would mean nothing: remove "
            "them from one of the sets"
        )


def say_near_copies(train: Sequence[Atoms], test: Sequence[Atoms]) -> int:
    """Number of test structures that hardly differ from a training structure, said.

    Hardly means by no more than 0.02 Å in any coordinate of the cell and of the atoms in their
    order, as successive frames of a trajectory do.
    """
    groups: dict[bytes, list[Atoms]] = {}
    for atoms in train:
        groups.setdefault(_key(atoms), []).append(atoms)
    stacks = {key: np.array([_coordinates(a) for a in members]) for key, members in groups.items()}
    near = []
    for index, atoms in enumerate(test):
        if (stack := stacks.get(_key(atoms))) is not None:
            own = _coordinates(atoms)
            # Their means are as near, which few are.
            candidates = stack[np.abs(stack.mean(axis=1) - own.mean()) <= _NEAR]
            if np.any(np.abs(candidates - own).max(axis=1, initial=0) <= _NEAR, axis=0):
                near.append(index)
    if near:
        say(
            f"{len(near)} of {len(test)} test structures are within {_NEAR:g} Å of a training "
            f"structure in every coordinate, as frames of one trajectory are: {listed(near)}; "
            "errors on them say little of new structures. Name each structure's trajectory "
            "(trajectory=...), by which they are held out together, or give a test set of its own"
        )
    return len(near)


def _key(atoms: Atoms) -> bytes:
    return bytes(atoms.numbers.tobytes() + atoms.pbc.tobytes())


def _coordinates(atoms: Atoms) -> np.ndarray:
    return np.concatenate([atoms.positions, atoms.cell[:]]).ravel()


def train_with_copies(
    structures: Sequence[Atoms], kept: Sequence[int], held: Sequence[int], names: Sequence[int]
) -> tuple[list[int], list[int]]:
    """A split in which what equals a training structure trains too.

    Says which structures these are, and which equal ones have different energies.

    Parameters
    ----------
    structures
        The whole set.
    kept, held
        Indices of its two parts.
    names
        What users know each structure by: its index in their file.

    Returns
    -------
    (list of int, list of int)
        The parts, ascending.

    Raises
    ------
    UserError
        If nothing is left to be held out.
    """
    original = list(range(len(structures)))
    pairs = copies(structures)
    for first, later in pairs:
        original[later] = first
    _say_other_energies(structures, pairs, names)
    trained = {original[i] for i in kept}
    moved = {i for i in held if original[i] in trained}
    if not moved:
        return list(kept), list(held)
    if len(moved) == len(held):
        raise UserError(
            f"all of {len(held)} structures that would be held out are training structures, "
            "rotated or in another cell: give more structures, or a test set of their own"
        )
    shown = listed([f"{names[i]} like {names[original[i]]}" for i in sorted(moved)])
    say(
        f"{len(moved)} structures that would be held out are training structures, rotated, "
        f"mirrored or in another cell; they train too: {shown}"
    )
    return sorted([*kept, *moved]), [i for i in held if i not in moved]


def _say_other_energies(
    structures: Sequence[Atoms], pairs: Sequence[tuple[int, int]], names: Sequence[int]
) -> None:
    found = []
    for pair in pairs:
        first, later = (structures[i] for i in pair)
        one, other = reference_energy(first), reference_energy(later)
        if one is not None and other is not None:
            apart = abs(one / len(first) - other / len(later))
            if apart > _SAME_ENERGY:
                found.append(f"{names[pair[0]]} and {names[pair[1]]} ({apart:.3g} eV/atom)")
    if found:
        say(
            f"{len(found)} pairs of structures are the same, rotated, mirrored or in another cell, "
            f"but their energies differ: {listed(found)}; expected one level of theory, look at "
            "their k points and spins"
        )
