"""Figures of observables: minimum energy paths, sticking probabilities, diffusivities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.figures import FIGURE_WIDTH, colour_of, figure_style
from distill.core.quantities import MEV

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHADES = ("white", "#999999", "#333333")


def barrier_figure(profiles: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Energy along the minimum energy path, one panel for each facet.

    Parameters
    ----------
    profiles
        By panel title and model name: `distance` [Å] and `energy` [eV] of the images, energies
        relative to the first, and `barrier` [eV].
    """
    with _panels(profiles, 3.6) as (figure, panels):
        for axis, title, models in panels:
            for k, (name, path) in enumerate(models.items()):
                x, y = np.asarray(path["distance"]), np.asarray(path["energy"])
                label = f"{name}: {path['barrier']:.3f} eV"
                label += "" if path.get("converged", True) else " (not converged)"
                colour = colour_of(name, k)
                axis.plot(*_smooth(x, y), color=colour, lw=1.4)
                axis.plot(x, y, "o", color=colour, ms=4.5, mec="white", mew=0.6, label=label)
            axis.axhline(0, color="#BBBBBB", lw=0.8)
            axis.set(title=title, xlabel="path length [Å]", ylabel="energy [eV]")
            axis.legend(loc="best", fontsize=8.5, title="barrier", title_fontsize=8.5)
        return figure


def sticking_figure(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Figure:
    """Sticking probability against collision energy with 95 % Wilson intervals.

    Parameters
    ----------
    curves
        By panel title and curve name: points with `energy` [eV], `probability` and `interval`
        (None where unknown); published ones, drawn as squares, have a `source`.
    """
    with _panels(curves, 3.4) as (figure, panels):
        for axis, title, models in panels:
            shifts = np.linspace(-0.006, 0.006, len(models)) if len(models) > 1 else [0.0]
            for k, (shift, (name, points)) in enumerate(zip(shifts, models.items(), strict=True)):
                points = sorted(points, key=lambda p: float(p["energy"]))
                y = np.array([p["probability"] for p in points])
                ends = [p["interval"] or 2 * [p["probability"]] for p in points]
                published = "source" in points[0]
                style: dict[str, Any] = {"ms": 5, "capsize": 3, "label": name}
                if published:
                    style |= {"fmt": "s", "color": "#333333", "mfc": _SHADES[k % len(_SHADES)]}
                else:
                    style |= {"fmt": "-o" if len(points) > 1 else "o", "color": colour_of(name, k)}
                x = np.array([p["energy"] for p in points]) + (0 if published else shift)
                axis.errorbar(x, y, np.abs(np.array(ends).T - y), **style)
            axis.set(
                title=title, xlabel="collision energy [eV]", ylabel="sticking probability $S_0$"
            )
            energies = [p["energy"] for points in models.values() for p in points]
            margin = 0.1 if max(energies) == min(energies) else 0.05
            axis.set(ylim=(-0.03, 1.03), xlim=(min(energies) - margin, max(energies) + margin))
            if len(set(energies)) <= 8:
                axis.set_xticks(sorted(set(energies)))
            axis.legend(loc="best", fontsize=8.5)
        return figure


@contextmanager
def _panels(
    contents: Mapping[str, Any], height: float
) -> Iterator[tuple[Figure, list[tuple[Axes, str, Any]]]]:
    """A figure in the house style with a panel for each entry, at most three in a row.

    Gives the figure and, for each entry, its axes, title and content.
    """
    with figure_style() as plt:
        count = max(len(contents), 1)
        columns = min(count, 3)
        rows = math.ceil(count / columns)
        width = FIGURE_WIDTH if columns > 1 else 6.0
        figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False)
        for axis in axes.flat[count:]:
            axis.set_visible(False)
        panels = zip(axes.flat, contents.items(), strict=False)
        yield figure, [(axis, title, content) for axis, (title, content) in panels]


def arrhenius_figure(diffusion: Mapping[str, Any]) -> Figure:
    """Diffusivity against inverse temperature, with intervals, upper bounds and Arrhenius fits.

    Parameters
    ----------
    diffusion
        As `run_diffusion` returns it.
    """
    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(6.4, 4.2))
        for k, (name, result) in enumerate(diffusion["models"].items()):
            colour, fit = colour_of(name, k), result["arrhenius"]
            label = name
            if fit:
                low, high = fit["activation_energy_interval"]
                label += f": {fit['activation_energy']:.3f} eV ({low:.3f} to {high:.3f})"
                _arrhenius_line(axis, fit, colour)
            points = [p for p in result["temperatures"] if p["value"] is not None]
            x = [1000 / p["temperature"] for p in points]
            y = np.array([p["value_cm2_per_s"] for p in points])
            ends = np.array([p["interval_cm2_per_s"] for p in points]).reshape(-1, 2).T
            axis.errorbar(
                x, y, np.abs(ends - y), fmt="o", ms=5, capsize=3, color=colour, label=label
            )
            bounds = [p for p in result["temperatures"] if p.get("upper_bound_cm2_per_s")]
            axis.plot(
                [1000 / p["temperature"] for p in bounds],
                [p["upper_bound_cm2_per_s"] for p in bounds],
                "v",
                mfc="none",
                color=colour,
            )
        axis.set(yscale="log", xlabel="1000 / temperature [1/K]", ylabel="diffusivity [cm²/s]")
        axis.legend(fontsize=8.5, title="activation energy", title_fontsize=8.5)
        return figure


