"""Which of the sampled structures are kept."""

from __future__ import annotations

import numpy as np

from distill.core.errors import UserError
from distill.metrics import selection
from distill.sampling.config import SelectionConfig


def select(descriptors: np.ndarray, config: SelectionConfig, seed: int) -> np.ndarray:
    """Indices of the `config.count` rows of `descriptors` that `config.method` keeps, ascending.

    Parameters
    ----------
    descriptors
        One row a structure, shape (structures, components).
    config
        Method and count; see `distill.metrics.selection.select`.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If there are no structures, or fewer than asked for.
    """
    available = len(descriptors)
    if available == 0:
        raise UserError(
            "no sampled structure is left to select from: every trajectory was set aside or every "
            "structure was filtered out; see sampling/outcomes.csv and the reasons above"
        )
    if config.count > available:
        raise UserError(
            f"selection.count is {config.count}, but only {available} distinct sampled structures "
            "are available: lower it, or sample more trajectories"
        )
    return selection.select(descriptors, config.method, config.count, seed)


def choices(
    descriptors: np.ndarray, chosen: np.ndarray, config: SelectionConfig, seed: int
) -> dict[str, np.ndarray]:
    """The chosen structures and, for comparison, as many by other methods.

    Parameters
    ----------
    descriptors
        Of the pool, shape (structures, components).
    chosen
        Indices that `config.method` chose.
    config
        With `compare_methods` every method is compared, else a random draw.
    seed
        The run's seed.
    """
    others = selection.METHODS if config.compare_methods else ("random",)
    found: dict[str, np.ndarray] = {config.method: chosen}
    for method in others:
        if method not in found:
            other = config.model_copy(update={"method": method, "count": len(chosen)})
            found[method] = select(descriptors, other, seed)
    return found
