"""Figure of the teacher's report: energy-volume curves and dimers, model by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.figures import FIGURE_WIDTH, colour_of, figure_style, smooth
from distill.core.quantities import MEV
from distill.teacher.simple_systems import ModelCurves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_DATA = "data"
_LABELS = {_DATA: "reference data"}
# Of the depth of a dimer's well, how far above zero is drawn; at least so many eV.
_ABOVE, _LEAST_ABOVE = 0.5, 0.5


def model_curves_figure(curves: Mapping[str, ModelCurves]) -> Figure | None:
    """A panel for each crystal and each dimer; lines are models, points the reference data.

    Parameters
    ----------
    curves
        By model; `data` are the labels' own.

    Returns
    -------
    Figure or None
        None where no model gave a curve.
    """
    panels = [
        (kind, system)
        for kind in ("crystals", "dimers")
        for system in dict.fromkeys(
            system
            for model, found in curves.items()
            if model != _DATA
            for system in getattr(found, kind)
        )
    ]
    if not panels:
        return None
    columns = 2 if len(panels) in (2, 4) else min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with figure_style() as plt:
        width = FIGURE_WIDTH * columns / _COLUMNS
        figure, axes = plt.subplots(rows, columns, figsize=(width, 2.9 * rows), squeeze=False)
        for axis, (kind, system) in zip(axes.ravel(), panels, strict=False):
            (_crystal_panel if kind == "crystals" else _dimer_panel)(axis, curves, system)
            axis.set_title(system)
        for axis in axes.ravel()[len(panels) :]:
            axis.set_axis_off()
        found = dict(
            pair
            for axis in axes.ravel()
            for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True)
        )
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found))
        return figure


def _crystal_panel(axis: Axes, curves: Mapping[str, ModelCurves], system: str) -> None:
    for name, curve in _of_system(curves, "crystals", system):
        x, y = curve.volumes, MEV * np.asarray(curve.energies)
        _draw(axis, name, x, y)
    window = [
        v for name, c in _of_system(curves, "crystals", system) if name != _DATA for v in c.volumes
    ]
    # Data far outside the models' windows would flatten the curves.
    axis.set_xlim(min(window) - 0.1, max(window) + 0.1)
    heights = [
        MEV * e
        for name, c in _of_system(curves, "crystals", system)
        if name != _DATA
        for e in c.energies
    ]
    axis.set_ylim(-0.05 * max(heights), 1.3 * max(heights))
    axis.set(xlabel="volume [Å³/atom]", ylabel="energy above minimum [meV/atom]")


def _dimer_panel(axis: Axes, curves: Mapping[str, ModelCurves], system: str) -> None:
    deepest = 0.0
    for name, curve in _of_system(curves, "dimers", system):
        _draw(axis, name, curve.distances, curve.energies)
        deepest = min(deepest, *curve.energies)
    axis.set_ylim(1.1 * deepest - 0.05, max(-_ABOVE * deepest, _LEAST_ABOVE))
    axis.set(xlabel="distance [Å]", ylabel="energy [eV]")


def _of_system(curves: Mapping[str, ModelCurves], kind: str, system: str) -> list[tuple[str, Any]]:
    of_kind = {name: getattr(found, kind) for name, found in curves.items()}
    return [(name, found[system]) for name, found in of_kind.items() if system in found]


def _draw(axis: Axes, name: str, x: Any, y: Any) -> None:
    label = _LABELS.get(name, name)
    if name == _DATA:
        axis.plot(x, y, "o", ms=4, mfc="none", color=colour_of("reference"), label=label, zorder=4)
    else:
        axis.plot(*smooth(np.asarray(x), np.asarray(y)), color=colour_of(name), label=label)
