"""How a student's basis was chosen, as both pages of report show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.core.results import read_result
from distill.student.search.basis_choice import BasisChoice, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_NAME = "basis"
_STAGES = {
    "radial": "cutoff and weight of l",
    "shape": "degrees from order to order",
    "size": "size",
}
_LIMITS = {
    "basis": "The basis limits this student: a larger one brings its error down faster than more "
    "structures do.",
    "structures": "The number of structures limits this student: more of them bring its error down "
    "faster than a larger basis does.",
    "neither": "Neither a larger basis nor more structures bring its error down much.",
}


def basis_choice(path: Path | None) -> dict[str, Any] | None:
    """What the pages show of a search for the basis; None where there was none.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    if path is None or not path.is_file():
        return None
    choice = read_result(path, BasisChoice)
    limits = choice.limits
    return {
        **choice.model_dump(mode="json"),
        "stages": {
            title: [trial.model_dump(mode="json") for trial in choice.trials if trial.stage == name]
            for name, title in _STAGES.items()
        },
        "limited": _LIMITS[limits.by],
        "with_structures": _errors(limits.structures, limits.structure_errors, "structures"),
        "with_functions": _errors(limits.functions, limits.function_errors, "functions"),
    }


def basis_figure(shown: dict[str, Any]) -> Figure:
    """Force error on what was left out against the time of a call, the one taken marked."""
    from distill.core.figures import FIGURE_WIDTH, figure_style

    trials = [Trial.model_validate(t) for t in shown["trials"] if t["us_per_atom"] is not None]
    if not trials:
        raise UserError("the search for the basis has no basis whose time was measured")
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(0.7 * FIGURE_WIDTH, 3.2))
        times = [trial.us_per_atom for trial in trials]
        axis.plot(times, [MEV * t.near for t in trials], "o-", label="trajectories left out")
        if all(trial.far_error is not None for trial in trials):
            far = [MEV * (trial.far_error or 0.0) for trial in trials]
            axis.plot(times, far, "s--", label="kinds of data left out")
        for trial in trials:
            if trial.chosen:
                place = (trial.us_per_atom, MEV * trial.near)
                axis.plot(*place, "o", ms=14, mfc="none", mec="k", label="taken")
        axis.set_yscale("log")
        axis.set(xlabel="time of a call [µs/atom], one core", ylabel="force error [meV/Å]")
        axis.legend()
        return figure


def _errors(sizes: tuple[int, ...], errors: tuple[float, ...], what: str) -> str:
    """Errors against a size, in words."""
    parts = [
        f"{MEV * error:.3g} meV/Å with {size:,}" for size, error in zip(sizes, errors, strict=True)
    ]
    return f"{', '.join(parts)} {what}"
