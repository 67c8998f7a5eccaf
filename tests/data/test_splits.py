"""Subsets and splits: nested, stratified, fixed by seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import UserError
from distill.data.splits import hold_out, nested_subset

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


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_every_type_stays_in_training_or_nothing_can_be_held_out(types, fraction):
    if len(types) == len(set(types)):
        with pytest.raises(UserError, match="cannot hold out"):
            hold_out(types, fraction, seed=1)
        return
    kept, held = hold_out(types, fraction, seed=1)
    assert held
    assert {types[i] for i in kept} == set(types)
    assert {types[i] for i in nested_subset(types, fraction, seed=1)} == set(types)
