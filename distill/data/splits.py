"""Subsets of a training set: fixed by seed, nested, and stratified by `config_type`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from distill.core.errors import UserError

_SUBSET, _HELD_OUT = 1, 2


def nested_subset(types: Sequence[str], fraction: float, seed: int) -> list[int]:
    """Indices of a stratified share of a set; a larger share contains every smaller one.

    Each type is shuffled by its own random stream and spread evenly over one common order, of
    which the subset is the beginning. The first structure of every type comes first of all, so
    that rare types are always represented.

    Parameters
    ----------
    types
        Type of each structure.
    fraction
        Share of the structures, above 0 and at most 1.
    seed
        Fixes the order.

    Returns
    -------
    list of int
        At least one index of each type, ascending.
    """
    count = max(round(fraction * len(types)), len(set(types)))
    return sorted(_order(types, [seed, _SUBSET])[:count])


def hold_out(types: Sequence[str], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split a set in two, stratified by type; a type's only structure is never held out.

    Parameters
    ----------
    types
        Type of each structure.
    fraction
        Share held out, above 0 and below 1; at least one structure is.
    seed
        Fixes the split.

    Returns
    -------
    (list of int, list of int)
        Indices kept and indices held out, ascending.

    Raises
    ------
    UserError
        If there are too few structures to hold any out.
    """
    order = _order(types, [seed, _HELD_OUT])
    candidates = order[len(set(types)) :]
    if not candidates:
        raise UserError(
            f"cannot hold out any of {len(types)} structures of {len(set(types))} types: one of "
            "each type must remain; give more structures, or a larger fraction"
        )
    count = min(max(round(fraction * len(types)), 1), len(candidates))
    # Taken from the end of the order, where each type's later structures lie evenly.
    held = set(candidates[-count:])
    return [i for i in range(len(types)) if i not in held], sorted(held)


def _order(types: Sequence[str], seeds: Sequence[int]) -> list[int]:
    """All indices: one of each type first, then the rest in proportion to the types' sizes."""
    groups: dict[str, list[int]] = {}
    for index, kind in enumerate(types):
        groups.setdefault(kind, []).append(index)
    keyed: list[tuple[float, float, int]] = []
    for kind, members in groups.items():
        stream = np.random.SeedSequence([*seeds, zlib.crc32(kind.encode())])
        generator = np.random.default_rng(stream)
        for rank, member in enumerate(generator.permutation(members)):
            key = 0.0 if rank == 0 else (rank + generator.random()) / len(members)
            keyed.append((key, generator.random(), int(member)))
    return [member for _, _, member in sorted(keyed)]
