"""Subsets and splits: nested, stratified, fixed by seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import UserError
from distill.data.splits import (
    hold_out,
    hold_out_trajectories,
    last_frames,
    nested_subset,
    sources_of,
)

TYPES = ["slab"] * 120 + ["bulk"] * 60 + ["gas"] * 19 + ["rare"]


def test_a_larger_share_contains_every_smaller_one():
    shares = [set(nested_subset(TYPES, f, seed=3)) for f in (0.05, 0.1, 0.2, 0.4, 1.0)]
    for small, large in pairwise(shares):
        assert small < large
    assert shares[-1] == set(range(len(TYPES)))
    assert [len(s) for s in shares] == [10, 20, 40, 80, 200]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.5])
def test_shares_are_stratified_and_hold_rare_types(fraction):
    counts = Counter(TYPES[i] for i in nested_subset(TYPES, fraction, seed=3))
    assert counts["rare"] == 1
    assert counts["slab"] == pytest.approx(120 * fraction, abs=2)
    assert counts["bulk"] == pytest.approx(60 * fraction, abs=2)


def test_the_seed_fixes_the_choice():
    assert nested_subset(TYPES, 0.1, seed=3) == nested_subset(TYPES, 0.1, seed=3)
    assert nested_subset(TYPES, 0.1, seed=3) != nested_subset(TYPES, 0.1, seed=4)


def test_structures_of_one_type_are_chosen_whatever_the_other_types_are():
    """A type's own order depends on nothing but the seed and its name."""
    alone = nested_subset(["slab"] * 120, 0.1, seed=3)
    among = [i for i in nested_subset(TYPES, 0.1, seed=3) if i < 120]
    assert set(among[:10]) & set(alone)


def test_held_out_structures_are_stratified_and_leave_rare_types_in_training():
    kept, held = hold_out(TYPES, 0.2, seed=3)
    assert sorted(kept + held) == list(range(len(TYPES)))
    counts = Counter(TYPES[i] for i in held)
    assert len(held) == 40
    assert "rare" not in counts
    assert counts["slab"] == pytest.approx(24, abs=2)


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_every_type_stays_in_training_unless_all_have_one_structure(types, fraction):
    kept, held = hold_out(types, fraction, seed=1)
    assert held
    assert sorted(kept + held) == list(range(len(types)))
    if len(set(types)) < len(types):
        assert {types[i] for i in kept} == set(types)
    else:
        assert kept


def test_one_structure_cannot_be_split():
    with pytest.raises(UserError, match="cannot hold out any of 1 structures"):
        hold_out(["slab"], 0.5, seed=1)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_types_that_name_single_structures_do_not_change_the_share(fraction):
    types = [f"mp-{number}" for number in range(24)]
    assert len(nested_subset(types, fraction, seed=2)) == round(24 * fraction)
    assert len(hold_out(types, fraction, seed=2)[1]) == round(24 * fraction)
    pairs = sorted(types * 2)
    assert len(nested_subset(pairs, 0.2, seed=2)) == round(48 * 0.2)
    assert len(hold_out(pairs, 0.2, seed=2)[1]) == round(48 * 0.2)


def test_structures_of_single_types_are_a_stratum_beside_large_types():
    types = ["bulk"] * 20 + [f"mp-{number}" for number in range(20)]
    _, held = hold_out(types, 0.25, seed=5)
    assert len(held) == 10
    assert sum(i < 20 for i in held) == pytest.approx(5, abs=1)


def test_frames_of_one_trajectory_stay_together():
    sources = [f"run {number // 10}" for number in range(60)]
    kept, held = hold_out(["md"] * 60, 0.2, seed=1, sources=sources)
    assert {sources[i] for i in kept}.isdisjoint(sources[i] for i in held)
    assert len(held) == 10
    with pytest.raises(UserError, match="from 1 sources"):
        hold_out(["md"] * 10, 0.2, seed=1, sources=["run"] * 10)


def test_a_source_of_its_own_each_changes_no_split():
    assert hold_out(TYPES, 0.2, seed=3) == hold_out(TYPES, 0.2, 3, [str(i) for i in range(200)])


def frame(symbols="Cu2", **info):
    atoms = Atoms(symbols, positions=[[0, 0, 0], [0, 0, 2]])
    atoms.info.update(info)
    return atoms


def test_trajectories_are_known_by_name_or_by_frames_that_follow_each_other():
    named = [frame(trajectory=t) for t in ("a", "a", "b", "a")]
    assert sources_of(named) == ["name a", "name a", "name b", "name a"]
    frames = [frame(step=s) for s in (0, 10, 20, 0, 10)] + [frame("Ag2", Step=20), frame()]
    found = sources_of(frames)
    assert found == ["from 0"] * 3 + ["from 3"] * 2 + ["from 5", "from 6"]
    assert last_frames(found[:3], 0.2) == ([0, 1], [2])


@pytest.mark.parametrize(
    ("lengths", "types", "held"),
    [
        # Whole ones where they are short.
        ([5] * 8, ["md"] * 8, None),
        # One of each type, which has to stay.
        ([10, 10], ["hot", "cold"], [9, 19]),
        # One so long that to hold it out would take half of the structures.
        ([20, 20], ["md", "md"], [18, 19, 38, 39]),
        ([2, 2], ["a", "b"], [1]),
        # Neither of two kinds may be missing from what is kept.
        ([6, 6], ["bulk", "slab"], [5]),
    ],
)
def test_few_long_trajectories_give_their_ends(lengths, types, held, capsys):
    sources = [f"run {k}" for k, length in enumerate(lengths) for _ in range(length)]
    kinds = [kind for kind, length in zip(types, lengths, strict=True) for _ in range(length)]
    kept, found = hold_out_trajectories(kinds, sources, 0.1, 3)
    assert sorted([*kept, *found]) == list(range(len(sources)))
    if held is None:
        assert len({sources[i] for i in found}) == 1
        assert {sources[i] for i in kept}.isdisjoint(sources[i] for i in found)
    else:
        assert found == held
    assert ("last frames" in capsys.readouterr().out) == (held is not None)


def test_one_structure_of_each_type_cannot_be_split_by_trajectories_either():
    with pytest.raises(UserError, match="cannot hold out any"):
        hold_out_trajectories(["md"], ["run"], 0.5, seed=1)
