"""Radial distribution functions as an observable: tables, figure, checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.observables.base import STUDENT, TEACHER, Card, Check, Observable, Row, within
from distill.observables.rdf.config import RdfConfig
from distill.observables.rdf.rdf import checked_pairs, run_rdf
from distill.observables.rdf.result import ModelRdf, PairDifference, RdfResult, TemperatureRdf
from distill.observables.rdf.teacher_level import rdf_teacher_level
from distill.simulation.trajectory import trajectory_start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.teacher_level import TeacherNumber

_RUN_LONGER = "the interval reaches beyond the bound: longer or more runs are needed"


class RdfTolerances(Section):
    """Bounds of radial distribution functions."""

    rdf: Positive | None = Field(
        None,
        description="Jensen-Shannon divergence of the distances of student and teacher above the "
        "noise floor, bits (0 to 1), every pair of elements",
    )
    coordination: Positive | None = Field(
        None, description="difference of coordination numbers student-teacher, every pair"
    )


class RadialDistribution(Observable[RdfResult]):
    """Radial distribution functions and coordination numbers."""

    name: ClassVar = "rdf"
    title: ClassVar = "Radial distribution"
    Config: ClassVar = RdfConfig
    Tolerances: ClassVar = RdfTolerances
    Result: ClassVar = RdfResult
    template: ClassVar = "distill.observables.rdf:section.html.j2"

    def refuse(self, config: RdfConfig, tolerances: RdfTolerances) -> None:
        """Refuse a structure that is not periodic, and pairs and radii that do not fit it."""
        checked_pairs(config, trajectory_start(config))

    def run(
        self, config: RdfConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> RdfResult:
        """See `run_rdf`."""
        return run_rdf(config, models, work)

    def teacher_level(
        self,
        config: RdfConfig,
        teacher: ModelSpec,
        student: ModelSpec,
        calls: int,
        work: WorkFolder,
    ) -> list[TeacherNumber]:
        """See `rdf_teacher_level`."""
        return rdf_teacher_level(config, teacher, student, calls, work)

    def rows(self, result: RdfResult) -> dict[str, list[Row]]:
        """The curves in bins, and one row for each temperature, pair and model."""
        curves, summary = [], []
        for entry, model, found in _models(result):
            for pair, curve in found.pairs.items():
                place = {"temperature": entry.temperature, "pair": pair, "model": model}
                curves += [
                    {**place, "r": r, "g": g, "interval": interval, "running_coordination": n}
                    for r, g, interval, n in zip(
                        result.distances, curve.g, curve.g_interval, curve.running, strict=True
                    )
                ]
                difference = entry.differences.get(model, {}).get(pair)
                summary.append(
                    {
                        **place,
                        "radius": entry.radii[pair],
                        "coordination": curve.coordination,
                        "interval": curve.coordination_interval,
                        "difference": difference and difference.coordination,
                        "difference_interval": difference and difference.coordination_interval,
                        "divergence": difference and difference.divergence,
                        "noise_floor": difference and difference.noise_floor,
                        "excess": difference and difference.excess,
                        "excess_interval": difference and difference.excess_interval,
                        "blocks": found.blocks,
                        "runs": found.runs,
                    }
                )
        return {self.name: curves, "rdf_coordination": summary}

    def draw(self, result: RdfResult) -> dict[str, Figure]:
        """g(r) with its intervals, one panel for each temperature and pair."""
        import numpy as np

        from distill.core.figures import colour_of, panels

        contents: dict[str, dict[str, tuple[TemperatureRdf, str]]] = {}
        for entry, model, found in _models(result):
            for pair in found.pairs:
                title = _title(pair, entry.temperature)
                contents.setdefault(title, {})[model] = (entry, pair)
        with panels(contents, 3.0) as (figure, drawn):
            for axis, title, lines in drawn:
                for k, (model, (entry, pair)) in enumerate(lines.items()):
                    found_model = entry.models[model]
                    assert found_model is not None
                    curve, colour = found_model.pairs[pair], colour_of(model, k)
                    label = f"{model}: {curve.coordination:.3g}"
                    axis.plot(result.distances, curve.g, color=colour, lw=1.4, label=label)
                    ends = np.array(curve.g_interval).T
                    axis.fill_between(result.distances, *ends, color=colour, alpha=0.25, lw=0)
                    radius = entry.radii[pair]
                axis.axvline(radius, color="#BBBBBB", lw=0.8)
                axis.set(title=title, xlabel="distance [Å]", ylabel="$g(r)$", ylim=(0, None))
                axis.legend(
                    loc="best",
                    fontsize=8.5,
                    title=f"neighbours within {radius:.3g} Å",
                    title_fontsize=8.5,
                )
        return {self.name: figure}

    def checks(self, result: RdfResult, tolerances: RdfTolerances) -> list[Check]:
        """For each bound one check a temperature and pair; a failed one where there are no runs."""
        return [
            check
            for key, bound in (
                ("rdf", tolerances.rdf),
                ("coordination", tolerances.coordination),
            )
            if bound is not None
            for check in _checks(result, key, bound)
        ]

    def cards(self, result: RdfResult) -> list[Card]:
        """The largest divergence above its noise floor."""
        found = list(_differences(result))
        if not found:
            return []
        title, difference = max(found, key=lambda item: item[1].excess)
        return [
            Card(
                label="divergence of pair distances above noise, student from teacher",
                value=difference.excess,
                interval=difference.excess_interval,
                unit="bit",
                confidence=result.confidence,
                note=title if len(found) == 1 else f"{title}, the largest of {len(found)}",
            )
        ]


def _models(result: RdfResult) -> Iterator[tuple[TemperatureRdf, str, ModelRdf]]:
    """Every temperature with every model that has a result there."""
    for entry in result.temperatures:
        for model, found in entry.models.items():
            if found is not None:
                yield entry, model, found


def _differences(result: RdfResult) -> Iterator[tuple[str, PairDifference]]:
    """Every pair and temperature in words, with the student's difference to the teacher."""
    if result.baseline == TEACHER:
        for entry in result.temperatures:
            for pair, difference in entry.differences.get(STUDENT, {}).items():
                yield _title(pair, entry.temperature), difference


