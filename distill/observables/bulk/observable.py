"""Bulk properties as an observable: tables and figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.quantities import MEV
from distill.core.results import Interval
from distill.core.work import WorkFolder
from distill.observables.against import LEVELS, Number, held_against, refuse_without
from distill.observables.base import REFERENCE, TEACHER, Check, Observable, Row
from distill.observables.bulk.bulk import checked_crystal, run_bulk
from distill.observables.bulk.config import BulkConfig
from distill.observables.bulk.figure_of_merit import GIVEN
from distill.observables.bulk.result import BulkProperties, BulkResult, Quantity
from distill.observables.bulk.teacher_level import bulk_teacher_level

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.teacher_level import TeacherNumber


# Of each bound without its prefix: the properties of a crystal, as far as it has them.
_BOUNDED = {
    "lattice_constant": ("lattice_constant", "lattice_constant_b", "lattice_constant_c"),
    "bulk_modulus": ("bulk_modulus_GPa",),
}


class BulkTolerances(Section):
    """Bounds of bulk properties at 0 K, as shares of the number that is held against."""

    lattice_constant: Positive | None = Field(
        None, description="difference of lattice constants teacher-student over the teacher's"
    )
    bulk_modulus: Positive | None = Field(
        None, description="difference of bulk moduli teacher-student over the teacher's"
    )
    teacher_lattice_constant: Positive | None = Field(
        None, description="of the teacher, against the reference and `bulk.reference`, a share"
    )
    teacher_bulk_modulus: Positive | None = Field(
        None, description="of the teacher, against the reference and `bulk.reference`, a share"
    )
    purpose_lattice_constant: Positive | None = Field(
        None,
        description="of the student, against the reference and `bulk.reference`, a share: what "
        "the purpose allows",
    )
    purpose_bulk_modulus: Positive | None = Field(
        None,
        description="of the student, against the reference and `bulk.reference`, a share: what "
        "the purpose allows",
    )


class Bulk(Observable[BulkResult]):
    """Energy-volume curve, elastic constants, thermal expansion and phonons of a crystal."""

    name: ClassVar = "bulk"
    title: ClassVar = "Bulk"
    Config: ClassVar = BulkConfig
    Tolerances: ClassVar = BulkTolerances
    Result: ClassVar = BulkResult
    template: ClassVar = "distill.observables.bulk:section.html.j2"

    def refuse(self, config: BulkConfig, tolerances: BulkTolerances) -> None:
        """Refuse a cell that cannot be made or has no one lattice constant, or given numbers."""
        checked_crystal(config)

    def run(
        self, config: BulkConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> BulkResult:
        """See `run_bulk`."""
        return run_bulk(config, models, work)

    def teacher_level(
        self,
        config: BulkConfig,
        teacher: ModelSpec,
        student: ModelSpec,
        calls: int,
        work: WorkFolder,
    ) -> list[TeacherNumber]:
        """See `bulk_teacher_level`."""
        return bulk_teacher_level(config, teacher, student, calls, work)

    def rows(self, result: BulkResult) -> dict[str, list[Row]]:
        """One row for each model and property, and one for each figure of merit, in percent."""
        bulk: list[Row] = [
            {
                "model": model,
                "property": quantity.title,
                "unit": quantity.unit,
                "value": quantity.value,
                "interval": quantity.interval,
            }
            for model, properties in result.models.items()
            for quantity in properties.quantities().values()
        ]
        merits = result.merit.models
        groups = dict.fromkeys(group for found in merits.values() for group in found.groups)
        merit: list[Row] = [
            {"model": model, "merit": found.merit, **{g: found.groups.get(g) for g in groups}}
            for model, found in merits.items()
        ]
        return {self.name: bulk, "merit": merit}

    def checks(self, result: BulkResult, tolerances: BulkTolerances) -> list[Check]:
        """One for each bound, property, and number that it is held against."""
        return [
            check
            for prefix in LEVELS
            for name in _BOUNDED
            if (bound := getattr(tolerances, f"{prefix}{name}")) is not None
            for check in _checks(result, prefix, name, bound)
        ]

    def draw(self, result: BulkResult) -> dict[str, Figure]:
        """Energy-volume curves; lattice constants over temperature and phonons if computed."""
        from distill.core.figures import FIGURE_WIDTH, figure_style

        models = result.models
        panels: list[Callable[[Axes, Mapping[str, BulkProperties]], None]] = [_energy_volume_panel]
        if any(found.thermal_expansion for found in models.values()):
            panels.append(_expansion_panel)
        if any(found.phonons for found in models.values()):
            panels += [_phonon_panel, _density_panel]
        with figure_style() as plt:
            columns = min(len(panels), 2)
            rows = math.ceil(len(panels) / columns)
            size = (FIGURE_WIDTH if columns > 1 else 5.2, 3.5 * rows)
            figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
            for axis in axes.flat[len(panels) :]:
                axis.set_visible(False)
            for axis, panel in zip(axes.flat, panels, strict=False):
                panel(axis, models)
            axes[0, 0].legend(fontsize=8.5)
        return {self.name: figure}


def _checks(result: BulkResult, prefix: str, name: str, bound: float) -> list[Check]:
    """Of a model against the teacher, or against the reference and the given numbers."""
    question, model = LEVELS[prefix]
    key = f"{prefix}{name}"
    others = [TEACHER] if question == "faithful" else [REFERENCE, GIVEN]
    checks = [
        held_against(
            key,
            one.title,
            Number(model, one.value, one.interval),
            Number(other, *against[quantity]),
            bound,
            unit="",
            question=question,
            confidence=result.confidence,
            relative=True,
        )
        for other in others
        for against in [_numbers_of(result, other)]
        for quantity, one in _quantities_of(result, model).items()
        if quantity in _BOUNDED[name] and quantity in against
    ]
    if not checks:
        refuse_without(
            key,
            f"there is no {name.replace('_', ' ')} of the {model} and of the "
            f"{' or '.join(others)}: give a reference that can be run or compare.bulk.reference",
        )
    return checks


def _quantities_of(result: BulkResult, model: str) -> dict[str, Quantity]:
    return result.models[model].quantities() if model in result.models else {}


def _numbers_of(result: BulkResult, source: str) -> dict[str, tuple[float, Interval | None]]:
    if source == GIVEN:
        return {name: (value, None) for name, value in result.given.items()}
    return {name: (q.value, q.interval) for name, q in _quantities_of(result, source).items()}


def _energy_volume_panel(axis: Axes, models: Mapping[str, BulkProperties]) -> None:
    import numpy as np

    from distill.core.figures import colour_of, smooth

    for k, (name, found) in enumerate(models.items()):
        curve, colour = found.equation_of_state, colour_of(name, k)
        atoms = curve.volume / curve.volume_per_atom
        energies = MEV * (np.array(curve.energies) / atoms - curve.energy_per_atom)
        volumes = np.array(curve.volumes) / atoms
        axis.plot(*smooth(volumes, energies), color=colour, lw=1.4)
        axis.plot(volumes, energies, "o", ms=4, color=colour, label=name)
    axis.set(xlabel="volume [Å³/atom]", ylabel="energy above the minimum [meV/atom]")


def _expansion_panel(axis: Axes, models: Mapping[str, BulkProperties]) -> None:
    import numpy as np

    from distill.core.figures import colour_of

    for k, (name, found) in enumerate(models.items()):
        points = [
            (point.temperature, point.lattice_constant, *point.interval)
            for point in found.thermal_expansion
            if point.lattice_constant is not None and point.interval is not None
        ]
        x, y, *ends = np.array(points).reshape(-1, 4).T
        axis.errorbar(x, y, np.abs(ends - y), fmt="-o", ms=4, capsize=3, color=colour_of(name, k))
    axis.set(xlabel="temperature [K]", ylabel="lattice constant [Å]")


def _phonon_panel(axis: Axes, models: Mapping[str, BulkProperties]) -> None:
    from distill.core.figures import colour_of

    for k, (name, found) in enumerate(models.items()):
        if found.phonons:
            bands = found.phonons.dispersion
            axis.plot(bands.distance, bands.frequencies, color=colour_of(name, k), lw=1.0)
            axis.set_xticks(bands.positions, bands.labels)
            axis.set_xlim(bands.distance[0], bands.distance[-1])
    axis.set(xlabel="wave vector", ylabel="frequency [THz]")


def _density_panel(axis: Axes, models: Mapping[str, BulkProperties]) -> None:
    from distill.core.figures import colour_of

    for k, (name, found) in enumerate(models.items()):
        if found.phonons:
            states = found.phonons.density_of_states
            axis.plot(states.density, states.frequency, color=colour_of(name, k), lw=1.0)
    axis.set(xlabel="density of states [1/THz]", ylabel="frequency [THz]")
