"""Figures that the report adds: a training's history, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distill.core.figures import (
    COLOURS,
    FIGURE_WIDTH,
    figure_style,
    plain_ticks,
)
from distill.core.quantities import MEV

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Validation errors of the teacher over its epochs.

    Parameters
    ----------
    history
        Rows with `epoch`, `stage` (of the loss weights), `forces_rmse` [eV/Å] and `energy_rmse`
        [eV/atom].
    """
    panels = {
        "forces_rmse": "validation force RMSE [meV/Å]",
        "energy_rmse": "validation energy RMSE [meV/atom]",
    }
    epochs = [row["epoch"] for row in history]
    second = [row["epoch"] for row in history if row.get("stage", 1) > history[0].get("stage", 1)]
    with figure_style() as plt:
        from matplotlib.ticker import MaxNLocator

        figure, axes = plt.subplots(1, len(panels), figsize=(FIGURE_WIDTH, 3.0))
        for axis, (key, label) in zip(axes, panels.items(), strict=True):
            values = [MEV * row[key] for row in history]
            axis.plot(epochs, values, color=COLOURS["teacher"])
            if second:
                axis.axvline(second[0], color="#999999", lw=1, ls="--")
            axis.set(xlabel="epoch", ylabel=label, yscale="log")
            plain_ticks(axis.yaxis)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if second:
            axes[0].annotate(
                "second stage",
                (second[0], 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                va="top",
                fontsize=8.5,
            )
        return figure


def time_spent_figure(seconds: Mapping[str, float]) -> Figure:
    """Wall time of each stage of the run."""
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(7.2, 0.42 * len(seconds) + 0.9))
        total = sum(seconds.values()) or 1.0
        axis.barh(range(len(seconds)), list(seconds.values()), 0.62, color="#56B4E9")
        for row, value in enumerate(seconds.values()):
            text = f" {value:.0f} s ({100 * value / total:.0f} %)"
            axis.text(value, row, text, va="center", fontsize=9)
        axis.set_yticks(range(len(seconds)), list(seconds))
        axis.invert_yaxis()
        longest = max(seconds.values(), default=0.0) or 1.0
        axis.set(xlabel="wall time [s]", xlim=(0, 1.25 * longest))
        axis.grid(axis="y", visible=False)
        return figure
