"""Thermal displacements: how far atoms swing about their mean positions, by every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.errors import UserError
from distill.core.results import Interval, Record, Result
from distill.core.work import WorkFolder
from distill.metrics.jackknife import jackknife
from distill.observables.base import STUDENT, TEACHER, Check, Observable, Row, baseline, within
from distill.simulation.config import TrajectoryConfig
from distill.simulation.trajectory import (
    good_runs,
    moved_by_engine,
    run_trajectories,
    trajectory_start,
    trajectory_units,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec


class DisplacementConfig(TrajectoryConfig):
    """Root mean square displacements of the atoms of a crystal."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")


class DisplacementTolerances(Section):
    """Bounds of thermal displacements."""

    thermal_displacement: Positive | None = Field(
        None, description="difference student-teacher over the teacher's, every element"
    )


class Displacement(Record):
    """Of one element at one temperature by one model.

    Attributes
    ----------
    temperature
        K.
    displacement, interval
        Root mean square, Å.
    difference, difference_interval
        To the baseline over the baseline's; None for the baseline itself.
    """

    temperature: float
    element: str
    model: str
    displacement: float
    interval: Interval
    difference: float | None = None
    difference_interval: Interval | None = None


class DisplacementResult(Result):
    """Displacements of every element by every model with two good runs."""

    displacements: list[Displacement]
    confidence: float


def mean_squares(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Mean squared displacement of each atom about its mean position, shape (N,), Å².

    Parameters
    ----------
    positions
        Unwrapped, shape (frames, N, 3), Å. The motion as a whole is taken out.
    masses
        amu, shape (N,).
    """
    positions = np.asarray(positions, dtype=float)
    centred = positions - np.average(positions, axis=1, weights=masses)[:, None]
    return np.sum((centred - centred.mean(axis=0)) ** 2, axis=2).mean(axis=0)


class ThermalDisplacement(Observable[DisplacementResult]):
    """Thermal displacements of the elements of a crystal, intervals by independent runs."""

    name: ClassVar = "thermal_displacement"
    title: ClassVar = "Thermal displacements"
    Config: ClassVar = DisplacementConfig
    Tolerances: ClassVar = DisplacementTolerances
    Result: ClassVar = DisplacementResult

    def refuse(self, config: DisplacementConfig, tolerances: DisplacementTolerances) -> None:
        """Refuse a structure that is not there."""
        trajectory_start(config)

    def run(
        self, config: DisplacementConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> DisplacementResult:
        """Langevin dynamics of every model in paired runs."""
        atoms = trajectory_start(config)
        where = f"compare.{self.name}"
        moved = moved_by_engine(config, models, work, student=STUDENT, where=where)
        units = trajectory_units(config, moved, work, ensemble="nvt", quantity="positions")
        run_trajectories(units, work, self.name)
        squares = {
            place: {
                number: mean_squares(unit.frames(), atoms.get_masses())
                for number, unit in good_runs(of_model).items()
            }
            for place, of_model in units.items()
        }
        symbols = np.array(atoms.get_chemical_symbols())
        found = []
        for (model, temperature), runs in squares.items():
            leader = squares[baseline(models), temperature]
            for element in dict.fromkeys(symbols.tolist()):
                own, first = (
                    {number: float(run[symbols == element].mean()) for number, run in some.items()}
                    for some in (runs, leader)
                )
                if len(own) > 1:
                    entry = _displacement(own, config.confidence)
                    if model != baseline(models):
                        entry |= _difference(first, own, config.confidence)
                    place = {"temperature": temperature, "element": element, "model": model}
                    found.append(Displacement(**place, **entry))
        return DisplacementResult(displacements=found, confidence=config.confidence)

    def rows(self, result: DisplacementResult) -> dict[str, list[Row]]:
        """One row for each temperature, element and model."""
        return {self.name: [entry.model_dump() for entry in result.displacements]}

    def draw(self, result: DisplacementResult) -> dict[str, Figure]:
        """Displacement against temperature, a panel for each element."""
        from distill.core.figures import colour_of, panels

        contents: dict[str, dict[str, list[Displacement]]] = {}
        for entry in result.displacements:
            of_element = contents.setdefault(entry.element, {})
            of_element.setdefault(entry.model, []).append(entry)
        with panels(contents, 3.0) as (figure, drawn):
            for axis, title, lines in drawn:
                for k, (model, entries) in enumerate(lines.items()):
                    values = np.array([entry.displacement for entry in entries])
                    ends = np.array([entry.interval for entry in entries]).T
                    axis.errorbar(
                        [entry.temperature for entry in entries],
                        values,
                        np.abs(ends - values),
                        fmt="o",
                        capsize=3,
                        color=colour_of(model, k),
                        label=model,
                    )
                axis.set(title=title, xlabel="temperature [K]", ylabel="displacement [Å]")
                axis.legend(loc="best", fontsize=8.5)
        return {self.name: figure}

    def checks(self, result: DisplacementResult, tolerances: DisplacementTolerances) -> list[Check]:
        """One for each temperature and element of both teacher and student."""
        bound = tolerances.thermal_displacement
        if bound is None:
            return []
        models = {entry.model for entry in result.displacements}
        if not {TEACHER, STUDENT} <= models:
            raise UserError(
                "compare.tolerances.thermal_displacement is set, but there are no two good runs of "
                "both teacher and student"
            )
        return [
            within(
                self.name,
                f"displacement of {entry.element} at {entry.temperature:g} K, student over "
                "teacher − 1",
                entry.difference,
                entry.difference_interval,
                bound,
                "",
                confidence=result.confidence,
            )
            for entry in result.displacements
            if entry.model == STUDENT
        ]


_Runs = Mapping[int, float]


def _displacement(runs: _Runs, confidence: float) -> dict[str, Any]:
    found = jackknife(np.sqrt, _array(runs, list(runs)))
    low, high = found.interval(confidence)
    return {"displacement": float(found.corrected), "interval": (float(low), float(high))}


def _difference(first: _Runs, second: _Runs, confidence: float) -> dict[str, Any]:
    numbers = sorted(first.keys() & second.keys())
    if len(numbers) < 2:
        return {}
    found = jackknife(
        lambda one, other: np.sqrt(other / one) - 1, _array(first, numbers), _array(second, numbers)
    )
    low, high = found.interval(confidence)
    return {"difference": float(found.corrected), "difference_interval": (float(low), float(high))}


def _array(runs: _Runs, numbers: Sequence[int]) -> np.ndarray:
    return np.array([runs[number] for number in numbers])
