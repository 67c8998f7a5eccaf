"""Figures of learning curves: errors against the size of the training set, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.core.figures import COLOURS, FIGURE_WIDTH, PALETTE, figure_style, plain_ticks
from distill.core.quantities import MEV, quantity_title, quantity_unit
from distill.studies.curve_results import FOUNDATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX*"
_COLUMNS = 2
_MOST_TICKS = 8


def curve_figure(summary: Sequence[Mapping[str, Any]]) -> Figure:
    """RMSE against the number of training structures, a panel for each quantity.

    Points are means over seeds, bars reach from the smallest to the largest. Training from scratch
    is dashed, the untouched foundation a grey line.

    Parameters
    ----------
    summary
        As `curve_results.summarise` returns it.
    """
    quantities = list(dict.fromkeys(key for row in summary for key in row["errors"]))
    rows = -(-len(quantities) // _COLUMNS)
    with figure_style() as plt:
        figure, axes = plt.subplots(
            rows, _COLUMNS, figsize=(FIGURE_WIDTH, 3.3 * rows), squeeze=False
        )
        panels = axes.ravel()
        for axis, quantity in zip(panels, quantities, strict=False):
            _panel(axis, summary, quantity)
        for axis in panels[len(quantities) :]:
            axis.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
        return figure


def cost_figure(summary: Sequence[Mapping[str, Any]]) -> Figure:
    """Trainable parameters of each strategy, and its time per epoch on the most data it has.

    Parameters
    ----------
    summary
        As `curve_results.summarise` returns it.
    """
    largest: dict[str, Mapping[str, Any]] = {}
    for row in summary:
        if row["strategy"] != FOUNDATION:
            largest[row["strategy"]] = row
    panels = {
        "trainable_parameters": "trainable parameters",
        "per_structure": "fastest epoch, ms per structure",
    }
    with figure_style() as plt:
        size = (FIGURE_WIDTH, 0.38 * len(largest) + 1.1)
        figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
        for axis, (key, label) in zip(axes[0], panels.items(), strict=True):
            values = [_cost(row, key) for row in largest.values()]
            axis.barh(range(len(values)), values, 0.62, color="#56B4E9")
            for row_index, value in enumerate(values):
                text = f" {value:,.0f}" if key == "trainable_parameters" else f" {value:.3g}"
                axis.text(value, row_index, text, va="center", fontsize=9)
            axis.set_yticks(range(len(values)), list(largest))
            axis.invert_yaxis()
            axis.set(xlabel=label, xlim=(0, 1.25 * max(values)))
            axis.grid(axis="y", visible=False)
        return figure


def _cost(row: Mapping[str, Any], key: str) -> float:
    if key == "trainable_parameters":
        return float(row[key] or 0.0)
    return MEV * float(row["fastest_epoch_s"] or 0.0) / row["structures"]


def _panel(axis: Axes, summary: Sequence[Mapping[str, Any]], quantity: str) -> None:
    names = list(dict.fromkeys(row["strategy"] for row in summary))
    trained = [name for name in names if name != FOUNDATION]
    for name in [*trained, *[n for n in names if n == FOUNDATION]]:
        mine = [row for row in summary if row["strategy"] == name and quantity in row["errors"]]
        if not mine:
            continue
        x = [row["structures"] for row in mine]
        spread = [row["errors"][quantity] for row in mine]
        mean = [MEV * s["mean"] for s in spread]
        bars = [
            [MEV * (s["mean"] - s["low"]) for s in spread],
            [MEV * (s["high"] - s["mean"]) for s in spread],
        ]
        axis.errorbar(
            x, mean, yerr=bars, label=name, **_look(name, trained, mine[0]["from_scratch"])
        )
    axis.set(
        xscale="log",
        yscale="log",
        title=quantity_title(quantity),
        xlabel="training structures",
        ylabel=f"test RMSE [{quantity_unit(quantity)}]",
    )
    plain_ticks(axis.yaxis)
    shares = {row["structures"]: row["fraction"] for row in summary}
    if len(shares) <= _MOST_TICKS:
        axis.set_xticks(list(shares), [f"{n:.0f}\n{100 * f:g} %" for n, f in shares.items()])
        axis.minorticks_off()
    else:
        plain_ticks(axis.xaxis)


def _look(name: str, trained: Sequence[str], scratch: bool) -> dict[str, Any]:
    """Colour, marker and line of a curve."""
    common = {"capsize": 2.5, "ms": 4.5, "lw": 1.5, "elinewidth": 1.0}
    if name == FOUNDATION:
        return {**common, "color": COLOURS["foundation"], "ls": "-", "marker": ""}
    rank = trained.index(name)
    marker = _MARKERS[rank % len(_MARKERS)]
    if scratch:
        return {**common, "color": COLOURS["reference"], "ls": "--", "marker": marker}
    return {**common, "color": PALETTE[rank % len(PALETTE)], "ls": "-", "marker": marker}
