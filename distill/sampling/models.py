"""Models by name, loaded once in each process."""

from __future__ import annotations

from functools import lru_cache

from ase.calculators.calculator import Calculator

from distill.calculators import load_calculator


@lru_cache(maxsize=4)
def cached_calculator(model: str) -> Calculator:
    """The calculator of a model file or import path; a worker loads it for its first unit only."""
    return load_calculator(model)
