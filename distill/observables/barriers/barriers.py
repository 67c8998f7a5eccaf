"""Barriers: the same minimum energy paths by reference, teacher and student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.artifacts import write_json
from distill.core.config import ParallelConfig
from distill.core.errors import UserError
from distill.core.quantities import ENERGY_KEY
from distill.core.work import run_waiting
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.observables.model_comparison import REFERENCE, baseline
from distill.simulation.config import NebConfig
from distill.simulation.neb import PathUnit, path_lengths, path_units

RESULT_FILE = "barriers.json"
INTERPOLATION = "interpolation"


def run_barriers(
    nebs: Sequence[NebConfig],
    models: Mapping[str, ModelSpec],
    reference_paths: Mapping[str, str],
    out: Path,
    *,
    parallel: ParallelConfig | None = None,
) -> dict[str, Any]:
    """Climbing-band profiles of every path by every model, and their differences.

    Each model relaxes its own end points and band, on a slab of its own lattice constant where the
    config gives none. A band can end on a path that is not the lowest. So each model seeks its own
    from an interpolation and from the paths that the others found, and the lowest barrier of those
    that converged is taken. The reference, which may be costly, begins with the teacher's path.

    Parameters
    ----------
    nebs
        The paths.
    models
        Files, import paths or configs that `distill.models.calculators.load_calculator` takes, by
        role, such as teacher and student; `reference` where the reference level can be run.
    reference_paths
        By facet: extended XYZ file, or `bundled:NAME`, of a finished path's images with
        `REF_energy`, for the reference where it is not among `models`.
    out
        Folder of `barriers.json` and, by role, the paths' files. Finished ones are not sought
        again.
    parallel
        Where the paths run, one unit each; in this process if not given.

    Returns
    -------
    dict
        `paths`: by path, such as `Cu(111) bridge`, then by role `energy` (eV, 0 at the start),
        `distance` along the path (Å), `barrier` and `reaction_energy` (eV), and, of models,
        `converged`, `fmax` (eV/Å), `steps`, `calls` and `began_with` (`interpolation`, or the model
        whose path it began with). `differences`: by path, of barriers in eV, as `ROLE - ROLE`.

    Raises
    ------
    UserError
        If a reference path cannot be read or has fewer than three images.
    """
    parallel = parallel or ParallelConfig(backend="serial")
    found = _lowest_paths(nebs, models, out, parallel)
    paths: dict[str, dict[str, Any]] = {}
    for number, neb in enumerate(nebs):
        profiles: dict[str, dict[str, Any]] = {}
        if REFERENCE not in models and neb.initial is None and neb.facet in reference_paths:
            profiles[REFERENCE] = stored_profile(reference_paths[neb.facet])
        for role in models:
            profiles[role] = _profile(found[role][number])
        paths[_title(neb, number, paths)] = profiles
    result = {
        "paths": paths,
        "differences": {title: _differences(profiles) for title, profiles in paths.items()},
    }
    write_json(out / RESULT_FILE, result)
    return result


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
    nebs: Sequence[NebConfig],
    models: Mapping[str, ModelSpec],
    out: Path,
    parallel: ParallelConfig,
) -> dict[str, list[_Attempt]]:
    """By role, the attempt at each path of `nebs` that has the lowest barrier."""
    units = {role: path_units(nebs, model=model, out=out / role) for role, model in models.items()}
    seekers = [role for role in models if role != REFERENCE] or list(models)
    own = {role: [_Attempt(unit) for unit in units[role]] for role in seekers}
    _run(own.values(), parallel, "minimum energy paths")
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
        parallel,
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
        _run([best[REFERENCE]], parallel, "minimum energy paths by the reference")
    return best


def _run(attempts: Iterable[Iterable[_Attempt]], parallel: ParallelConfig, label: str) -> None:
    units = [attempt.unit for some in attempts for attempt in some]
    run_waiting(units, parallel=parallel, label=label)


def stored_profile(path: str) -> dict[str, Any]:
    """Profile of a finished path from its images: energy (eV), distance (Å), barrier (eV).

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
    return {
        "distance": path_lengths(images).tolist(),
        "energy": relative.tolist(),
        "barrier": float(relative.max()),
        "reaction_energy": float(relative[-1]),
        "file": str(path),
    }


def _profile(attempt: _Attempt) -> dict[str, Any]:
    summary = attempt.unit.summary()
    return {
        "distance": summary["coordinates_A"],
        "energy": summary["energies_eV"],
        "barrier": summary["barrier_eV"],
        "reaction_energy": summary["reaction_energy_eV"],
        "converged": summary["converged"],
        "fmax": summary["fmax_eV_per_A"],
        "steps": summary["steps"],
        "calls": summary["calls"],
        "began_with": attempt.began_with,
    }


def _title(neb: NebConfig, number: int, taken: Mapping[str, Any]) -> str:
    """Name of a path for people, with its place in the list where it would not be unique."""
    title = f"{neb.slab.element}({neb.facet}) {neb.site}" if neb.initial is None else "path"
    return f"{title} {number + 1}" if title in taken else title


def _differences(profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Differences of barriers, eV, of every two roles in the order reference, teacher, student."""
    roles = list(profiles)
    return {
        f"{one} - {other}": profiles[one]["barrier"] - profiles[other]["barrier"]
        for index, one in enumerate(roles)
        for other in roles[index + 1 :]
    }