def bulk_figure(bulk: Mapping[str, Any]) -> Figure:
    """Energy-volume curves; lattice constants over temperature and phonons where they are there.

    Parameters
    ----------
    bulk
        As `run_bulk` returns it.
    """
    models = bulk["models"]
    panels: list[Callable[[Axes, Mapping[str, Any]], None]] = [_energy_volume_panel]
    if any(result["thermal_expansion"] for result in models.values()):
        panels.append(_expansion_panel)
    if any(result["phonons"] for result in models.values()):
        panels += [_phonon_panel, _density_panel]
    with figure_style() as plt:
        columns = min(len(panels), 2)
        rows = math.ceil(len(panels) / columns)
        size = (FIGURE_WIDTH if columns > 1 else 5.2, 3.5 * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            panel(axis, models)
        axes[0, 0].legend(fontsize=8.5)
        return figure


def _energy_volume_panel(axis: Axes, models: Mapping[str, Any]) -> None:
    for k, (name, result) in enumerate(models.items()):
        curve = result["equation_of_state"]
        atoms = curve["volume"] / curve["volume_per_atom"]
        energies = np.asarray(curve["energies"]) / atoms - curve["energy_per_atom"]
        volumes = np.asarray(curve["volumes"]) / atoms
        axis.plot(*_smooth(volumes, MEV * energies), color=colour_of(name, k), lw=1.4)
        axis.plot(volumes, MEV * energies, "o", ms=4, color=colour_of(name, k), label=name)
    axis.set(xlabel="volume [Å³/atom]", ylabel="energy above the minimum [meV/atom]")


def _expansion_panel(axis: Axes, models: Mapping[str, Any]) -> None:
    for k, (name, result) in enumerate(models.items()):
        points = [p for p in result["thermal_expansion"] or [] if p["status"] == "complete"]
        values = np.array([p["lattice_constant"] for p in points])
        ends = np.array([p["interval"] for p in points]).reshape(-1, 2).T
        temperatures = [p["temperature"] for p in points]
        axis.errorbar(
            temperatures,
            values,
            np.abs(ends - values),
            fmt="-o",
            ms=4,
            capsize=3,
            color=colour_of(name, k),
        )
    axis.set(xlabel="temperature [K]", ylabel="lattice constant [Å]")


def _phonon_panel(axis: Axes, models: Mapping[str, Any]) -> None:
    for k, (name, result) in enumerate(models.items()):
        if result["phonons"]:
            bands = result["phonons"]["dispersion"]
            axis.plot(bands["distance"], bands["frequencies"], color=colour_of(name, k), lw=1.0)
            axis.set_xticks(bands["positions"], bands["labels"])
            axis.set_xlim(bands["distance"][0], bands["distance"][-1])
    axis.set(xlabel="wave vector", ylabel="frequency [THz]")


def _density_panel(axis: Axes, models: Mapping[str, Any]) -> None:
    for k, (name, result) in enumerate(models.items()):
        if result["phonons"]:
            states = result["phonons"]["density_of_states"]
            axis.plot(states["density"], states["frequency"], color=colour_of(name, k), lw=1.0)
    axis.set(xlabel="density of states [1/THz]", ylabel="frequency [THz]")


def _smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A monotone-preserving curve through the images (PCHIP), which invents no extra maxima."""
    from scipy.interpolate import PchipInterpolator

    if len(x) < 3 or np.any(np.diff(x) <= 0):
        return x, y
    fine = np.linspace(x[0], x[-1], 200)
    return fine, PchipInterpolator(x, y)(fine)


def _arrhenius_line(axis: Axes, fit: Mapping[str, Any], colour: str) -> None:
    """A fitted line with the band of its joint samples."""
    from ase.units import kB

    inverse = np.linspace(1 / max(fit["temperatures"]), 1 / min(fit["temperatures"]), 60)
    line = fit["prefactor_cm2_per_s"] * np.exp(-fit["activation_energy"] * inverse / kB)
    axis.plot(1000 * inverse, line, color=colour, lw=1.3)
    energies = np.array(fit["samples"]["activation_energy"])
    logs = np.array(fit["samples"]["log_prefactor"])
    to_cm2_per_s = fit["prefactor_cm2_per_s"] / fit["prefactor"]
    lines = to_cm2_per_s * np.exp(logs[:, None] - energies[:, None] * inverse / kB)
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    axis.fill_between(1000 * inverse, low, high, color=colour, alpha=0.15, lw=0)
