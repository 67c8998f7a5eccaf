"""Figures of a run: one style, units on every axis, PNG for the report and PDF for a paper.

Each function returns a matplotlib figure made from plain data, so that it can be drawn again from
the files of a run; `save_figure` writes it. Colours are those of Okabe and Ito (2008), which stay
apart for colour-blind readers and in print.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.artifacts import atomic_path
from distill.structures import reference_energy, reference_forces

if TYPE_CHECKING:
    from ase import Atoms
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
_PAIR_COLOURS = PALETTE[:3]
_HEAVY, _LIGHT = "#5B7C99", "#D55E00"
FIGURE_WIDTH = 9.6
FIGURE_DPI = 144
_MEV = 1000.0
_MOST_POINTS = 20_000
_WIDE_RANGE = 500.0
_SMALLEST_ERROR = 0.01  # meV/Å

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

Pair = tuple[list["Atoms"], list["Atoms"]]


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


def parity_figure(pairs: Mapping[str, Pair], tables: Mapping[str, Any]) -> Figure:
    """Energies per atom and force components, predicted against true, a column for each pair.

    Parameters
    ----------
    pairs
        (true, predicted) structures with labels, by a title such as `reference → teacher`.
    tables
        Their `error_table`s by the same titles.
    """
    with figure_style() as plt:
        figure, axes = plt.subplots(2, len(pairs), figsize=(FIGURE_WIDTH, 6.4), squeeze=False)
        for column, (title, (true, predicted)) in enumerate(pairs.items()):
            table = tables[title]
            top, bottom = axes[0, column], axes[1, column]
            per_atom = _energies_per_atom(true, predicted)
            _parity(top, *per_atom, _HEAVY, "structures", 5.0)
            top.set(title=title, xlabel="energy [eV/atom]", ylabel="predicted [eV/atom]")
            if table["energy_per_atom"]:
                rmse = table["energy_per_atom"]["rmse"] * _MEV
                _note(top, f"RMSE {rmse:.2f} meV/atom")
            notes = []
            for element, colour, (x, y) in _forces_by_group(true, predicted):
                _parity(bottom, x, y, colour, element, 3.0)
                rmse = math.sqrt(float(np.mean((y - x) ** 2))) * _MEV
                notes.append(f"{element} RMSE {rmse:.1f} meV/Å")
            bottom.set(xlabel="force component [eV/Å]", ylabel="predicted [eV/Å]")
            for axis in (top, bottom):
                axis.locator_params(axis="x", nbins=4)
            _note(bottom, "\n".join(notes))
            if column == 0:
                bottom.legend(loc="lower right", markerscale=3, handletextpad=0.2)
        return figure


def error_histogram_figure(pairs: Mapping[str, Pair]) -> Figure:
    """Distributions of force-component errors, one panel for each group of elements."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for title, (true, predicted) in pairs.items():
        for element, _, (x, y) in _forces_by_group(true, predicted):
            groups.setdefault(element, {})[title] = np.abs(y - x) * _MEV
    with figure_style() as plt:
        figure, axes = plt.subplots(1, len(groups), figsize=(FIGURE_WIDTH, 3.2), squeeze=False)
        for axis, (element, errors) in zip(axes[0], groups.items(), strict=True):
            pooled = np.concatenate(list(errors.values()))
            low, high = (
                max(float(np.percentile(pooled, 0.5)), _SMALLEST_ERROR),
                float(pooled.max()) * 1.1,
            )
            edges = np.geomspace(low, max(high, 10 * low), 36)
            for colour, (title, values) in zip(_PAIR_COLOURS, errors.items(), strict=False):
                weights = np.full(len(values), 100.0 / len(values))
                style = {"histtype": "step", "color": colour, "linewidth": 1.5}
                axis.hist(np.maximum(values, low), edges, weights=weights, label=title, **style)
            axis.set(xscale="log", title=f"{element} atoms", ylabel="share of components [%]")
            axis.set_xlabel("absolute force error [meV/Å]")
            plain_ticks(axis.xaxis)
        axes[0, 0].legend(loc="upper left", fontsize=8.5)
        return figure


def timing_figure(timing: Mapping[str, Any]) -> Figure:
    """Time per energy-and-forces call of each model; its scaling where measured."""
    models = timing["models"]
    first = next(iter(models))
    with figure_style() as plt:
        cores = timing.get("core_scaling", [])
        panels = 1 + bool(timing["scaling"]) + bool(cores)
        height = max(2.0, 0.55 * len(models) + 1.0)
        size = (FIGURE_WIDTH if panels > 1 else 7.2, max(height, 3.4) if panels > 1 else height)
        figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False)
        axis = axes[0, 0]
        for row, (name, times) in enumerate(models.items()):
            spread = times["forces_ms"]
            median = spread["median"]
            error = [[median - spread["q1"]], [spread["q3"] - median]]
            axis.barh(row, median, 0.6, color=colour_of(name, row), xerr=error, ecolor="#222222")
            ratio = times["speedup_forces"]["median"]
            text = f"{median:.3g} ms" + ("" if name == first else f", {ratio:.3g}× faster")
            axis.text(spread["q3"] * 1.12, row, text, va="center", fontsize=9)
        axis.set_yticks(range(len(models)), list(models))
        axis.invert_yaxis()
        medians = [t["forces_ms"]["median"] for t in models.values()]
        axis.set(xscale="log", xlim=(min(medians) / 3, max(medians) * 12))
        plain_ticks(axis.xaxis)
        axis.set(xlabel=f"time per energy-and-forces call [ms], {timing['atoms']} atoms, one core")
        axis.grid(axis="y", visible=False)
        if timing["scaling"]:
            _scaling_panel(axes[0, 1], [timing, *timing["scaling"]], "atoms", "atoms")
        if cores:
            _scaling_panel(axes[0, -1], cores, "cores", f"cores, {cores[0]['atoms']} atoms")
        return figure


