"""Diffusion as an observable: tables, figure, check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.core.results import Interval
from distill.core.work import WorkFolder
from distill.observables.base import STUDENT, TEACHER, Card, Check, Observable, Row, within
from distill.observables.diffusion.config import DiffusionConfig
from distill.observables.diffusion.diffusion import (
    check_lengths,
    perfect_crystal,
    run_diffusion,
    starting_structure,
)
from distill.observables.diffusion.result import CM2_PER_S, ArrheniusSummary, DiffusionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec


class DiffusionTolerances(Section):
    """Bound of diffusion."""

    activation_energy: Positive | None = Field(
        None, description="difference of activation energies of diffusion teacher-student, eV"
    )


class Diffusion(Observable[DiffusionResult]):
    """Diffusivities and activation energies of a defect."""

    name: ClassVar = "diffusion"
    title: ClassVar = "Diffusion"
    Config: ClassVar = DiffusionConfig
    Tolerances: ClassVar = DiffusionTolerances
    Result: ClassVar = DiffusionResult
    template: ClassVar = "distill.observables.diffusion:section.html.j2"

    def refuse(self, config: DiffusionConfig, tolerances: DiffusionTolerances) -> None:
        """Refuse runs too short for the fit, a defect that does not fit, or a hopeless check."""
        check_lengths(config, dict.fromkeys((TEACHER, STUDENT, *config.times)))
        starting_structure(config, perfect_crystal(config), 1.0, config.temperatures[0])
        if tolerances.activation_energy is not None and len(set(config.temperatures)) < 2:
            raise UserError(
                "compare.tolerances.activation_energy is set, but compare.diffusion.temperatures "
                "has one temperature: give two or more, or remove the tolerance"
            )

    def run(
        self, config: DiffusionConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> DiffusionResult:
        """See `run_diffusion`; by teacher and student, and models with a time of their own."""
        asked = {TEACHER, STUDENT, *config.times}
        chosen = {role: model for role, model in models.items() if role in asked}
        return run_diffusion(config, chosen, work)

    def rows(self, result: DiffusionResult) -> dict[str, list[Row]]:
        """One row for each model and temperature, and one for each Arrhenius fit."""
        diffusion: list[Row] = []
        arrhenius: list[Row] = []
        for model, found in result.models.items():
            for point in found.temperatures:
                number = point.diffusivity
                diffusion.append(
                    {
                        "model": model,
                        "temperature": point.temperature,
                        "diffusivity_cm2_per_s": number and _cm2_per_s(number.value),
                        "interval_cm2_per_s": number and _interval_cm2_per_s(number.interval),
                        "upper_bound_cm2_per_s": number and _cm2_per_s(number.upper_bound),
                        "jumps": number and number.jumps,
                        "time_fs": number and number.time,
                        "reason": point.reason,
                    }
                )
            fit = found.arrhenius
            arrhenius.append(
                {
                    "model": model,
                    "activation_energy": fit and fit.activation_energy,
                    "activation_energy_interval": fit and fit.activation_energy_interval,
                    "prefactor_cm2_per_s": fit and _cm2_per_s(fit.prefactor),
                    "prefactor_interval_cm2_per_s": fit
                    and _interval_cm2_per_s(fit.prefactor_interval),
                    "ns_per_day": found.nanoseconds_per_day,
                    "reason": found.arrhenius_reason,
                }
            )
        return {self.name: diffusion, "arrhenius": arrhenius}

    def draw(self, result: DiffusionResult) -> dict[str, Figure]:
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
        return {self.name: figure}

    def checks(self, result: DiffusionResult, tolerances: DiffusionTolerances) -> list[Check]:
        """One of the activation energies, student minus teacher; it fails without both fits."""
        bound = tolerances.activation_energy
        if bound is None:
            return []
        difference, interval = _activation_energy(result)
        comment = ""
        if difference is None:
            comment = "no Arrhenius fit of both: too few jumps were seen; run longer or hotter"
        elif interval and abs(difference) < bound < max(abs(end) for end in interval):
            comment = "the interval reaches beyond the bound: longer or more runs narrow it"
        return [
            within(
                "activation_energy",
                "activation energy of diffusion, student − teacher",
                difference,
                interval,
                bound,
                "eV",
                comment=comment,
                confidence=result.settings.confidence,
            )
        ]

    def cards(self, result: DiffusionResult) -> list[Card]:
        """The difference of the activation energies."""
        difference, interval = _activation_energy(result)
        if difference is None or interval is None:
            return []
        return [
            Card(
                label="activation energy of diffusion, student minus teacher",
                value=MEV * difference,
                interval=(MEV * interval[0], MEV * interval[1]),
                unit="meV",
                confidence=result.settings.confidence,
            )
        ]


def _activation_energy(result: DiffusionResult) -> tuple[float | None, Interval | None]:
    """Of the student minus the teacher's, eV, with its interval; None without both fits."""
    difference = result.differences.get(STUDENT)
    if difference is None or difference.to != TEACHER or difference.arrhenius is None:
        return None, None
    found = difference.arrhenius
    return found.activation_energy, found.activation_energy_interval


def _cm2_per_s(value: float | None) -> float | None:
    return None if value is None else CM2_PER_S * value


def _interval_cm2_per_s(interval: Interval | None) -> Interval | None:
    return interval and (CM2_PER_S * interval[0], CM2_PER_S * interval[1])


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
