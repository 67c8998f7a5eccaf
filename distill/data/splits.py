"""Subsets of a training set: fixed by seed, nested, and stratified by `config_type`."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms

_SUBSET, _HELD_OUT = 1, 2
# So many types that have one structure each are names of structures rather than kinds of them.
_MANY_SINGLE = 5
# Structures a stratum on average, below which a small share cannot hold one of each.
_FEWEST = 5
_POOL = "types of one structure"
# Entries of `info` that name the run which a structure is from, and those that count its frames.
_SOURCE_KEYS = ("trajectory", "trajectory_id", "traj", "traj_id", "source", "run_id", "sequence")
_FRAME_KEYS = ("frame", "step", "timestep", "time", "time_fs", "md_step")


def least_subset(types: Sequence[str]) -> int:
    """Structures in the smallest subset: one of each type, where they are kinds of structures."""
    kinds = len(set(_strata(types)))
    return kinds if _FEWEST * kinds <= len(types) else 1


def nested_subset(types: Sequence[str], fraction: float, seed: int) -> list[int]:
    """Indices of a stratified share of a set; a larger share contains every smaller one.

    Each type is shuffled by its own random stream and spread evenly over one common order, of
    which the subset is the beginning. The first structure of every type comes first of all, so
    that rare types are always represented where there are few types for the structures. Types of
    one structure each count as one type where there are many.

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
        Ascending.
    """
    count = max(round(fraction * len(types)), least_subset(types))
    return sorted(_order(_strata(types), [seed, _SUBSET])[:count])


def hold_out(
    types: Sequence[str], fraction: float, seed: int, sources: Sequence[str] | None = None
) -> tuple[list[int], list[int]]:
    """Split a set in two, stratified by type; a type's only structure is never held out.

    Where many types have one structure each, or all have, they count as one type. Structures of
    one source go to the same part.

    Parameters
    ----------
    types
        Type of each structure.
    fraction
        Share held out, above 0 and below 1; at least one structure is.
    seed
        Fixes the split.
    sources
        What each structure is from (see `sources_of`); each is its own if left out.

    Returns
    -------
    (list of int, list of int)
        Indices kept and indices held out, ascending.

    Raises
    ------
    UserError
        If there are too few structures, or sources, to hold any out.
    """
    groups: dict[str, list[int]] = {}
    for index, source in enumerate(map(str, range(len(types))) if sources is None else sources):
        groups.setdefault(source, []).append(index)
    members = list(groups.values())
    strata = _strata([Counter(types[i] for i in own).most_common(1)[0][0] for own in members])
    candidates = _order(strata, [seed, _HELD_OUT])[len(set(strata)) :]
    if not candidates:
        raise UserError(
            f"cannot hold out any of {len(types)} structures from {len(members)} sources: one of "
            "each config_type must remain; give more structures, or a file of their own"
        )
    count = max(round(fraction * len(types)), 1)
    held: list[int] = []
    # Taken from the end of the order, where each type's later structures lie evenly.
    for group in reversed(candidates):
        if held and len(held) + len(members[group]) / 2 > count:
            continue
        held += members[group]
        if len(held) >= count:
            break
    apart = set(held)
    return [i for i in range(len(types)) if i not in apart], sorted(held)


def sources_of(structures: Sequence[Atoms]) -> list[str]:
    """What each structure is from, as its `info` says; each is its own where that says nothing.

    Frames of one trajectory resemble their neighbours, so that errors on some of them, after
    training on the others, would mean little. They are known by an entry such as `trajectory`, or
    as successive structures of equal composition whose `frame`, `step` or `time` grows.
    """
    named = [entry(atoms, _SOURCE_KEYS) for atoms in structures]
    counts = [_number(entry(atoms, _FRAME_KEYS)) for atoms in structures]
    sources: list[str] = []
    for index, name in enumerate(named):
        follows = (
            index > 0
            and name is None
            and named[index - 1] is None
            and _follows(counts[index - 1], counts[index])
            and np.array_equal(structures[index - 1].numbers, structures[index].numbers)
        )
        if name is not None:
            sources.append(f"name {name}")
        else:
            sources.append(sources[-1] if follows else f"from {index}")
    return sources


def hold_out_trajectories(
    types: Sequence[str], sources: Sequence[str], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Whole trajectories held out as `hold_out` does, or the ends of those that there are.

    The ends are held out, and that is said, where trajectories are too few to leave one of each
    type, or so long that one is more than twice the share.

    Parameters
    ----------
    types, sources
        Type of each structure, and what it is from.
    fraction, seed
        As for `hold_out`.

    Returns
    -------
    (list of int, list of int)
        Indices kept and indices held out, ascending.

    Raises
    ------
    UserError
        If there are too few structures to hold any out.
    """
    try:
        kept, held = hold_out(types, fraction, seed, sources)
    except UserError:
        if len(set(sources)) == len(sources):
            raise
        kept, held = [], []
    counts, left = Counter(types), {types[i] for i in kept}
    gone = any(counts[types[i]] > 1 and types[i] not in left for i in held)
    if held and not gone and len(held) <= 2 * max(round(fraction * len(types)), 1):
        return kept, held
    say(
        "the structures are frames of one trajectory, or of few long ones: the last frames of each "
        "are held out"
    )
    return last_frames(sources, fraction)


def last_frames(sources: Sequence[str], fraction: float) -> tuple[list[int], list[int]]:
    """Split every trajectory in its beginning and its end, whose share of all frames is given.

    The first frame of each is kept, and one frame at least is held out.
    """
    groups: dict[str, list[int]] = {}
    for index, source in enumerate(sources):
        groups.setdefault(source, []).append(index)
    held: list[int] = []
    seen = 0
    for members in groups.values():
        seen += len(members)
        count = min(round(fraction * seen) - len(held), len(members) - 1)
        held += members[len(members) - max(count, 0) :]
    if not held:
        held = [max(groups.values(), key=len)[-1]]
    apart = set(held)
    return [i for i in range(len(sources)) if i not in apart], sorted(held)


def entry(atoms: Atoms, keys: Sequence[str]) -> str | None:
    """The first of some entries of a structure's `info`, whatever their case, in words, or None."""
    lower = {str(key).lower(): value for key, value in atoms.info.items()}
    value = next((lower[key] for key in keys if key in lower), None)
    return None if value is None else str(value)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _follows(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and before < after


def _strata(types: Sequence[str]) -> list[str]:
    """The types, of which those with one structure each are pooled where there are many or only."""
    counts = Counter(types)
    single = {kind for kind, count in counts.items() if count == 1}
    if len(single) < _MANY_SINGLE and len(single) < len(counts):
        return list(types)
    return [_POOL if kind in single else kind for kind in types]


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
