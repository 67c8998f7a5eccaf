"""Structures that are there more than once, and whether their labels agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.data.structures import reference_energy, reference_forces, reference_stress

if TYPE_CHECKING:
    from ase import Atoms

# Labels of one structure by one code on two machines agree far better than this: eV/atom, eV/Å,
# eV/Å³.
_SAME_ENERGY, SAME_FORCE, _SAME_STRESS = 1e-3, 1e-2, 1e-3


def same_structures(structures: Sequence[Atoms], tolerance: float) -> list[tuple[int, int]]:
    """Pairs of indices of equal structures, the smaller index first, ascending.

    Equal are elements and periodicity, and every component of positions and cell within a
    tolerance; atoms are compared in their order.

    Parameters
    ----------
    structures
        Any structures.
    tolerance
        Å.
    """
    groups: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(structures):
        groups.setdefault(atoms.numbers.tobytes() + atoms.pbc.tobytes(), []).append(index)
    pairs = []
    for members in groups.values():
        if len(members) > 1:
            pairs += _close_pairs(structures, members, tolerance)
    return sorted(pairs)


def label_disagreement(one: Atoms, other: Atoms, *, same_force: float = SAME_FORCE) -> str | None:
    """How the labels of two equal structures differ, or None where those that both have agree.

    Parameters
    ----------
    one, other
        The same structure twice.
    same_force
        Forces that differ less agree, eV/Å.
    """
    kinds = (
        ("energies differ by", reference_energy, 1 / len(one), _SAME_ENERGY, "eV/atom"),
        ("forces differ by up to", reference_forces, 1.0, same_force, "eV/Å"),
        ("stresses differ by up to", reference_stress, 1.0, _SAME_STRESS, "eV/Å³"),
    )
    for words, label, scale, same, unit in kinds:
        first, second = label(one), label(other)
        if first is None or second is None:
            continue
        apart = scale * float(np.max(np.abs(np.asarray(first) - np.asarray(second))))
        if apart > same:
            return f"their {words} {apart:.3g} {unit}"
    return None


def _close_pairs(
    structures: Sequence[Atoms], members: Sequence[int], tolerance: float
) -> list[tuple[int, int]]:
    """Pairs of members within the tolerance, from a sort along one random direction."""
    points = np.array(
        [np.concatenate([structures[i].positions, structures[i].cell[:]]).ravel() for i in members]
    )
    direction = np.random.default_rng(0).uniform(0.5, 1.0, points.shape[1])
    direction *= np.random.default_rng(1).choice([-1.0, 1.0], points.shape[1])
    along = points @ direction
    reach = tolerance * np.abs(direction).sum()
    order = np.argsort(along, kind="stable")
    ordered = along[order]
    pairs = []
    for rank, k in enumerate(order):
        stop = int(np.searchsorted(ordered, along[k] + reach, side="right"))
        others = order[rank + 1 : stop]
        close = np.abs(points[others] - points[k]).max(axis=1) <= tolerance
        pairs += [_ascending(members[k], members[j]) for j in others[close]]
    return pairs


def _ascending(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
