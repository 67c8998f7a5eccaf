"""Models by name, loaded once in each process."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TypeAlias

from ase.calculators.calculator import Calculator

from distill.models.calculators import load_calculator
from distill.models.config import CalculatorConfig

ModelSpec: TypeAlias = str | os.PathLike[str] | CalculatorConfig


def cached_calculator(
    model: ModelSpec, dtype: str | None = None, device: str = "cpu"
) -> Calculator:
    """The calculator of a model file, import path or config; a process loads it once.

    Parameters
    ----------
    model
        What `distill.models.calculators.load_calculator` takes.
    dtype
        Precision of a MACE model, its own if None. Optimisers want float64.
    device
        Torch device of a MACE model.
    """
    if not isinstance(model, CalculatorConfig):
        model = CalculatorConfig(path=os.fspath(model))
    return _cached(model.model_dump_json(), dtype, device)


@lru_cache(maxsize=4)
def _cached(config: str, dtype: str | None, device: str) -> Calculator:
    spec = CalculatorConfig.model_validate_json(config)
    return load_calculator(spec, dtype=dtype, device=device)
