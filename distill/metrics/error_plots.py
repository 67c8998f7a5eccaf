"""Figures of errors: parity, histograms, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.figures import (
    FIGURE_WIDTH,
    PALETTE,
    colour_of,
    figure_style,
    plain_ticks,
)
from distill.core.quantities import MEV
from distill.data.structures import reference_energy, reference_forces

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_PAIR_COLOURS = PALETTE[:3]


_HEAVY = "#5B7C99"


_LIGHT = "#D55E00"


_MOST_POINTS = 20_000


_SMALLEST_ERROR = 0.01  # meV/Å


Pair = tuple[list["Atoms"], list["Atoms"]]


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
            if table.energy_per_atom:
                rmse = table.energy_per_atom.rmse * MEV
                _note(top, f"RMSE {rmse:.2f} meV/atom")
            notes = []
            for element, colour, (x, y) in _forces_by_group(true, predicted):
                _parity(bottom, x, y, colour, element, 3.0)
                rmse = math.sqrt(float(np.mean((y - x) ** 2))) * MEV
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
            groups.setdefault(element, {})[title] = np.abs(y - x) * MEV
    with figure_style() as plt:
        figure, axes = plt.subplots(1, len(groups), figsize=(FIGURE_WIDTH, 3.5), squeeze=False)
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
        handles, titles = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside upper center", ncols=len(titles))
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
