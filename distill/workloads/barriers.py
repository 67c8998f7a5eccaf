"""Barriers: the same minimum energy paths by reference, teacher and student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.artifacts import write_json
from distill.config import NebConfig, ParallelConfig
from distill.errors import UserError
from distill.sampling.models import ModelSpec
from distill.sampling.neb import path_lengths, path_units
from distill.sampling.units import run_waiting
from distill.structures import ENERGY_KEY, read_structures
from distill.workloads.models import REFERENCE

RESULT_FILE = "barriers.json"


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
    config gives none. The first model's band is interpolated; the others begin with its path where
    it converged, so that all are about the same saddle point.

    Parameters
    ----------
    nebs
        The paths.
    models
        Files, import paths or configs that `distill.calculators.load_calculator` takes, by role,
        such as teacher and student; `reference` where the reference level can be run.
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
        `converged`, `fmax` (eV/Å), `steps` and `calls`. `differences`: by path, of barriers in eV,
        as `ROLE - ROLE`.

    Raises
    ------
    UserError
        If a reference path cannot be read or has fewer than three images.
    """
    parallel = parallel or ParallelConfig(backend="serial")
    units = {role: path_units(nebs, model=model, out=out / role) for role, model in models.items()}
    leader, *others = units
    run_waiting(units[leader], parallel=parallel, label=f"minimum energy paths by {leader}")
    summaries = {leader: [unit.summary() for unit in units[leader]]}
    for role in others:
        units[role] = [
            replace(unit, guess=led.images_path) if summary["converged"] else unit
            for unit, led, summary in zip(
                units[role], units[leader], summaries[leader], strict=True
            )
        ]
    run_waiting(
        [unit for role in others for unit in units[role]],
        parallel=parallel,
        label=f"minimum energy paths by {' and '.join(others)}",
    )
    summaries |= {role: [unit.summary() for unit in units[role]] for role in others}
    paths: dict[str, dict[str, Any]] = {}
    for number, neb in enumerate(nebs):
        profiles: dict[str, dict[str, Any]] = {}
        if REFERENCE not in models and neb.initial is None and neb.facet in reference_paths:
            profiles[REFERENCE] = stored_profile(reference_paths[neb.facet])
        for role, found in summaries.items():
            profiles[role] = _profile(found[number])
        paths[_title(neb, number, paths)] = profiles
    result = {
        "paths": paths,
        "differences": {title: _differences(profiles) for title, profiles in paths.items()},
    }
    write_json(out / RESULT_FILE, result)
    return result


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


def _profile(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "distance": summary["coordinates_A"],
        "energy": summary["energies_eV"],
        "barrier": summary["barrier_eV"],
        "reaction_energy": summary["reaction_energy_eV"],
        "converged": summary["converged"],
        "fmax": summary["fmax_eV_per_A"],
        "steps": summary["steps"],
        "calls": summary["calls"],
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
