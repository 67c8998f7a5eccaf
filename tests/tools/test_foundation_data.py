"""The structures that the foundation model learns: usable, and labelled once whatever is killed."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from helpers import ROOT

from distill.core.quantities import ENERGY_KEY, FORCES_KEY, STRESS_KEY
from distill.models.config import CalculatorConfig

TOOLS = ROOT / "tools"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(TOOLS))
    try:
        path = TOOLS / "make_foundation_data.py"
        specification = importlib.util.spec_from_file_location("make_foundation_data", path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(TOOLS))


def test_every_family_draws_structures_that_can_be_labelled(script):
    for name, (family, _) in (script.families() | script.families_of_more_elements()).items():
        drawn = list(family(np.random.default_rng(0), 4))
        usable = [atoms for atoms in drawn if script.is_usable(atoms)]
        assert usable, name
    symbols = {s for atoms in drawn for s in atoms.symbols}
    assert symbols & set(script.MORE_SYMBOLS)


def test_each_element_alone_has_a_measured_energy(script):
    symbols = (*script.SYMBOLS, *script.MORE_SYMBOLS)
    alone = script.elements_alone(symbols)
    assert set(alone) == set(symbols) == set(script.COHESIVE)
    for symbol, atoms in alone.items():
        assert set(atoms.symbols) == {symbol}
        assert script.is_usable(atoms)


def test_labels_are_made_once(script, tmp_path, monkeypatch):
    structures = [bulk("Cu", "fcc", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    model = CalculatorConfig(path="ase.calculators.emt:EMT")
    first = script.labelled(structures, model, tmp_path, 1, "copper")
    assert [atoms.info[ENERGY_KEY] for atoms in first] == [
        pytest.approx(EMT().get_potential_energy(atoms)) for atoms in structures
    ]
    assert all(np.abs(atoms.info[STRESS_KEY]).max() > 1e-4 for atoms in first)
    monkeypatch.setattr(EMT, "calculate", None)
    again = script.labelled(structures, model, tmp_path, 1, "copper")
    assert again[2].info[ENERGY_KEY] == first[2].info[ENERGY_KEY]


def test_what_no_model_should_learn_is_left_out(script):
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.3]], cell=[9] * 3, pbc=True)
    free = {"Cu": -1.0}

    def kept(energy=-4.0, force=1.0, stress=0.01):
        atoms.info |= {ENERGY_KEY: energy, STRESS_KEY: np.full(6, stress)}
        atoms.arrays[FORCES_KEY] = np.full((2, 3), force)
        return script.is_physical(atoms, free)

    assert kept()
    assert not kept(energy=-0.7)
    assert not kept(force=20.0)
    assert not kept(stress=0.7)


def test_an_atom_out_of_sight_is_not_labelled(script):
    cell = {"cell": [30] * 3, "pbc": True}
    assert script.is_usable(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.5]], **cell))
    assert not script.is_usable(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 7.0]], **cell))
    assert not script.is_usable(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 1.2]], **cell))