def _title(pair: str, temperature: float) -> str:
    return f"{pair}, {temperature:g} K"


def _checks(result: RdfResult, key: str, bound: float) -> Iterator[Check]:
    models = {model for entry in result.temperatures for model in entry.models}
    if not {TEACHER, STUDENT} <= models:
        raise UserError(
            f"compare.tolerances.{key} is set, but the radial distribution is not that of both "
            "teacher and student: ask for that computation or remove the tolerance"
        )
    for entry in result.temperatures:
        if STUDENT not in entry.differences:
            reason = "fewer than two runs are good by both teacher and student"
            yield _failed(key, f"{entry.temperature:g} K", bound, reason)
    for title, difference in _differences(result):
        check = (_divergence if key == "rdf" else _coordination)(title, difference, bound)
        yield check.model_copy(update={"confidence": result.confidence})


def _divergence(title: str, difference: PairDifference, bound: float) -> Check:
    high = difference.excess_interval[1]
    return Check(
        name=f"divergence of distances {title}, student from teacher",
        tolerance="rdf",
        value=difference.excess,
        interval=difference.excess_interval,
        bound=bound,
        sense="at most",
        unit="bit",
        passed=high <= bound,
        comment=_RUN_LONGER if difference.excess <= bound < high else "",
    )


def _coordination(title: str, difference: PairDifference, bound: float) -> Check:
    check = within(
        "coordination",
        f"coordination {title}, student − teacher",
        difference.coordination,
        difference.coordination_interval,
        bound,
        "",
    )
    if check.passed or abs(difference.coordination) > bound:
        return check
    return check.model_copy(update={"comment": _RUN_LONGER})


def _failed(key: str, title: str, bound: float, reason: str) -> Check:
    return Check(
        name=f"{'divergence of distances' if key == 'rdf' else 'coordination'} {title}",
        tolerance=key,
        value=None,
        interval=None,
        bound=bound,
        sense="at most" if key == "rdf" else "within",
        unit="bit" if key == "rdf" else "",
        passed=False,
        comment=reason,
    )
