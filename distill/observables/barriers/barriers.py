"""Barriers: the same minimum energy paths by reference, teacher and student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import ENERGY_KEY
from distill.core.work import WorkFolder
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.observables.barriers.config import BarrierConfig
from distill.observables.barriers.result import BarriersResult, Profile, StationaryPoint
from distill.observables.base import REFERENCE, STUDENT, baseline
from distill.observables.teacher_level import TeacherNumber, calls_folder
from distill.simulation.config import NebConfig, PathConfig
from distill.simulation.neb_band import path_lengths
from distill.simulation.neb_teacher import TeacherPathUnit
from distill.simulation.neb_units import PathUnit, path_units

INTERPOLATION = "interpolation"


def run_barriers(
    configs: Sequence[BarrierConfig], models: Mapping[str, ModelSpec], work: WorkFolder
) -> BarriersResult:
    """Climbing-band profiles of every path by every model.

    Each model relaxes its own end points and band, on a slab of its own lattice constant where the
    config gives none. A band can end on a path that is not the lowest. So each model seeks its own
    from an interpolation and from the paths that the others found, and the lowest barrier of those
    that converged is taken. The reference, which may be costly, begins with the teacher's path.

    Parameters
    ----------
    configs
        The paths.
    models
        What `distill.models.calculators.load_calculator` takes, by role, such as teacher and
        student; `reference` where the reference level can be run.
    work
        Folder of the paths' files by role, and where they run, one unit each.

    Raises
    ------
    UserError
        If a stored path cannot be read or has fewer than three images.
    """
    found = _lowest_paths(configs, models, work)
    paths: dict[str, dict[str, Profile]] = {}
    for number, config in enumerate(configs):
        profiles: dict[str, Profile] = {}
        if REFERENCE not in models and config.reference is not None:
            profiles[REFERENCE] = stored_profile(config.reference)
        for role in models:
            profiles[role] = _profile(found[role][number])
        paths[_title(config, number, paths)] = profiles
    return BarriersResult(paths=paths)


def barriers_teacher_level(
    configs: Sequence[BarrierConfig],
    teacher: ModelSpec,
    student: ModelSpec,
    calls: int,
    work: WorkFolder,
) -> list[TeacherNumber]:
    """The teacher's barriers from the student's own paths, and at most so many calls for each.

    Parameters
    ----------
    configs
        The paths.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    calls
        Of the teacher for each path; its lattice constant, of a small cell, is not among them.
    work
        Folder of the paths' files by role, and where they run.

    Raises
    ------
    UserError
        If there are fewer than three calls.
    """
    paths = path_units(
        [_band(config) for config in configs], model=student, out=work.path / STUDENT
    )
    work.run(list(paths), "minimum energy paths by the student")
    units = [
        TeacherPathUnit(
            calls_folder(work, teacher),
            path.name,
            model=teacher,
            student=student,
            config=path.config,
            images=path.images_path,
            calls=calls,
        )
        for path in paths
    ]
    work.run(units, "barriers: calls of the teacher")
    titles: dict[str, None] = {}
    for number, config in enumerate(configs):
        titles[_title(config, number, titles)] = None
    return [
        TeacherNumber(
            quantity="barrier",
            place={"path": title},
            value=numbers["barrier"],
            interval=None,
            student=numbers["student_barrier"],
            unit="eV",
            form="path of the student on a surface corrected by the teacher",
            calls=numbers["calls"],
            comment=_doubt(numbers),
        )
        for title, unit in zip(titles, units, strict=True)
        for numbers in [unit.numbers()]
    ]


def _doubt(numbers: Mapping[str, Any]) -> str:
    """What may be wrong with a barrier of a few calls, in words; empty where nothing is."""
    if numbers["problem"]:
        return f"the teacher failed after {numbers['calls']} calls: {numbers['problem']}"
    if not numbers["converged"]:
        return f"not converged within {numbers['calls']} calls: more may change it"
    return ""


@dataclass(frozen=True)
class _Attempt:
    """A band and what it began with: an interpolation, or the path of the model named."""

    unit: PathUnit
    began_with: str = INTERPOLATION

    @property
    def converged(self) -> bool:
        return bool(self.unit.numbers()["converged"])

    @property
    def rank(self) -> tuple[bool, float]:
        numbers = self.unit.numbers()
        return not numbers["converged"], numbers["barrier_eV"]

    def after(self, unit: PathUnit, model: str) -> _Attempt:
        """The band of another model's unit that begins with this path, which is `model`'s."""
        folder = unit.folder / f"from_{model}"
        return _Attempt(replace(unit, folder=folder, guess=self.unit.images_path), model)


def _lowest_paths(
    configs: Sequence[BarrierConfig], models: Mapping[str, ModelSpec], work: WorkFolder
) -> dict[str, list[_Attempt]]:
    """By role, the attempt at each path that has the lowest barrier."""
    bands = [_band(config) for config in configs]
    units = {
        role: path_units(bands, model=model, out=work.path / role) for role, model in models.items()
    }
    seekers = [role for role in models if role != REFERENCE] or list(models)
    own = {role: [_Attempt(unit) for unit in units[role]] for role in seekers}
    _run(own.values(), work, "minimum energy paths")
    others = {
        role: [
            [
                own[other][number].after(unit, other)
                for other in seekers
                if other != role and own[other][number].converged
            ]
            for number, unit in enumerate(units[role])
        ]
        for role in seekers
    }
    _run(
        (attempts for found in others.values() for attempts in found),
        work,
        "the same from the others' paths",
    )
    best = {
        role: [
            min([first, *further], key=lambda attempt: attempt.rank)
            for first, further in zip(own[role], others[role], strict=True)
        ]
        for role in seekers
    }
    if REFERENCE not in best and REFERENCE in models:
        leader = baseline(seekers)
        best[REFERENCE] = [
            lead.after(unit, leader) if lead.converged else _Attempt(unit)
            for unit, lead in zip(units[REFERENCE], best[leader], strict=True)
        ]
        _run([best[REFERENCE]], work, "minimum energy paths by the reference")
    return best


def _band(config: BarrierConfig) -> NebConfig:
    """The band of a path: a stored one makes no other of it, and nothing is kept for labelling."""
    return NebConfig(keep=0, **{name: getattr(config, name) for name in PathConfig.model_fields})


def _run(attempts: Iterable[Iterable[_Attempt]], work: WorkFolder, label: str) -> None:
    work.run([attempt.unit for some in attempts for attempt in some], label)


def stored_profile(path: str) -> Profile:
    """Profile of a finished path from its images.

    Raises
    ------
    UserError
        If the file cannot be read, lacks energies, or has fewer than three images.
    """
    images = read_structures(path, require=("energy",))
    if len(images) < 3:
        raise UserError(f"{path} holds {len(images)} images of a path, expected three or more")
    energies = np.array([image.info[ENERGY_KEY] for image in images])
    relative = energies - energies[0]
    return Profile(
        distance=path_lengths(images).tolist(),
        energy=relative.tolist(),
        barrier=float(relative.max()),
        reaction_energy=float(relative[-1]),
        file=str(path),
    )


def _profile(attempt: _Attempt) -> Profile:
    summary = attempt.unit.summary()
    return Profile(
        distance=summary["coordinates_A"],
        energy=summary["energies_eV"],
        barrier=summary["barrier_eV"],
        reaction_energy=summary["reaction_energy_eV"],
        converged=summary["converged"],
        fmax=summary["fmax_eV_per_A"],
        steps=summary["steps"],
        calls=summary["calls"],
        began_with=attempt.began_with,
        ends_fmax=summary["end_points_fmax_eV_per_A"],
        ends_relaxed=summary["end_points_relaxed"],
        zero_point_barrier=summary["zero_point_barrier_eV"],
        crossover_temperature=summary["crossover_temperature_K"],
        left=summary["left_eV"],
        **{name: _stationary(summary[name]) for name in ("initial", "saddle", "final")},
    )


def _stationary(summary: Mapping[str, Any] | None) -> StationaryPoint | None:
    if summary is None:
        return None
    return StationaryPoint(
        atoms=summary["atoms"],
        lowest_eigenvalues=summary["lowest_eigenvalues_eV_per_A2"],
        negative=summary["negative"],
        lowest_wave_number=summary["lowest_wave_number_per_cm"],
        zero_point_energy=summary["zero_point_energy_eV"],
        imaginary_mode=summary.get("imaginary_mode"),
    )


def _title(config: BarrierConfig, number: int, taken: Mapping[str, object]) -> str:
    """Name of a path for people, with its place in the list where it would not be unique."""
    slab = config.slab
    title = "path" if config.initial else f"{slab.element}({config.facet}) {config.site}"
    return f"{title} {number + 1}" if title in taken else title
