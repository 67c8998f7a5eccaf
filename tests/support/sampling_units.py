"""Units of work of the sampling methods, as a sampling stage plans them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers import SERIAL

from distill.core.config import Section
from distill.core.executors import ParallelConfig
from distill.core.work import WorkFolder
from distill.sampling.method import SAMPLING_METHODS, Sampler
from distill.simulation.trust_bound import Trust


def sampling_units(
    method: str,
    *configs: Section,
    model: Any,
    out: Path,
    seed: int = 1,
    parallel: ParallelConfig = SERIAL,
    trust: Trust | None = None,
) -> list[Any]:
    """The units of a method with a model in a folder; what they start from is made."""
    sampler = Sampler(model, WorkFolder(out, seed, parallel), trust)
    return SAMPLING_METHODS.load(method)().units(configs, sampler)
