"""One style for every figure: units on every axis, PNG for the report and PDF for a paper.

Figures are matplotlib figures made from plain data, so that they can be drawn again from the files
of a run; `save_figure` writes one. Colours are those of Okabe and Ito (2008), which stay apart for
colour-blind readers and in print.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


COLOURS = {
    "reference": "#333333",
    "teacher": "#0072B2",
    "student": "#D55E00",
    "foundation": "#999999",
}


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


_OTHERS = PALETTE[2:]


FIGURE_WIDTH = 9.6


FIGURE_DPI = 144


_WIDE_RANGE = 500.0


_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "savefig.dpi": FIGURE_DPI,
    "pdf.fonttype": 42,
}


@contextmanager
def figure_style() -> Iterator[Any]:
    """Matplotlib's pyplot with the house style, without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_STYLE):
        yield pyplot


def save_figure(figure: Figure, folder: str | os.PathLike[str], name: str) -> Path:
    """Write `name`.png and `name`.pdf into a folder, close the figure, return the PNG's path."""
    target = Path(folder) / f"{name}.png"
    with figure_style() as plt:
        # Without dates, the same data give the same bytes.
        with atomic_path(target) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
        # The layout is settled; finding it again for the second file takes as long as drawing.
        figure.set_layout_engine("none")
        with atomic_path(target.with_suffix(".pdf")) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None})
        plt.close(figure)
    return target


def colour_of(name: str, index: int = 0) -> str:
    """Colour of a model by its name, or the next of the palette."""
    return COLOURS.get(name, _OTHERS[index % len(_OTHERS)])


def plain_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: powers of ten, with 2 and 5 between where they fit."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    wide = high > _WIDE_RANGE * low
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=9))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def panels(
    contents: Mapping[str, Any], height: float
) -> Iterator[tuple[Figure, list[tuple[Axes, str, Any]]]]:
    """A figure in the house style with a panel for each entry, in even rows of three at most.

    Gives the figure and, for each entry, its axes, title and content.
    """
    with figure_style() as plt:
        count = max(len(contents), 1)
        rows = math.ceil(count / 3)
        columns = math.ceil(count / rows)
        width = FIGURE_WIDTH if columns > 1 else 6.0
        figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False)
        for axis in axes.flat[count:]:
            axis.set_visible(False)
        pairs = zip(axes.flat, contents.items(), strict=False)
        yield figure, [(axis, title, content) for axis, (title, content) in pairs]


def smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A monotone-preserving curve through the images (PCHIP), which invents no extra maxima."""
    from scipy.interpolate import PchipInterpolator

    if len(x) < 3 or np.any(np.diff(x) <= 0):
        return x, y
    fine = np.linspace(x[0], x[-1], 200)
    return fine, PchipInterpolator(x, y)(fine)
