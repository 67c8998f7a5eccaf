"""The map of structures as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from distill.compare.map_result import HELD_OUT, TEST, TRAINING, StructureMap
from distill.core.figures import COLOURS, panels
from distill.core.quantities import MEV

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    TRAINING: COLOURS["foundation"],
    HELD_OUT: COLOURS["teacher"],
    TEST: COLOURS["student"],
}
_COLOURED = {
    "disagreement": ("student against teacher [meV/Å]", MEV),
    "expected": ("expected force error [meV/Å]", MEV),
    "grade": ("extrapolation grade", 1.0),
}


def map_figure(found: StructureMap) -> Figure:
    """The plane of the structures, coloured by their source, by errors and by grades."""
    values: dict[str, Any] = {"source": None}
    for key in _COLOURED:
        if any(getattr(point, key) is not None for point in found.points):
            values[key] = [getattr(point, key) for point in found.points]
    places = np.array([(point.x, point.y) for point in found.points]).reshape(-1, 2)
    with panels(values, 3.2) as (figure, axes):
        for axis, title, content in axes:
            axis.set(xlabel="first principal component", ylabel="second")
            if content is None:
                for source, colour in _COLOURS.items():
                    own = np.array([point.source == source for point in found.points], bool)
                    if own.any():
                        label = f"{source} ({own.sum()})"
                        axis.plot(*places[own].T, ".", ms=4, color=colour, label=label)
                axis.legend(loc="best")
                continue
            name, unit = _COLOURED[title]
            known = np.array([value is not None for value in content])
            numbers = unit * np.array([value for value in content if value is not None])
            # A few outliers would leave one colour for all the others.
            top = float(np.quantile(numbers, 0.98))
            order = np.argsort(numbers)
            x, y = places[known][order].T
            drawn = axis.scatter(
                x, y, c=numbers[order], s=6, cmap="viridis", vmax=top, rasterized=True
            )
            figure.colorbar(drawn, ax=axis, label=name, extend="max")
        return figure
