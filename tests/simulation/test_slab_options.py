"""Every option of a slab does something: changing it changes the thermal surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from distill.config import NptConfig, ScatteringConfig, SlabConfig
from distill.core.work import WorkFolder
from distill.simulation.surfaces import make_surfaces
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import build_slab

EMT_PATH = "ase.calculators.emt:EMT"
BASE: dict[str, Any] = {
    "size": (2, 2),
    "layers": 2,
    "fixed_layers": 1,
    "vacuum": 13.0,
    "lattice_constant": 3.6,
}
OTHERS: dict[str, dict[str, Any]] = {
    "file": {},
    "element": {**BASE, "element": "Ag"},
    "size": {**BASE, "size": (3, 2)},
    "layers": {**BASE, "layers": 3},
    "fixed_layers": {**BASE, "fixed_layers": 0},
    "vacuum": {**BASE, "vacuum": 14.0},
    "lattice_constant": {**BASE, "lattice_constant": None},
    "thermal_expansion": {**BASE, "thermal_expansion": 5e-5},
    "npt": {
        **BASE,
        "npt": NptConfig(
            supercell=(2, 2, 2), time=240, equilibration_time=60, time_step=5, blocks=3
        ),
    },
}


def surface(slab: SlabConfig, folder: Path) -> tuple[str, Atoms]:
    """Key and first snapshot of a surface at 300 K."""
    config = ScatteringConfig(
        slab=slab,
        facets=["111"],
        surface_temperatures=[300.0],
        states=[(0, 1)],
        start_height=3.0,
        thermalisation_time=8.0,
        snapshots=1,
        surface_time_step=4.0,
    )
    made = make_surfaces(config, model=EMT_PATH, work=WorkFolder(folder))
    [key], [[snapshot]] = made.keys.values(), made.snapshots.values()
    return key, snapshot


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> tuple[str, Atoms]:
    return surface(SlabConfig(**BASE), tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("name", SlabConfig.model_fields)
def test_every_option_changes_the_surface_and_its_key(base, tmp_path, name):
    assert name in OTHERS, f"what is another value of {name}?"
    options = OTHERS[name]
    if name == "file":
        slab = build_slab(SlabConfig(**BASE), "111", 3.6)
        slab.info = {}
        del slab[-1]
        write(tmp_path / "users.xyz", slab, format="extxyz")
        options = {"file": str(tmp_path / "users.xyz")}
    key, snapshot = surface(SlabConfig(**options), tmp_path)
    assert key != base[0]
    assert described(snapshot) != described(base[1])


def described(atoms: Atoms) -> tuple:
    return (
        atoms.numbers.tolist(),
        np.round(atoms.cell.array, 5).tolist(),
        mobile_atoms(atoms).tolist(),
    )
