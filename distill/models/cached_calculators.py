"""Models by name, loaded once in each process."""

from __future__ import annotations

import os
from functools import lru_cache

from ase.calculators.calculator import Calculator

from distill.models.base import Family
from distill.models.calculators import ModelSpec, load_model
from distill.models.config import CalculatorConfig


def cached_model(model: ModelSpec, dtype: str | None = None, device: str = "cpu") -> Family:
    """A model; one named by a file, import path or config is loaded once in a process.

    Parameters
    ----------
    model
        What `distill.models.calculators.load_model` takes.
    dtype
        Precision of a MACE model, its own if None. Optimisers want float64.
    device
        Torch device of a MACE model.
    """
    name = _name(model)
    return load_model(model) if name is None else _model(name, dtype, device)


def cached_calculator(
    model: ModelSpec, dtype: str | None = None, device: str = "cpu"
) -> Calculator:
    """The calculator of `cached_model`, made once as well; it starts afresh at each call.

    What it keeps of an earlier structure, such as a neighbour list, changes last digits, and a unit
    made again has to be what it was.
    """
    name = _name(model)
    if name is None:
        return load_model(model).calculator()
    calculator = _calculator(name, dtype, device)
    forget(calculator)
    return calculator


def forget(calculator: Calculator) -> None:
    """Have a calculator start afresh, as one that was asked nothing."""
    for name in ("forget", "reset"):
        if start_afresh := getattr(calculator, name, None):
            start_afresh()
            return


def _name(model: ModelSpec) -> str | None:
    """What a model is kept by; None for one in memory."""
    if isinstance(model, (str, os.PathLike)):
        model = CalculatorConfig(path=os.fspath(model))
    return model.model_dump_json() if isinstance(model, CalculatorConfig) else None


@lru_cache(maxsize=4)
def _model(name: str, dtype: str | None, device: str) -> Family:
    return load_model(CalculatorConfig.model_validate_json(name), dtype=dtype, device=device)


@lru_cache(maxsize=4)
def _calculator(name: str, dtype: str | None, device: str) -> Calculator:
    return _model(name, dtype, device).calculator()
