"""The helpers behind the bundled data: what they write reads back, and splits are fair."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from helpers import ROOT

from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY, FORCES_KEY
from distill.data.structures import read_structures

SCRIPT = ROOT / "tools" / "bundling.py"


@pytest.fixture(scope="module")
def bundling() -> ModuleType:
    specification = importlib.util.spec_from_file_location("bundling", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def labelled(count: int, config_type: str, seed: int) -> list[Atoms]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += generator.normal(0, 0.1, atoms.positions.shape)
        atoms.info |= {CONFIG_TYPE_KEY: config_type, ENERGY_KEY: float(generator.normal())}
        atoms.arrays[FORCES_KEY] = generator.normal(size=atoms.positions.shape)
        found.append(atoms)
    return found


def test_rounded_positions_are_those_that_are_read_back(bundling, tmp_path: Path) -> None:
    atoms = bundling.rounded(labelled(1, "cu", 0)[0], "cu")
    atoms.info[ENERGY_KEY] = -1.23456789
    atoms.arrays[FORCES_KEY] = np.full((4, 3), 1 / 3)
    bundling.write_compact_extxyz(tmp_path / "one.xyz", [atoms, atoms])
    for read in read_structures(tmp_path / "one.xyz"):
        assert (read.positions == atoms.positions).all()
        np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-12)
        np.testing.assert_allclose(read.arrays[FORCES_KEY], 1 / 3, atol=1e-6)
        assert read.info[ENERGY_KEY] == atoms.info[ENERGY_KEY]
        assert read.info[CONFIG_TYPE_KEY] == "cu"


def test_split_takes_its_share_of_each_kind_and_no_isolated_atom(bundling) -> None:
    free = Atoms("Cu")
    free.info[CONFIG_TYPE_KEY] = "IsolatedAtom"
    structures = [*labelled(40, "one", 1), *labelled(10, "other", 2), free]
    train, test = bundling.split(structures, 0.2, np.random.default_rng(3))
    assert Counter(atoms.info[CONFIG_TYPE_KEY] for atoms in test) == {"one": 8, "other": 2}
    assert len(train) + len(test) == len(structures)
    assert not {id(atoms) for atoms in train} & {id(atoms) for atoms in test}


def test_a_shifted_copy_is_a_near_duplicate_and_a_moved_adsorbate_is_not(bundling) -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=6) + Atoms("H", positions=[[1.0, 1.0, 12.0]])
    slab.pbc = True
    slab.info[CONFIG_TYPE_KEY] = "h"
    shifted = slab.copy()
    shifted.translate((0.3, 0.1, 0.2))
    moved = slab.copy()
    moved.positions[-1, 2] += 0.15
    assert len(bundling.without_near_duplicates([slab, shifted, moved])) == 2


def test_thinning_spreads_over_the_range(bundling) -> None:
    structures = [Atoms("H", positions=[[0, 0, z]]) for z in np.linspace(0, 1, 101) ** 3]
    chosen = bundling.thin(structures, 5, lambda atoms: atoms.positions[0, 2])
    heights = [atoms.positions[0, 2] for atoms in chosen]
    np.testing.assert_allclose(heights, [0, 0.25, 0.5, 0.75, 1], atol=0.02)
