"""Vibrational densities of states as an observable: tables, figure, checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.observables.base import STUDENT, TEACHER, Card, Check, Observable, Row, within
from distill.observables.vdos.config import VdosConfig
from distill.observables.vdos.result import ModelVdos, PartDifference, TemperatureVdos, VdosResult
from distill.observables.vdos.vdos import ALL, require_vibrations, run_vdos
from distill.simulation.trajectory import trajectory_start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec

# Share of the largest density below which a frequency is not drawn.
_DRAWN = 1e-3
_PERCENT = 100.0


class VdosTolerances(Section):
    """Bounds of vibrational densities of states."""

    vdos: Positive | None = Field(
        None,
        description="difference of mean vibrational frequencies student-teacher over the teacher's",
    )


class VibrationalDensityOfStates(Observable[VdosResult]):
    """Vibrational densities of states."""

    name: ClassVar = "vdos"
    title: ClassVar = "Vibrations"
    Config: ClassVar = VdosConfig
    Tolerances: ClassVar = VdosTolerances
    Result: ClassVar = VdosResult
    template: ClassVar = "distill.observables.vdos:section.html.j2"

    def refuse(self, config: VdosConfig, tolerances: VdosTolerances) -> None:
        """Refuse a structure in which nothing can vibrate."""
        require_vibrations(trajectory_start(config))

    def run(
        self, config: VdosConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> VdosResult:
        """See `run_vdos`."""
        return run_vdos(config, models, work)

    def rows(self, result: VdosResult) -> dict[str, list[Row]]:
        """The spectra, and one row for each temperature, part and model."""
        spectra, summary = [], []
        for entry, model, found in _models(result):
            for part, curve in found.parts.items():
                place = {"temperature": entry.temperature, "part": part, "model": model}
                spectra += [
                    {**place, "frequency": frequency, "density": density, "interval": interval}
                    for frequency, density, interval in zip(
                        result.frequencies, curve.density, curve.density_interval, strict=True
                    )
                ]
                difference = entry.differences.get(model, {}).get(part)
                summary.append(
                    {
                        **place,
                        "mean_frequency": curve.mean_frequency,
                        "interval": curve.mean_frequency_interval,
                        "difference": difference and difference.mean_frequency,
                        "difference_interval": difference and difference.mean_frequency_interval,
                        "overlap": difference and difference.overlap,
                        "overlap_interval": difference and difference.overlap_interval,
                        "mean_temperature": found.mean_temperature,
                        "runs": found.runs,
                    }
                )
        return {self.name: spectra, "vdos_frequencies": summary}

    def draw(self, result: VdosResult) -> dict[str, Figure]:
        """Densities of states with intervals, one panel for each temperature and part."""
        import numpy as np

        from distill.core.figures import colour_of, panels

        frequencies = np.array(result.frequencies)
        contents: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for entry, model, found in _models(result):
            for part, curve in found.parts.items():
                title = _title(part, entry.temperature, len(found.parts) > 1)
                contents.setdefault(title, {})[model] = (
                    np.array(curve.density),
                    np.array(curve.density_interval).T,
                )
        densities = np.array([line for lines in contents.values() for line, _ in lines.values()])
        drawn = densities.max(axis=0) > _DRAWN * densities.max()
        last = min(int(np.flatnonzero(drawn)[-1]) + 2, len(frequencies))
        with panels(contents, 3.0) as (figure, axes):
            for axis, title, lines in axes:
                for k, (model, (density, ends)) in enumerate(lines.items()):
                    colour = colour_of(model, k)
                    axis.plot(frequencies[:last], density[:last], color=colour, lw=1.4, label=model)
                    axis.fill_between(
                        frequencies[:last], *ends[:, :last], color=colour, alpha=0.25, lw=0
                    )
                axis.set(
                    title=title,
                    xlabel="frequency [THz]",
                    ylabel="density of states [1/THz]",
                    xlim=(0, frequencies[last - 1]),
                    ylim=(0, None),
                )
                axis.legend(loc="best", fontsize=8.5)
        return {self.name: figure}

    def checks(self, result: VdosResult, tolerances: VdosTolerances) -> list[Check]:
        """One for each temperature, of all atoms; a failed one where there are no runs."""
        bound = tolerances.vdos
        if bound is None:
            return []
        if not {TEACHER, STUDENT} <= {m for entry in result.temperatures for m in entry.models}:
            raise UserError(
                "compare.tolerances.vdos is set, but the vibrations are not those of both teacher "
                "and student: ask for that computation or remove the tolerance"
            )
        return [_check(entry, bound, result.confidence) for entry in result.temperatures]

    def cards(self, result: VdosResult) -> list[Card]:
        """The largest difference of mean frequencies."""
        found = list(_differences(result))
        if not found:
            return []
        entry, difference = max(found, key=lambda item: abs(item[1].mean_frequency))
        low, high = difference.mean_frequency_interval
        note = f"{entry.temperature:g} K"
        return [
            Card(
                label="student’s mean vibrational frequency from the teacher’s",
                value=_PERCENT * difference.mean_frequency,
                interval=(_PERCENT * low, _PERCENT * high),
                unit="%",
                confidence=result.confidence,
                note=note
                if len(found) == 1
                else f"{note}, the largest of {len(found)} temperatures",
            )
        ]


def _models(result: VdosResult) -> Iterator[tuple[TemperatureVdos, str, ModelVdos]]:
    """Every temperature with every model that has a result there."""
    for entry in result.temperatures:
        for model, found in entry.models.items():
            if found is not None:
                yield entry, model, found


def _differences(result: VdosResult) -> Iterator[tuple[TemperatureVdos, PartDifference]]:
    """Every temperature with the student's difference to the teacher, of all atoms."""
    if result.baseline == TEACHER:
        for entry in result.temperatures:
            if STUDENT in entry.differences:
                yield entry, entry.differences[STUDENT][ALL]


def _title(part: str, temperature: float, several: bool) -> str:
    return f"{part} atoms, {temperature:g} K" if several else f"{temperature:g} K"


def _check(entry: TemperatureVdos, bound: float, confidence: float) -> Check:
    difference = entry.differences.get(STUDENT, {}).get(ALL)
    title = f"mean frequency at {entry.temperature:g} K, student over teacher − 1"
    if difference is None:
        reason = "fewer than two runs are good by both teacher and student"
        return within("vdos", title, None, None, bound, "", comment=reason)
    value, interval = difference.mean_frequency, difference.mean_frequency_interval
    check = within("vdos", title, value, interval, bound, "", confidence=confidence)
    if check.passed or abs(value) > bound:
        return check
    comment = "the interval reaches beyond the bound: longer or more runs are needed"
    return check.model_copy(update={"comment": comment})
