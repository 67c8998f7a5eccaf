"""Sticking as an observable: tables, figure, checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.metrics.statistics import pairs_needed_within
from distill.observables.base import STUDENT, TEACHER, Card, Check, Observable, Row, within
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.published_points import read_points
from distill.observables.sticking.result import ConditionSticking, StickingResult
from distill.observables.sticking.sequential_precision import targets
from distill.observables.sticking.sticking import run_sticking
from distill.simulation.surfaces import refuse_surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec

_CURVES = {TEACHER: TEACHER, STUDENT: STUDENT, "two_level": "teacher, two-level"}
_SHADES = ("white", "#999999", "#333333")


class StickingTolerances(Section):
    """Bounds of sticking probabilities."""

    sticking: Positive | None = Field(
        None, description="difference of sticking probabilities teacher-student, every condition"
    )


class Sticking(Observable[StickingResult]):
    """Sticking probabilities from identical initial conditions."""

    name: ClassVar = "sticking"
    title: ClassVar = "Sticking"
    Config: ClassVar = StickingConfig
    Tolerances: ClassVar = StickingTolerances
    Result: ClassVar = StickingResult
    template: ClassVar = "distill.observables.sticking:section.html.j2"

    def refuse(self, config: StickingConfig, tolerances: StickingTolerances) -> None:
        """Refuse surfaces that cannot be made, too small a budget, or unreadable points."""
        targets(config)
        refuse_surfaces(config.scattering)
        if config.published:
            read_points(config.published)
        if tolerances.sticking is not None and config.teacher_trajectories < 2:
            raise UserError(
                "compare.tolerances.sticking is set, but "
                "compare.sticking.teacher_trajectories is below 2: ask for that computation or "
                "remove the tolerance"
            )

    def run(
        self, config: StickingConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> StickingResult:
        """See `run_sticking`; teacher and student alone take part."""
        return run_sticking(config, teacher=models[TEACHER], student=models[STUDENT], work=work)

    def rows(self, result: StickingResult) -> dict[str, list[Row]]:
        """One row for each condition and model."""
        rows: list[Row] = []
        for condition in result.conditions:
            for key in _CURVES:
                if found := getattr(condition, key):
                    precision = condition.precision.get(key)
                    rows.append(
                        {
                            "surface": condition.surface_and_state,
                            "energy": condition.energy,
                            "model": key,
                            "probability": found.probability,
                            "interval": found.interval,
                            "trajectories": found.trajectories,
                            "outcomes": getattr(found, "outcomes", {}),
                            "needed": precision and precision.needed,
                        }
                    )
        return {self.name: rows}

    def draw(self, result: StickingResult) -> dict[str, Figure]:
        """Sticking probability against collision energy with intervals; published as squares."""
        import numpy as np

        from distill.core.figures import colour_of, panels

        with panels(curves(result), 3.4) as (figure, contents):
            for axis, title, lines in contents:
                shifts = np.linspace(-0.006, 0.006, len(lines)) if len(lines) > 1 else [0.0]
                for k, (shift, (name, points)) in enumerate(
                    zip(shifts, lines.items(), strict=True)
                ):
                    points = sorted(points, key=lambda point: point[0])
                    x, y = (np.array(values) for values in list(zip(*points, strict=True))[:2])
                    ends = np.array([interval or (value, value) for _, value, interval in points])
                    style: dict[str, Any] = {"ms": 5, "capsize": 3, "label": name}
                    if name in _CURVES.values():
                        style["fmt"] = "-o" if len(points) > 1 else "o"
                        style["color"] = colour_of(name, k)
                        x = x + shift
                    else:
                        style |= {"fmt": "s", "color": "#333333", "mfc": _SHADES[k % len(_SHADES)]}
                    axis.errorbar(x, y, np.abs(ends.T - y), **style)
                axis.set(
                    title=title, xlabel="collision energy [eV]", ylabel="sticking probability $S_0$"
                )
                energies = sorted({energy for points in lines.values() for energy, *_ in points})
                margin = 0.1 if len(energies) == 1 else 0.05
                axis.set(ylim=(-0.03, 1.03), xlim=(energies[0] - margin, energies[-1] + margin))
                if len(energies) <= 8:
                    axis.set_xticks(energies)
            shown = dict(
                pair
                for axis, *_ in contents
                for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True)
            )
            figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4)
        return {self.name: figure}

    def checks(self, result: StickingResult, tolerances: StickingTolerances) -> list[Check]:
        """One for each condition with pairs; a failed one if there is none."""
        bound = tolerances.sticking
        if bound is None:
            return []
        paired = [condition for condition in result.conditions if condition.paired]
        if not paired:
            title = "sticking probability, teacher − student"
            reason = "no pair of sound trajectories of teacher and student"
            return [within(self.name, title, None, None, bound, "", comment=reason)]
        return [_check(condition, bound, result.confidence) for condition in paired]

    def cards(self, result: StickingResult) -> list[Card]:
        """The largest paired difference."""
        found = [(c.title, c.paired) for c in result.conditions if c.paired]
        if not found:
            return []
        title, paired = max(found, key=lambda entry: abs(entry[1].difference))
        note = title if len(found) == 1 else f"{title}, the largest of {len(found)} conditions"
        return [
            Card(
                label="sticking probability, teacher minus student",
                value=paired.difference,
                interval=paired.interval,
                note=f"{note}; {paired.trajectories} pairs",
                confidence=result.confidence,
            )
        ]


Point = tuple[float, float, "tuple[float, float] | None"]


def curves(result: StickingResult) -> dict[str, dict[str, list[Point]]]:
    """By surface and state, then curve: (energy in eV, probability, interval or None).

    Curves are those of the models, the teacher's two-level estimate, and published points by
    their source, on every panel that they may belong to.
    """
    found: dict[str, dict[str, list[Point]]] = {}
    for condition in result.conditions:
        panel = found.setdefault(condition.surface_and_state, {})
        for key, title in _CURVES.items():
            if (curve := getattr(condition, key)) and curve.trajectories:
                point = (condition.energy, curve.probability, curve.interval)
                panel.setdefault(title, []).append(point)
        for published in result.published:
            point = (published.energy, published.probability, published.interval)
            listed = panel.setdefault(published.source, [])
            if published.belongs(condition) and point not in listed:
                listed.append(point)
    return {
        title: {name: points for name, points in panel.items() if points}
        for title, panel in found.items()
    }


def _check(condition: ConditionSticking, bound: float, confidence: float) -> Check:
    paired = condition.paired
    assert paired is not None
    comment = ""
    if abs(paired.difference) < bound < max(abs(end) for end in paired.interval):
        shares = (
            paired.only_teacher / paired.trajectories,
            paired.only_student / paired.trajectories,
        )
        needed = pairs_needed_within(bound, shares, confidence)
        comment = (
            f"the interval reaches beyond the bound: about {needed} teacher trajectories are "
            f"needed instead of {paired.trajectories}"
        )
    return within(
        "sticking",
        f"sticking probability {condition.title}, teacher − student",
        paired.difference,
        paired.interval,
        bound,
        "",
        comment=comment,
        confidence=confidence,
    )
