"""Barriers: the same minimum energy paths by reference, teacher and student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

RESULT_FILE = "barriers.json"
REFERENCE = "reference"


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
    config gives none.

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
        `paths`: for each path its `name`, `facet`, `site`, the `profiles` by role (barrier and
        energies in eV relative to the first image, coordinates in Å, convergence), and
        `differences` of barriers in eV by `ROLE-ROLE`.

    Raises
    ------
    UserError
        If a reference path cannot be read or has fewer than three images.
    """
    parallel = parallel or ParallelConfig(backend="serial")
    units = {role: path_units(nebs, model=model, out=out / role) for role, model in models.items()}
    run_waiting(
        [unit for found in units.values() for unit in found],
        parallel=parallel,
        label="minimum energy paths",
    )
    paths = []
    for number, neb in enumerate(nebs):
        profiles: dict[str, dict[str, Any]] = {}
        if REFERENCE not in models and neb.initial is None and neb.facet in reference_paths:
            profiles[REFERENCE] = stored_profile(reference_paths[neb.facet])
        for role, found in units.items():
            profiles[role] = found[number].summary()
        paths.append(
            {
                "name": f"{number:02d}_{neb.facet}_{neb.site}",
                "facet": neb.facet,
                "site": neb.site,
                "profiles": profiles,
                "differences": _differences(profiles),
            }
        )
    result = {"paths": paths}
    write_json(out / RESULT_FILE, result)
    return result


def stored_profile(path: str) -> dict[str, Any]:
    """Profile of a finished path from its images: energies (eV), coordinates (Å), barrier (eV).

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
        "name": str(path),
        "barrier_eV": float(relative.max()),
        "reaction_energy_eV": float(relative[-1]),
        "energies_eV": relative,
        "coordinates_A": path_lengths(images),
        "converged": True,
    }


def _differences(profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Differences of barriers, eV, of every two roles in the order reference, teacher, student."""
    roles = list(profiles)
    return {
        f"{one}-{other}": profiles[one]["barrier_eV"] - profiles[other]["barrier_eV"]
        for index, one in enumerate(roles)
        for other in roles[index + 1 :]
    }
