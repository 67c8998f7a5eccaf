"""What a section of diffusion will take, and how surely a student that is right passes."""

from __future__ import annotations

import numpy as np
from ase.units import kB

from distill.metrics.power import deviation_to_pass
from distill.observables.base import STUDENT, TEACHER
from distill.observables.call_times import work_text
from distill.observables.diffusion.config import DiffusionConfig

# Variance of ln D over that of so many independent jumps, 2 / 3N, for a window that starts after
# three residence times (walks without memory as in tests/observables/test_jumps.py).
_WINDOW = 8.0
CHANCE = 0.95


def diffusion_plan(config: DiffusionConfig, atoms: int, bound: float | None) -> list[str]:
    """Runs, calls and hours by model; with a bound, the jumps that its check takes.

    Parameters
    ----------
    config
        Runs.
    atoms
        In the cell.
    bound
        Of the difference of activation energies, eV.
    """
    lines = []
    for role in dict.fromkeys((TEACHER, STUDENT, *config.times)):
        time = config.times.get(role, config.time)
        runs = config.runs * len(config.temperatures)
        calls = runs * (time + config.equilibration_time) / config.time_step
        lines.append(work_text(role, f"{runs} runs of {time / 1e6:g} ns", calls, atoms))
    if bound is not None and len(set(config.temperatures)) > 1:
        beta = 1 / (kB * np.array(config.temperatures))
        spread = float(((beta - beta.mean()) ** 2).sum())
        variance = deviation_to_pass(bound, CHANCE, config.confidence) ** 2 * spread
        jumps = _WINDOW * 2 / 3 / variance
        lines.append(
            f"a student that is right passes a difference of activation energies within ±{bound:g} "
            f"eV with {100 * CHANCE:g} % after about {jumps:.0f} jumps of the teacher at each "
            "temperature and many more of the student, or twice as many of each"
        )
    return lines
