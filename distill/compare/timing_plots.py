"""Figures of times: per call, against error, over atoms and cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distill.compare.timing_result import TimingBlock, TimingResult
from distill.core.figures import (
    FIGURE_WIDTH,
    colour_of,
    figure_style,
    plain_ticks,
)
from distill.core.quantities import MEV
from distill.metrics.errors import Errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def timing_figure(timing: TimingResult) -> Figure:
    """Time per energy-and-forces call of each model; its scaling where measured."""
    models = timing.models
    first = next(iter(models))
    with figure_style() as plt:
        cores = timing.core_scaling
        panels = 1 + bool(timing.scaling) + bool(cores)
        height = max(2.0, 0.55 * len(models) + 1.0)
        size = (FIGURE_WIDTH if panels > 1 else 7.2, max(height, 3.4) if panels > 1 else height)
        figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False)
        axis = axes[0, 0]
        for row, (name, times) in enumerate(models.items()):
            spread = times.forces_ms
            error = [[spread.median - spread.q1], [spread.q3 - spread.median]]
            colour = colour_of(name, row)
            axis.barh(row, spread.median, 0.6, color=colour, xerr=error, ecolor="#222222")
            text = f"{spread.median:.3g} ms"
            others = ((first, times.speedup_forces), (timing.beside, times.speedup_beside))
            for other, ratio in others:
                if ratio is not None and other not in (None, name):
                    than = f" than {other}" if timing.beside else ""
                    text += f", {ratio.median:.3g}× faster{than}"
            axis.text(spread.q3 * 1.12, row, text, va="center", fontsize=9)
        axis.set_yticks(range(len(models)), list(models))
        axis.invert_yaxis()
        medians = [times.forces_ms.median for times in models.values()]
        axis.set(xscale="log", xlim=(min(medians) / 3, max(medians) * 12))
        plain_ticks(axis.xaxis)
        axis.set(xlabel=f"time per energy-and-forces call [ms], {timing.atoms} atoms, one core")
        axis.grid(axis="y", visible=False)
        if timing.scaling:
            sizes = list(timing.blocks())[: 1 + len(timing.scaling)]
            _scaling_panel(axes[0, 1], sizes, "atoms", "atoms")
        if cores:
            _scaling_panel(axes[0, -1], cores, "cores", f"cores, {cores[0].atoms} atoms")
        return figure


def cost_figure(timing: TimingResult, forces: Mapping[str, Errors]) -> Figure:
    """Force RMSE against the reference over the time of a forces call: down and left is better.

    Parameters
    ----------
    timing
        Times of the models.
    forces
        Force errors against the reference by model, eV/Å.
    """
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(5.2, 3.4))
        for k, (name, errors) in enumerate(forces.items()):
            spread = timing.models[name].forces_ms
            x, y = spread.median, MEV * errors.rmse
            low, high = errors.rmse_interval or (errors.rmse, errors.rmse)
            axis.errorbar(
                x,
                y,
                xerr=[[x - spread.q1], [spread.q3 - x]],
                yerr=[[y - MEV * low], [MEV * high - y]],
                fmt="o",
                ms=7,
                capsize=3,
                color=colour_of(name, k),
            )
            axis.annotate(name, (x, y), xytext=(9, 7), textcoords="offset points")
        times = [timing.models[name].forces_ms.median for name in forces]
        axis.set(xscale="log", xlim=(min(times) / 2.5, max(times) * 4))
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        plain_ticks(axis.xaxis)
        axis.set(
            xlabel=f"time per energy-and-forces call [ms], {timing.atoms} atoms, one core",
            ylabel="force RMSE against the reference [meV/Å]",
        )
        return figure


def _scaling_panel(axis: Axes, blocks: Sequence[TimingBlock], key: str, label: str) -> None:
    """Time per atom of each model over the atoms or the cores of the blocks."""
    for row, name in enumerate(blocks[0].models):
        x = [getattr(block, key) for block in blocks]
        cost = [block.models[name].us_per_atom for block in blocks]
        axis.plot(x, cost, "o-", color=colour_of(name, row), ms=4.5, label=name)
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel="time per atom [µs]")
    plain_ticks(axis.xaxis)
    plain_ticks(axis.yaxis)
    axis.legend(fontsize=8.5)
