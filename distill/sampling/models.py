"""Models by name, loaded once in each process."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TypeAlias

from ase.calculators.calculator import Calculator

from distill.calculators import load_calculator
from distill.config import CalculatorConfig

ModelSpec: TypeAlias = str | os.PathLike[str] | CalculatorConfig


def cached_calculator(model: ModelSpec) -> Calculator:
    """The calculator of a model file, import path or config; a process loads it once."""
    if not isinstance(model, CalculatorConfig):
        model = CalculatorConfig(path=os.fspath(model))
    return _cached(model.model_dump_json())


@lru_cache(maxsize=4)
def _cached(config: str) -> Calculator:
    return load_calculator(CalculatorConfig.model_validate_json(config))
