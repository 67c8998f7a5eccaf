"""Barriers as an observable: tables, figure, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.core.work import WorkFolder
from distill.observables.barriers.barriers import BarriersResult, run_barriers, stored_profile
from distill.observables.barriers.config import BarrierConfig
from distill.observables.base import STUDENT, TEACHER, Card, Check, Observable, Row, within
from distill.simulation.neb_endpoints import refuse_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec


class BarrierTolerances(Section):
    """Bounds of barriers."""

    barrier: Positive | None = Field(
        None, description="difference of barriers teacher-student on every facet, eV"
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

    def rows(self, result: BarriersResult) -> dict[str, list[Row]]:
        """Path, model, barrier and its difference to the teacher's (eV), how it was found."""
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
                        "converged": profile.converged,
                        "began_with": profile.began_with,
                        "images": len(profile.energy),
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
        """One for each path of both teacher and student; both bands have to have converged."""
        bound = tolerances.barrier
        if bound is None:
            return []
        found = result.differences(STUDENT, TEACHER)
        if not found:
            raise UserError(
                "compare.tolerances.barrier is set, but there is no path of both teacher and "
                "student: ask for that computation or remove the tolerance"
            )
        return [
            within(
                "barrier",
                f"barrier {title}, student − teacher",
                difference,
                None,
                bound,
                "eV",
                sound=converged,
                comment=""
                if converged
                else "a band did not converge: raise max_steps, then compare again",
            )
            for title, (difference, converged) in found.items()
        ]

    def cards(self, result: BarriersResult) -> list[Card]:
        """The largest difference of student and teacher."""
        found = result.differences(STUDENT, TEACHER)
        if not found:
            return []
        title, (difference, converged) = max(found.items(), key=lambda item: abs(item[1][0]))
        note = title if len(found) == 1 else f"{title}, the largest of {len(found)} paths"
        return [
            Card(
                label="student’s barrier minus the teacher’s",
                value=MEV * difference,
                unit="meV",
                note=note if converged else f"{note}; not converged",
            )
        ]
