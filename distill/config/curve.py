"""Options of learning curves: which strategies, on how much data, how often."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from distill.core.config import Count, Fraction, Section, Seed

FOUNDATION_CURVE = "foundation"
_FREEZING = re.compile(r"f[0-6]")
_NAMED = "f0 to f6 or scratch"


class CurveStrategy(Section):
    """One way of training: what it changes in the teacher section."""

    teacher: dict[str, Any] = Field(
        default_factory=dict, description="options of the teacher section, in place of its own"
    )
    fractions: list[Fraction] | None = Field(
        None, description="shares of the training set for this strategy; curve.fractions if null"
    )
    steps: Count | None = Field(None, description="curve.steps for this strategy")

    @field_validator("teacher")
    @classmethod
    def _check_fraction(cls, teacher: dict[str, Any]) -> dict[str, Any]:
        if "fraction" in teacher:
            raise ValueError("fraction is set by the curve: give it under fractions")
        return teacher

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, fractions: list[float] | None) -> list[float] | None:
        return None if fractions is None else _distinct(fractions, "fraction")


class CurveConfig(Section):
    """Learning curves: every strategy on every fraction of the training set with every seed."""

    strategies: dict[str, CurveStrategy] = Field(
        default_factory=lambda: _named(["f0", "f4", "f5", "f6", "scratch"]),
        description=f"a list of {_NAMED}, or a mapping of names to what they change",
    )
    fractions: list[Fraction] = Field(
        default_factory=lambda: [0.05, 0.1, 0.2, 0.4, 1.0],
        description="shares of the training set; a larger one contains every smaller one",
    )
    seeds: list[Seed] = Field(
        default_factory=lambda: [1, 2],
        description="each draws other subsets, starting weights and orders",
    )
    steps: Count | None = Field(
        None,
        description="optimiser steps of every training, so that small sets are not trained less; "
        "stage two, patience and plateau keep their share of teacher.epochs; null: teacher.epochs",
    )
    least_epochs: Count = Field(
        1, description="epochs of every training at least, however many steps that takes"
    )

    @field_validator("strategies", mode="before")
    @classmethod
    def _named_strategies(cls, strategies: Any) -> Any:
        if isinstance(strategies, list):
            names = [str(name) for name in strategies]
            return _named(_distinct(names, "strategy"))
        if isinstance(strategies, dict):
            return {str(name): _completed(str(name), c) for name, c in strategies.items()}
        return strategies

    @field_validator("strategies")
    @classmethod
    def _check_strategies(cls, strategies: dict[str, CurveStrategy]) -> dict[str, CurveStrategy]:
        if not strategies:
            raise ValueError(f"no strategy: expected {_NAMED}, or names with their options")
        for name in strategies:
            if name == FOUNDATION_CURVE:
                raise ValueError("'foundation' is taken: the untouched model is always drawn")
            if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
                raise ValueError(f"'{name}' is no name for a folder: use letters, digits, - and _")
        return strategies

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, fractions: list[float]) -> list[float]:
        return _distinct(fractions, "fraction")

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: list[int]) -> list[int]:
        return _distinct(seeds, "seed")


def _named(names: list[str]) -> dict[str, CurveStrategy]:
    """Strategies that need no options: levels of freezing, and training from scratch."""
    strategies = {}
    for name in names:
        meaning = _meaning(name)
        if meaning is None:
            raise ValueError(
                f"unknown strategy '{name}': expected {_NAMED}; for any other, give its options, "
                f"as {name}: {{teacher: {{...}}}}"
            )
        strategies[name] = CurveStrategy(teacher=meaning)
    return strategies


def _completed(name: str, change: Any) -> Any:
    """What a strategy of a mapping changes, what its name says included."""
    if change is None:
        return _named([name])[name]
    meaning = _meaning(name)
    if meaning is None or not isinstance(change, dict):
        return change
    return {**change, "teacher": {**meaning, **(change.get("teacher") or {})}}


def _meaning(name: str) -> dict[str, Any] | None:
    """Options of the teacher section that a strategy's name stands for; None if it is free."""
    if name == "scratch":
        return {"strategy": "scratch"}
    return {"strategy": "finetune", "freeze": name} if _FREEZING.fullmatch(name) else None


def _distinct(values: list[Any], what: str) -> list[Any]:
    if not values:
        raise ValueError(f"the list is empty: expected at least one {what}")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        shown = ", ".join(str(value) for value in twice)
        raise ValueError(f"{what} {shown} is given more than once")
    return values
