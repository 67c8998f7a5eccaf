"""Sticking as an observable: tables, figure, checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.results import Interval
from distill.core.work import WorkFolder
from distill.metrics.statistics import pairs_needed_within
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
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.effort import refuse_effort
from distill.observables.sticking.plan import sticking_plan
from distill.observables.sticking.plots import CURVES, draw_probabilities, draw_scattered
from distill.observables.sticking.published_points import published_at, read_points
from distill.observables.sticking.result import (
    ConditionSticking,
    PairedSticking,
    ScatteredMolecules,
    StickingResult,
)
from distill.observables.sticking.sequential_precision import targets
from distill.observables.sticking.sticking import run_sticking
from distill.simulation.surfaces import refuse_surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec


_NOTHING_AGAINST = (
    "there is nothing to hold it against: give compare.sticking.published, or "
    "reference_trajectories where a reference can be run"
)
# Vibrational levels in the table of scattered molecules.
_LEVELS = 3
Pairs = tuple[ConditionSticking, PairedSticking | None]


class StickingTolerances(Section):
    """Bounds of sticking probabilities."""

    sticking: Positive | None = Field(
        None, description="difference of sticking probabilities teacher-student, every condition"
    )
    teacher_sticking: Positive | None = Field(
        None,
        description="of the teacher, against the reference (with its `sticking."
        "reference_trajectories`), and `sticking.published` where it has the condition",
    )
    purpose_sticking: Positive | None = Field(
        None,
        description="of the student, against the reference (with its `sticking."
        "reference_trajectories`), and `sticking.published` where it has the condition: what the "
        "purpose allows",
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
        refuse_effort(config)
        refuse_surfaces(config.scattering)
        if config.published:
            read_points(config.published)
        if tolerances.sticking is not None and config.teacher_trajectories < 2:
            raise UserError(
                "compare.tolerances.sticking is set, but "
                "compare.sticking.teacher_trajectories is below 2: ask for that computation or "
                "remove the tolerance"
            )
        for key in ("teacher_sticking", "purpose_sticking"):
            against = config.published or config.reference_trajectories
            if getattr(tolerances, key) is not None and not against:
                refuse_without(key, _NOTHING_AGAINST)

    def plan(self, config: StickingConfig, tolerances: StickingTolerances) -> list[str]:
        """See `sticking_plan`."""
        return sticking_plan(config, tolerances.sticking)

    def run(
        self, config: StickingConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> StickingResult:
        """See `run_sticking`; further models of the config take no part."""
        return run_sticking(
            config,
            teacher=models[TEACHER],
            student=models[STUDENT],
            work=work,
            reference=models.get(REFERENCE),
        )

    def rows(self, result: StickingResult) -> dict[str, list[Row]]:
        """One row for each condition and model, scattered molecules and surfaces by themselves."""
        rows: list[Row] = []
        scattered: list[Row] = []
        for condition in result.conditions:
            place: Row = {
                "surface": condition.surface_and_state,
                "energy": condition.energy,
                "normal_energy": condition.normal_energy,
            }
            for key in CURVES:
                if found := getattr(condition, key):
                    precision = condition.precision.get(key)
                    rows.append(
                        place
                        | {
                            "model": key,
                            "probability": min(max(found.probability, 0.0), 1.0),
                            "interval": _within_0_and_1(found.interval),
                            "trajectories": found.trajectories,
                            "surfaces": getattr(found, "surfaces", None),
                            "design_effect": getattr(found, "design_effect", None),
                            "alone": getattr(found, "alone", False),
                            "outcomes": getattr(found, "outcomes", {}),
                            "needed": precision and precision.needed,
                            "surfaces_needed": precision and precision.surfaces_needed,
                        }
                    )
            scattered += [
                place | {"model": model, **_scattered_row(molecules)}
                for model, molecules in condition.scattered.items()
            ]
        surfaces = [
            {"model": result.initial_conditions_from, **surface.model_dump()}
            for surface in result.surfaces
        ]
        return {self.name: rows, "scattered": scattered, "surfaces": surfaces}

    def draw(self, result: StickingResult) -> dict[str, Figure]:
        """Sticking probability against energy; what scattered molecules carry away."""
        figures = {self.name: draw_probabilities(result)}
        if any(condition.scattered for condition in result.conditions):
            figures["scattered"] = draw_scattered(result)
        return figures

    def checks(self, result: StickingResult, tolerances: StickingTolerances) -> list[Check]:
        """Of teacher and student, and of both with the reference, one for each condition with
        pairs and a failed one if there is none; and of both for each published point of a
        condition.
        """
        pairs: dict[str, list[Pairs]] = {
            "": [(condition, condition.paired) for condition in result.conditions]
        }
        for prefix, (_, model) in LEVELS.items():
            if prefix:
                pairs[prefix] = [(c, c.against_reference.get(model)) for c in result.conditions]
        checks = []
        for prefix, found in pairs.items():
            bound = getattr(tolerances, f"{prefix}sticking")
            if bound is None:
                continue
            if not prefix or any(condition.reference for condition in result.conditions):
                checks += _paired_checks(found, prefix, bound, result.confidence)
            elif not result.published:
                refuse_without(f"{prefix}sticking", _NOTHING_AGAINST)
            if prefix and result.published:
                checks += _against_published(result, prefix, bound)
        return checks

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


def _against_published(result: StickingResult, prefix: str, bound: float) -> list[Check]:
    """Of a model at every condition that a source has; a failed one where there is none."""
    question, model = LEVELS[prefix]
    key, what = f"{prefix}sticking", "sticking probability"
    checks = []
    for condition in result.conditions:
        # The teacher's best number is that of its pairs with the student.
        found = condition.student if model == STUDENT else condition.two_level or condition.teacher
        for point in published_at(result.published, condition) if found else ():
            assert found is not None
            checks.append(
                held_against(
                    key,
                    f"{what} {condition.title}",
                    Number(model, found.probability, found.interval),
                    Number(point.source, point.probability, point.interval),
                    bound,
                    unit="",
                    question=question,
                    confidence=result.confidence,
                )
            )
    if not checks:
        name, comment = f"{what}, {model} − published", "no published point is at a condition"
        checks = [within(key, name, None, None, bound, "", comment=comment, question=question)]
    return checks


def _scattered_row(molecules: ScatteredMolecules) -> Row:
    """Shares of the lowest levels, and means with their intervals."""
    row: Row = {"molecules": molecules.molecules}
    shares = molecules.vibration.shares
    for v in range(_LEVELS):
        row[f"share_v{v}"] = shares[v] if v < len(shares) else 0.0
    for name in ("mean_rotation", "mean_exit_angle", "energy_transfer"):
        mean = getattr(molecules, name)
        row[name], row[f"{name}_interval"] = mean.value, mean.interval
    return row


def _within_0_and_1(interval: Interval) -> Interval:
    low, high = interval
    return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def _paired_checks(
    found: Sequence[Pairs], prefix: str, bound: float, confidence: float
) -> list[Check]:
    """Of one model minus another at every condition with pairs; a failed one where there is none.

    The costlier of the two, whose trajectories are counted, is the teacher or the reference.
    """
    question, model = LEVELS[prefix]
    first, second = (model, REFERENCE) if prefix else (TEACHER, STUDENT)
    costly = second if prefix else first
    key, what = f"{prefix}sticking", "sticking probability"
    checks = [
        within(
            key,
            f"{what} {condition.title}, {first} − {second}",
            paired.difference,
            paired.interval,
            bound,
            "",
            comment=_what_it_takes(paired, costly, bound, confidence),
            confidence=confidence,
            question=question,
        )
        for condition, paired in found
        if paired
    ]
    if not checks:
        name, comment = f"{what}, {first} − {second}", "no pair of sound trajectories of both"
        checks = [within(key, name, None, None, bound, "", comment=comment, question=question)]
    return checks


def _what_it_takes(paired: PairedSticking, costly: str, bound: float, confidence: float) -> str:
    """How many trajectories would settle it, where the interval alone reaches beyond the bound."""
    if not abs(paired.difference) < bound < max(abs(end) for end in paired.interval):
        return ""
    shares = (
        paired.only_first / paired.trajectories,
        paired.only_second / paired.trajectories,
    )
    independent = pairs_needed_within(bound, shares, confidence)
    needed = math.ceil(paired.design_effect * independent)
    return (
        f"the interval reaches beyond the bound: about {needed} {costly} trajectories are "
        f"needed instead of {paired.trajectories}"
    )
