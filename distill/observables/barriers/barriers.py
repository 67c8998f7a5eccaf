"""Barriers: the same minimum energy paths by reference, teacher and student."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import ENERGY_KEY
from distill.core.results import Record, Result
from distill.core.work import WorkFolder
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.observables.barriers.config import BarrierConfig
from distill.observables.base import REFERENCE, baseline
from distill.simulation.config import NebConfig, PathConfig
from distill.simulation.neb import PathUnit, path_lengths, path_units

INTERPOLATION = "interpolation"


class Profile(Record):
    """A path as one model has it.

    Attributes
    ----------
    distance
        Along the path, Å, one number for each image.
    energy
        eV, 0 at the first image.
    barrier, reaction_energy
        Of the highest and the last image over the first, eV.
    converged, fmax, steps, calls
        Of the band: largest force in eV/Å, optimiser steps, force calls; None for a stored path.
    began_with
        `interpolation`, or the model whose path it began with; None for a stored path.
    file
        Of a stored path.
    """

    distance: list[float]
    energy: list[float]
    barrier: float
    reaction_energy: float
    converged: bool | None = None
    fmax: float | None = None
    steps: int | None = None
    calls: int | None = None
    began_with: str | None = None
    file: str | None = None

    @property
    def settled(self) -> bool:
        """Whether the band converged, or was given as a finished one."""
        return bool(self.converged) or self.file is not None

    @property
    def has_saddle(self) -> bool:
        """Whether an image between the ends lies above both: without one there is no barrier."""
        return max(self.energy[1:-1], default=-math.inf) > max(self.energy[0], self.energy[-1])


class BarriersResult(Result):
    """Profiles by path, such as `Cu(111) bridge`, and model."""

    paths: dict[str, dict[str, Profile]]

    def differences(self, one: str, other: str) -> dict[str, tuple[float, bool]]:
        """By path, the barrier of one model minus another's, eV, and whether both converged."""
        return {
            title: (
                profiles[one].barrier - profiles[other].barrier,
                all(profiles[model].settled for model in (one, other)),
            )
            for title, profiles in self.paths.items()
            if {one, other} <= set(profiles)
        }


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
    )


def _title(config: BarrierConfig, number: int, taken: Mapping[str, object]) -> str:
    """Name of a path for people, with its place in the list where it would not be unique."""
    slab = config.slab
    title = "path" if config.initial else f"{slab.element}({config.facet}) {config.site}"
    return f"{title} {number + 1}" if title in taken else title
