"""Which of the bases tried is taken, and what limits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from distill.core.quantities import MEV
from distill.student.config import BasisSearch
from distill.student.search.basis_choice import Limits, Trial

# A larger basis is worth it if it takes off more than this share of the error.
_WORTH = 0.02
# A doubling that takes off less than this share of the error hardly helps.
_LITTLE = 0.05


def chosen_trial(trials: Sequence[Trial], options: BasisSearch) -> tuple[int, str]:
    """Place of the trial to take, and why.

    The smallest basis within the error asked for; without one, the smallest whose score is at most
    2 % above the best. Those that take longer than allowed are not among the trials.
    """
    best = min(trials, key=lambda trial: trial.score)
    if options.error is not None:
        within = [k for k, t in enumerate(trials) if t.near <= options.error]
        if within:
            index = min(within, key=lambda k: trials[k].functions)
            return index, (
                f"{_named(trials[index])}: the smallest within {MEV * options.error:g} meV/Å on "
                "trajectories left out"
            )
    good = [k for k, t in enumerate(trials) if t.score <= (1 + _WORTH) * best.score]
    index = min(good, key=lambda k: trials[k].functions)
    kinds = "" if trials[index].far_error is None else " and kinds of data"
    why = f"the smallest within {_WORTH:.0%} of the least error on trajectories{kinds} left out"
    if options.error is not None:
        why += f" (none reaches {MEV * options.error:g} meV/Å)"
    if options.time is not None:
        why += f", of those that take at most {options.time:g} µs an atom"
    return index, f"{_named(trials[index])}: {why}"


def fronted(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with those marked that no other beats in both time and error."""
    return [
        trial.model_copy(
            update={
                "on_front": not any(
                    other.us_per_atom is not None
                    and trial.us_per_atom is not None
                    and other.us_per_atom < trial.us_per_atom
                    and other.near <= trial.near
                    for other in trials
                )
            }
        )
        for trial in trials
    ]


def limits_of(
    trials: Sequence[Trial], index: int, structures: Sequence[int], errors: Sequence[float]
) -> Limits:
    """What limits the basis of a trial.

    Parameters
    ----------
    trials
        Of one shape, from small to large.
    index
        Of the one taken.
    structures, errors
        Numbers of structures, and the errors of that basis when it is fitted to as many, eV/Å.
    """
    around = trials[max(index - 2, 0) : index + 2]
    functions = [trial.functions for trial in around]
    by_functions = [trial.near for trial in around]
    gains = {"structures": _gain(structures, errors), "basis": _gain(functions, by_functions)}
    by: Literal["basis", "structures", "neither"] = "neither"
    if max(gains.values()) >= _LITTLE:
        by = "basis" if gains["basis"] > gains["structures"] else "structures"
    return Limits(
        structures=tuple(structures),
        structure_errors=tuple(errors),
        functions=tuple(functions),
        function_errors=tuple(by_functions),
        by=by,
    )


def _gain(sizes: Sequence[int], errors: Sequence[float]) -> float:
    """Share of the error that the last step takes off, for a doubling of the size."""
    if len(sizes) < 2 or sizes[-1] <= sizes[-2] or errors[-2] <= 0:
        return 0.0
    power = np.log(errors[-1] / errors[-2]) / np.log(sizes[-1] / sizes[-2])
    return float(1.0 - 2.0**power)


def _named(trial: Trial) -> str:
    degrees = ", ".join(f"{degree:g}" for degree in trial.totaldegree)
    return (
        f"order {trial.order}, degrees {degrees}, wL {trial.wL:g}, cutoff {trial.rcut:g} Å "
        f"({trial.functions} functions, {MEV * trial.near:.3g} meV/Å)"
    )
