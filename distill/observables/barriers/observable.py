"""Barriers as an observable: tables, figure, checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.core.work import WorkFolder
from distill.observables.barriers.barriers import (
    barriers_teacher_level,
    run_barriers,
    stored_profile,
)
from distill.observables.barriers.config import BarrierConfig
from distill.observables.barriers.result import BarriersResult, Profile
from distill.observables.base import (
    REFERENCE,
    STUDENT,
    TEACHER,
    Card,
    Check,
    Observable,
    Question,
    Row,
    within,
)
from distill.simulation.neb_endpoints import refuse_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.teacher_level import TeacherNumber

# The question, and the two models, that each bound is on.
_BOUNDS: dict[str, tuple[Question, str, str]] = {
    "barrier": ("faithful", STUDENT, TEACHER),
    "teacher_barrier": ("teacher", TEACHER, REFERENCE),
    "purpose_barrier": ("purpose", STUDENT, REFERENCE),
}
_NO_INTERVAL = "a single path has no interval"


class BarrierTolerances(Section):
    """Bounds of barriers."""

    barrier: Positive | None = Field(
        None, description="difference of barriers teacher-student on every facet, eV"
    )
    teacher_barrier: Positive | None = Field(
        None, description="difference of barriers reference-teacher, eV"
    )
    purpose_barrier: Positive | None = Field(
        None, description="difference of barriers reference-student, eV: what the purpose allows"
    )


class Barriers(Observable[BarriersResult]):
    """Barriers along minimum energy paths."""

    name: ClassVar = "barriers"
    title: ClassVar = "Barriers"
    Config: ClassVar = BarrierConfig
    repeated: ClassVar = True
    Tolerances: ClassVar = BarrierTolerances
    Result: ClassVar = BarriersResult
    template: ClassVar = "distill.observables.barriers:section.html.j2"

    def refuse(self, config: Sequence[BarrierConfig], tolerances: BarrierTolerances) -> None:
        """Refuse a stored path that cannot be used, and ends between which there is no path."""
        for path in config:
            refuse_path(path)
            if path.reference is not None:
                stored_profile(path.reference)

    def run(
        self, config: Sequence[BarrierConfig], models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> BarriersResult:
        """See `run_barriers`."""
        return run_barriers(config, models, work)

    def teacher_level(
        self,
        config: Sequence[BarrierConfig],
        teacher: ModelSpec,
        student: ModelSpec,
        calls: int,
        work: WorkFolder,
    ) -> list[TeacherNumber]:
        """See `barriers_teacher_level`."""
        return barriers_teacher_level(config, teacher, student, calls, work)

    def rows(self, result: BarriersResult) -> dict[str, list[Row]]:
        """Path, model, barriers (eV), what the saddle and the ends are, how it was found."""
        rows = []
        for title, profiles in result.paths.items():
            teacher = profiles.get(TEACHER)
            for model, profile in profiles.items():
                rows.append(
                    {
                        "path": title,
                        "model": model,
                        "barrier": profile.barrier,
                        "difference": profile.barrier - teacher.barrier if teacher else None,
                        "zero_point_barrier": profile.zero_point_barrier,
                        "crossover_temperature": profile.crossover_temperature,
                        **_saddle_cells(profile),
                        "converged": profile.converged,
                        "began_with": profile.began_with,
                        "images": len(profile.energy),
                        "calls": profile.calls,
                    }
                )
        return {self.name: rows}

    def draw(self, result: BarriersResult) -> dict[str, Figure]:
        """Energy along the minimum energy path, one panel for each path."""
        import numpy as np

        from distill.core.figures import colour_of, panels, smooth

        with panels(result.paths, 3.6) as (figure, contents):
            for axis, title, profiles in contents:
                for k, (name, path) in enumerate(profiles.items()):
                    x, y = np.asarray(path.distance), np.asarray(path.energy)
                    label = f"{name}: {path.barrier:.3f} eV"
                    label += " (not converged)" if path.converged is False else ""
                    colour = colour_of(name, k)
                    axis.plot(*smooth(x, y), color=colour, lw=1.4)
                    axis.plot(x, y, "o", color=colour, ms=4.5, mec="white", mew=0.6, label=label)
                axis.axhline(0, color="#BBBBBB", lw=0.8)
                axis.set(title=title, xlabel="path length [Å]", ylabel="energy [eV]")
                axis.legend(loc="best", fontsize=8.5, title="barrier", title_fontsize=8.5)
        return {self.name: figure}

    def checks(self, result: BarriersResult, tolerances: BarrierTolerances) -> list[Check]:
        """One for each bound and each path of both models; both have to end on a true saddle.

        A path without a saddle in between, downhill or uphill all the way, has no barrier to
        compare and does not pass.
        """
        return [
            check
            for key, (question, one, other) in _BOUNDS.items()
            if (bound := getattr(tolerances, key)) is not None
            for check in _checks(result, key, question, one, other, bound)
        ]

    def cards(self, result: BarriersResult) -> list[Card]:
        """The largest difference of student and teacher, of paths that have a barrier by both."""
        found = {
            title: difference
            for title, difference in result.differences(STUDENT, TEACHER).items()
            if all(result.paths[title][model].has_saddle for model in (STUDENT, TEACHER))
        }
        if not found:
            return []
        title, (difference, faults) = max(found.items(), key=lambda item: abs(item[1][0]))
        note = title if len(found) == 1 else f"{title}, the largest of {len(found)} paths"
        return [
            Card(
                label="student’s barrier minus the teacher’s",
                value=MEV * difference,
                unit="meV",
                note="; ".join([note, *faults]),
            )
        ]


def _saddle_cells(profile: Profile) -> dict[str, object]:
    """What the Hessians say, in cells of a table."""
    saddle, minima = profile.saddle, profile.minima
    return {
        "saddle_order": saddle and saddle.negative,
        "wave_number": saddle and saddle.lowest_wave_number,
        "lowest_eigenvalue": saddle and saddle.lowest_eigenvalues[0],
        "second_eigenvalue": saddle and saddle.lowest_eigenvalues[1],
        "left": " ".join(f"{barrier:.4f}" for barrier in profile.left) or None,
        "ends": minima and ", ".join("minimum" if one else "no minimum" for one in minima),
        "ends_relaxed": profile.ends_relaxed and all(profile.ends_relaxed),
    }


def _checks(
    result: BarriersResult, key: str, question: Question, one: str, other: str, bound: float
) -> Iterator[Check]:
    found = result.differences(one, other)
    if not found:
        raise UserError(
            f"compare.tolerances.{key} is set, but there is no path of both {other} and {one}: "
            "ask for that computation or remove the tolerance"
        )
    for title, (difference, faults) in found.items():
        pair = {model: result.paths[title][model] for model in (one, other)}
        flat = [model for model, profile in pair.items() if not profile.has_saddle]
        if flat:
            faults = [
                f"the path of the {' and the '.join(flat)} has no saddle between its ends, so "
                "there is no barrier to compare: choose ends that have one between them"
            ]
        yield within(
            key,
            f"barrier {title}, {one} − {other}",
            None if flat else difference,
            None,
            bound,
            "eV",
            sound=not faults,
            comment="; ".join(faults) or _NO_INTERVAL,
            question=question,
        )
