"""Figures of diffusion: the Arrhenius plot, and how far atoms have gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.observables.diffusion.result import CM2_PER_S, ArrheniusSummary, DiffusionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# By the lag, from the first to the last.
_STYLES = (":", "--", "-")


def draw_arrhenius(result: DiffusionResult) -> Figure:
    """Diffusivity over inverse temperature; intervals, upper bounds and Arrhenius fits."""
    import numpy as np

    from distill.core.figures import colour_of, figure_style

    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(6.4, 4.2))
        for k, (name, found) in enumerate(result.models.items()):
            colour, fit, label = colour_of(name, k), found.arrhenius, name
            if fit:
                low, high = fit.activation_energy_interval
                label += f": {fit.activation_energy:.3f} eV ({low:.3f} to {high:.3f})"
                _draw_fit(axis, fit, colour)
            measured, bounds = [], []
            for point in found.temperatures:
                if (number := point.diffusivity) is None:
                    continue
                if number.value is not None and number.interval is not None:
                    measured.append((1000 / point.temperature, number.value, *number.interval))
                elif number.upper_bound is not None:
                    bounds.append((1000 / point.temperature, number.upper_bound))
            x, y, *ends = np.array(measured).reshape(-1, 4).T
            y, bars = CM2_PER_S * y, CM2_PER_S * np.abs(ends - y)
            axis.errorbar(x, y, bars, fmt="o", ms=5, capsize=3, color=colour, label=label)
            x, y = np.array(bounds).reshape(-1, 2).T
            axis.plot(x, CM2_PER_S * y, "v", mfc="none", color=colour)
        axis.set(yscale="log", xlabel="1000 / temperature [1/K]", ylabel="diffusivity [cm²/s]")
        axis.legend(fontsize=8.5, title="activation energy", title_fontsize=8.5)
    return figure


def draw_van_hove(result: DiffusionResult) -> Figure:
    """Self part of the van Hove function at each temperature: dashed to solid by the lag."""
    from distill.core.figures import colour_of, panels

    temperatures = next(iter(result.models.values())).temperatures
    contents = {f"{point.temperature:g} K": place for place, point in enumerate(temperatures)}
    with panels(contents, 3.0) as (figure, axes):
        for axis, title, place in axes:
            for k, (name, model) in enumerate(result.models.items()):
                if (found := model.temperatures[place].van_hove) is None:
                    continue
                for style, density, lag in zip(_STYLES, found.densities, found.lags, strict=True):
                    label = f"{name}, {lag / 1000:.3g} ps"
                    colour = colour_of(name, k)
                    axis.plot(found.distances, density, style, color=colour, lw=1.1, label=label)
            axis.set(title=title, xlabel="distance [Å]", ylabel="4πr² G(r, t) [1/Å]", yscale="log")
            if axis.lines:
                axis.legend(fontsize=7)
    return figure


def _draw_fit(axis: Axes, fit: ArrheniusSummary, colour: str) -> None:
    """A fitted line with the band of its joint samples."""
    import numpy as np
    from ase.units import kB

    inverse = np.linspace(1 / max(fit.temperatures), 1 / min(fit.temperatures), 60)
    line = CM2_PER_S * fit.prefactor * np.exp(-fit.activation_energy * inverse / kB)
    axis.plot(1000 * inverse, line, color=colour, lw=1.3)
    energies = np.array(fit.activation_energy_samples)[:, None]
    lines = np.exp(np.array(fit.log_prefactor_samples)[:, None] - energies * inverse / kB)
    ends = [50 * (1 - fit.confidence), 50 * (1 + fit.confidence)]
    low, high = CM2_PER_S * np.percentile(lines, ends, axis=0)
    axis.fill_between(1000 * inverse, low, high, color=colour, alpha=0.15, lw=0)
