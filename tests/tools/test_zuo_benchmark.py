"""The benchmark on the public sets: its reader, and what becomes of elements without files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import ROOT

from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces

CELL = [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, 0.25, 6.0]]
FORCES = [[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]]


@pytest.fixture(scope="module")
def zuo() -> ModuleType:
    specification = importlib.util.spec_from_file_location("zuo", ROOT / "benchmarks" / "zuo.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def entry() -> dict[str, Any]:
    sites = [
        {"species": [{"element": "Li", "occu": 1}], "abc": place}
        for place in ([0.0, 0.0, 0.0], [0.5, 0.25, 0.75])
    ]
    structure = {"lattice": {"matrix": CELL}, "sites": sites}
    return {"structure": structure, "outputs": {"energy": -3.5, "forces": FORCES}}


def written(path: Path, contents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents), encoding="utf-8")
    return path


def test_a_structure_has_the_places_the_total_energy_and_the_forces_of_its_entry(
    zuo: ModuleType, tmp_path: Path
) -> None:
    (atoms,) = zuo.read_set(written(tmp_path / "test.json", [entry()]))

    assert atoms.get_chemical_formula() == "Li2"
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell, CELL)
    np.testing.assert_allclose(atoms.positions[1], [0.5, 0.25, 0.75] @ np.array(CELL))
    assert reference_energy(atoms) == -3.5
    np.testing.assert_array_equal(reference_forces(atoms), FORCES)


def half_a_site(bad: dict[str, Any]) -> None:
    bad["structure"]["sites"][0]["species"][0]["occu"] = 0.5


def two_species(bad: dict[str, Any]) -> None:
    bad["structure"]["sites"][0]["species"] *= 2


def no_forces(bad: dict[str, Any]) -> None:
    del bad["outputs"]["forces"]


def a_force_too_few(bad: dict[str, Any]) -> None:
    bad["outputs"]["forces"] = FORCES[:1]


def no_energy(bad: dict[str, Any]) -> None:
    bad["outputs"]["energy"] = None


def an_energy_that_is_not_a_number(bad: dict[str, Any]) -> None:
    bad["outputs"]["energy"] = float("nan")


@pytest.mark.parametrize(
    "spoil",
    [
        half_a_site,
        two_species,
        no_forces,
        a_force_too_few,
        no_energy,
        an_energy_that_is_not_a_number,
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_by_file_and_place(
    zuo: ModuleType, tmp_path: Path, spoil: Any
) -> None:
    bad = entry()
    spoil(bad)
    path = written(tmp_path / "test.json", [entry(), bad])

    with pytest.raises(UserError, match=r"test\.json: (entry|structure) 1: "):
        zuo.read_set(path)


def test_elements_without_files_are_left_out_and_those_of_an_earlier_run_stay(
    zuo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"functions": 3, "energy_mae": 1.25, "force_mae": 0.5, "us_per_atom": 7.0}
    result = {"training": 2, "test": 1, "models": {"SNAP": row}}
    monkeypatch.setattr(zuo, "lammps_class", lambda: None)
    monkeypatch.setattr(zuo, "benchmark", lambda element, train, test, potentials: result)
    written(tmp_path / "out" / "zuo.json", {"Mo": result})
    for name in ("training", "test"):
        written(tmp_path / "data" / "Li" / f"{name}.json", [entry()])
    written(tmp_path / "data" / "Cu" / "test.json", [entry()])
    command = ["zuo.py", str(tmp_path), "--elements", "Li", "Cu", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)

    zuo.main()

    assert "Cu is left out" in capsys.readouterr().out
    table = (tmp_path / "out" / "zuo.md").read_text(encoding="utf-8")
    assert "| Li (2 + 1) | SNAP | 3 | 1.25 | 0.5000 | 7 |" in table
    assert "| Mo (2 + 1) |" in table
    assert "| Cu (" not in table