def cost_figure(timing: Mapping[str, Any], tables: Mapping[str, Any]) -> Figure:
    """Force RMSE against the reference over the time of a forces call: down and left is better.

    Parameters
    ----------
    timing
        As `time_models` returns it.
    tables
        `error_table` of each timed model against the reference, by model name.
    """
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(5.2, 3.4))
        for k, (name, table) in enumerate(tables.items()):
            spread, forces = timing["models"][name]["forces_ms"], table["forces"]
            x, y = spread["median"], _MEV * forces["rmse"]
            low, high = forces["rmse_interval"] or (forces["rmse"], forces["rmse"])
            axis.errorbar(
                x,
                y,
                xerr=[[x - spread["q1"]], [spread["q3"] - x]],
                yerr=[[y - _MEV * low], [_MEV * high - y]],
                fmt="o",
                ms=7,
                capsize=3,
                color=colour_of(name, k),
            )
            axis.annotate(name, (x, y), xytext=(9, 7), textcoords="offset points")
        times = [timing["models"][name]["forces_ms"]["median"] for name in tables]
        axis.set(xscale="log", xlim=(min(times) / 2.5, max(times) * 4))
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        plain_ticks(axis.xaxis)
        axis.set(
            xlabel=f"time per energy-and-forces call [ms], {timing['atoms']} atoms, one core",
            ylabel="force RMSE against the reference [meV/Å]",
        )
        return figure


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
            values = [_MEV * row[key] for row in history]
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


def calibration_figure(
    predicted: Sequence[float], actual: Sequence[float], unit: str, name: str = "student"
) -> Figure:
    """Actual against predicted errors in bins of equal count; the diagonal is perfect.

    Parameters
    ----------
    predicted, actual
        Root mean square predicted standard deviation and root mean square error of each bin.
    unit
        Of both.
    name
        Whose errors.
    """
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(4.6, 3.8))
        values = np.concatenate([np.asarray(predicted), np.asarray(actual)])
        positive = values[values > 0]
        low, high = (positive.min() / 1.5, positive.max() * 1.5) if len(positive) else (0.1, 1.0)
        axis.plot([low, high], [low, high], color="#999999", lw=1, label="perfect")
        axis.plot(predicted, actual, "o-", color=colour_of(name), ms=5, label=name)
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        plain_ticks(axis.xaxis)
        plain_ticks(axis.yaxis)
        axis.set(xlabel=f"predicted uncertainty [{unit}]", ylabel=f"actual RMSE [{unit}]")
        axis.legend(loc="upper left")
        return figure


def _energies_per_atom(true: list[Atoms], predicted: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        (reference_energy(t), reference_energy(p), len(t))
        for t, p in zip(true, predicted, strict=True)
    ]
    known = [(t / n, p / n) for t, p, n in pairs if t is not None and p is not None]
    values = np.array(known).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _forces_by_group(
    true: list[Atoms], predicted: list[Atoms]
) -> Iterator[tuple[str, str, tuple[np.ndarray, np.ndarray]]]:
    """Force components by element, heaviest first; hydrogen in a colour of its own."""
    numbers = sorted({int(z) for atoms in true for z in atoms.numbers}, reverse=True)
    colours = [_HEAVY, "#009E73", "#CC79A7", "#56B4E9"]
    for rank, number in enumerate(numbers):
        x, y = [], []
        for t, p in zip(true, predicted, strict=True):
            ft, fp = reference_forces(t), reference_forces(p)
            if ft is not None and fp is not None:
                x.append(ft[t.numbers == number].ravel())
                y.append(fp[t.numbers == number].ravel())
        if x and sum(map(len, x)):
            from ase.data import chemical_symbols

            colour = _LIGHT if number == 1 else colours[rank % len(colours)]
            yield chemical_symbols[number], colour, (np.concatenate(x), np.concatenate(y))


def _parity(axis: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str, size: float) -> None:
    if len(x) > _MOST_POINTS:
        # A picture of more points looks the same and weighs more.
        chosen = np.linspace(0, len(x) - 1, _MOST_POINTS).astype(int)
        x, y = x[chosen], y[chosen]
    axis.plot(x, y, ".", ms=size, alpha=0.6, color=colour, mec="none", label=label, rasterized=True)
    if len(x):
        axis.axline((float(x.mean()), float(x.mean())), slope=1, color="#222222", lw=0.8, zorder=1)


def _note(axis: Axes, text: str) -> None:
    axis.text(0.04, 0.96, text, transform=axis.transAxes, va="top", fontsize=8.5, color="#222222")


def plain_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: powers of ten, with 2 and 5 between where they fit."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    wide = high > _WIDE_RANGE * low
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=9))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _scaling_panel(axis: Axes, blocks: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    """Time per atom of each model over the atoms or the cores of the blocks."""
    for row, name in enumerate(blocks[0]["models"]):
        x = [block[key] for block in blocks]
        cost = [block["models"][name]["us_per_atom"] for block in blocks]
        axis.plot(x, cost, "o-", color=colour_of(name, row), ms=4.5, label=name)
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel="time per atom [µs]")
    plain_ticks(axis.xaxis)
    plain_ticks(axis.yaxis)
    axis.legend(fontsize=8.5)
