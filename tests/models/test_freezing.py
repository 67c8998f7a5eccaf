"""Freezing levels and patterns over the names of a MACE model's parameters."""

from __future__ import annotations

import pytest

from distill.core.errors import UserError
from distill.models.mace.freezing import freezing

SIZES = {
    "node_embedding.linear.weight": 32,
    "interactions.0.linear_up.weight": 100,
    "interactions.0.conv_tp_weights.layer0.weight": 200,
    "interactions.1.linear_up.weight": 300,
    "products.0.linear.weight": 400,
    "readouts.0.linear.weight": 5,
    "readouts.1.linear_1.weight": 6,
}
TOTAL = sum(SIZES.values())


@pytest.mark.parametrize(
    ("level", "frozen"),
    [("f0", 0), ("f1", 32), ("f2", 32), ("f3", 32), ("f4", 32), ("f5", 632), ("f6", 1032)],
)
def test_levels_freeze_the_front_of_the_network(level, frozen):
    result = freezing(SIZES, level)
    assert (result.n_frozen, result.n_trainable) == (frozen, TOTAL - frozen)
    assert set(result.frozen) | set(result.trainable) == set(SIZES)
    assert not set(result.frozen) & set(result.trainable)


@pytest.mark.parametrize(
    "pattern", ["interactions", "interactions.*", "re:^interactions", "interactions.?.*"]
)
def test_patterns_are_module_names_globs_and_regular_expressions(pattern):
    assert freezing(SIZES, [pattern]).n_frozen == 600


def test_several_patterns_freeze_their_union():
    result = freezing(SIZES, ["interactions.0", "*linear_up*"])
    assert result.n_frozen == 600
    assert freezing(SIZES, "interactions.1").frozen == ("interactions.1.linear_up.weight",)


def test_soft_freezing_scales_the_learning_rate_of_trainable_parameters():
    result = freezing(SIZES, "f4", {"interactions.0": 0.1, "interactions": 0.3, "*embedding*": 0.5})
    assert result.lr_factors["interactions.0.linear_up.weight"] == 0.1
    assert result.lr_factors["interactions.1.linear_up.weight"] == 0.3
    assert result.lr_factors["readouts.0.linear.weight"] == 1.0
    assert set(result.lr_factors) == set(result.trainable)


def test_the_summary_counts_and_names_what_trains():
    assert freezing(SIZES, "f6").summary() == (f"11 of {TOTAL:,} parameters train (1 %): readouts")


@pytest.mark.parametrize(
    ("freeze", "factors", "words"),
    [
        ("f7", {}, ["f7", "f6", "f0"]),
        ("*", {}, ["freezes all", "strategy: none"]),
        (["interactions", "products", "readouts", "node_embedding"], {}, ["freezes all"]),
        ("interaction_blocks", {}, ["interaction_blocks", "matches none", "node_embedding"]),
        (["re:("], {}, ["re:(", "regular expression"]),
        ("f4", {"layers.*": 0.1}, ["lr_factors", "layers.*", "matches none"]),
    ],
)
def test_impossible_strategies_are_refused(freeze, factors, words):
    with pytest.raises(UserError) as caught:
        freezing(SIZES, freeze, factors)
    for word in words:
        assert word in str(caught.value)
