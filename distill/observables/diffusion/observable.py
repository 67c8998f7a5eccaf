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
from distill.observables.against import LEVELS, Number, held_against, refuse_without
from distill.observables.base import (
    REFERENCE,
    STUDENT,
    TEACHER,
    Card,
    Check,
    Observable,
    Row,
    within,
)
from distill.observables.diffusion.config import DiffusionConfig
from distill.observables.diffusion.diffusion import (
    check_lengths,
    perfect_crystal,
    run_diffusion,
    starting_structure,
)
from distill.observables.diffusion.plan import diffusion_plan
from distill.observables.diffusion.plots import draw_arrhenius, draw_van_hove
from distill.observables.diffusion.result import CM2_PER_S, DiffusionAt, DiffusionResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec


_FS_PER_PS = 1000.0


_PUBLISHED = "published value"
_NO_REFERENCE = (
    "there is no activation energy to hold against: give compare.diffusion.published, or the "
    "reference a time in compare.diffusion.times"
)


class DiffusionTolerances(Section):
    """Bounds of diffusion."""

    activation_energy: Positive | None = Field(
        None, description="difference of activation energies of diffusion teacher-student, eV"
    )
    teacher_activation_energy: Positive | None = Field(
        None,
        description="of the teacher, against the reference (with a time of its own in "
        "`diffusion.times`) and `diffusion.published`, eV",
    )
    purpose_activation_energy: Positive | None = Field(
        None,
        description="of the student, against the reference and `diffusion.published`, eV: what "
        "the purpose allows",
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
        for key in DiffusionTolerances.model_fields:
            if getattr(tolerances, key) is None:
                continue
            if len(set(config.temperatures)) < 2:
                raise UserError(
                    f"compare.tolerances.{key} is set, but compare.diffusion.temperatures has one "
                    "temperature: give two or more, or remove the tolerance"
                )
            if key != "activation_energy" and not (config.published or REFERENCE in config.times):
                refuse_without(key, _NO_REFERENCE)

    def plan(self, config: DiffusionConfig, tolerances: DiffusionTolerances) -> list[str]:
        """See `diffusion_plan`."""
        start = starting_structure(config, perfect_crystal(config), 1.0, config.temperatures[0])
        return diffusion_plan(config, len(start), tolerances.activation_energy)

    def run(
        self, config: DiffusionConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> DiffusionResult:
        """See `run_diffusion`; by teacher and student, and models with a time of their own."""
        asked = {TEACHER, STUDENT, *config.times}
        chosen = {role: model for role, model in models.items() if role in asked}
        return run_diffusion(config, chosen, work)

    def rows(self, result: DiffusionResult) -> dict[str, list[Row]]:
        """Rows for each model and temperature, and one for each Arrhenius fit."""
        diffusion: list[Row] = []
        jumps: list[Row] = []
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
                if point.window:
                    jumps.append({"model": model, **_jump_row(point)})
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
        return {self.name: diffusion, "jumps": jumps, "arrhenius": arrhenius}

    def draw(self, result: DiffusionResult) -> dict[str, Figure]:
        """The Arrhenius plot, and van Hove functions."""
        figures = {self.name: draw_arrhenius(result)}
        if any(point.van_hove for of in result.models.values() for point in of.temperatures):
            figures["van_hove"] = draw_van_hove(result)
        return figures

    def checks(self, result: DiffusionResult, tolerances: DiffusionTolerances) -> list[Check]:
        """Of the activation energies: student and teacher, and each against the reference.

        One fails without both fits.
        """
        against = [
            check
            for prefix in ("teacher_", "purpose_")
            if (bound := getattr(tolerances, f"{prefix}activation_energy")) is not None
            for check in _against_reference(result, prefix, bound)
        ]
        bound = tolerances.activation_energy
        if bound is None:
            return against
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
            ),
            *against,
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


def _against_reference(result: DiffusionResult, prefix: str, bound: float) -> list[Check]:
    """Of a model against the reference's activation energy, and against the published one."""
    question, model = LEVELS[prefix]
    key, what = f"{prefix}activation_energy", "activation energy of diffusion"
    others: list[Number | None] = []
    if REFERENCE in result.models:
        others.append(_energy_of(result, REFERENCE))
    if result.settings.published is not None:
        others.append(Number(_PUBLISHED, *result.settings.published))
    if not others:
        refuse_without(key, _NO_REFERENCE)
    one = _energy_of(result, model)
    checks = []
    for other in others:
        if one is None or other is None:
            name = f"{what}, {model} − {other.source if other else REFERENCE}"
            comment = "no Arrhenius fit: too few jumps were seen; run longer or hotter"
            checks.append(
                within(key, name, None, None, bound, "eV", comment=comment, question=question)
            )
            continue
        checks.append(
            held_against(
                key,
                what,
                one,
                other,
                bound,
                unit="eV",
                question=question,
                confidence=result.settings.confidence,
            )
        )
    return checks


def _energy_of(result: DiffusionResult, model: str) -> Number | None:
    fit = result.models[model].arrhenius if model in result.models else None
    if fit is None:
        return None
    return Number(model, fit.activation_energy, fit.activation_energy_interval)


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


def _jump_row(point: DiffusionAt) -> Row:
    """Window and jump statistics of a model at a temperature, times in ps."""
    window, jumps, haven = point.window, point.jumps, point.haven_ratio
    assert window is not None
    row: Row = {
        "temperature": point.temperature,
        "window_interval_ps": (window.start / _FS_PER_PS, window.end / _FS_PER_PS),
        "early": window.early,
        "jumps": jumps and jumps.jumps,
        "residence_time_ps": jumps and jumps.residence_time.value / _FS_PER_PS,
        "haven_ratio": haven and haven.value,
        "haven_ratio_interval": haven and haven.interval,
    }
    for name in ("back", "correlation_factor"):
        measured = jumps and getattr(jumps, name)
        row[name] = measured and measured.value
        row[f"{name}_interval"] = measured and measured.interval
    return row
