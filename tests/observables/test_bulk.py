"""The bulk workload: properties of several models, differences, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from distill.config import BulkConfig, ParallelConfig, ThermalExpansionConfig
from distill.core.errors import UserError
from distill.data.structures import write_structures
from distill.observables.bulk.bulk import crystal_cell, run_bulk

MODELS = {
    "teacher": Path("ase.calculators.emt:EMT"),
    "student": Path("lattice_toys:other_emt"),
}


def run(config: BulkConfig, out: Path) -> dict[str, Any]:
    return run_bulk(
        config, models=MODELS, out=out, seed=1, parallel=ParallelConfig(backend="serial")
    )


def test_properties_of_both_models_and_their_differences(tmp_path: Path) -> None:
    config = BulkConfig(
        thermal_expansion={
            "temperatures": [300.0],
            "supercell": (2, 2, 2),
            "time": 200.0,
            "equilibration_time": 20.0,
            "time_step": 5.0,
            "blocks": 4,
        }
    )
    result = run(config, tmp_path)
    teacher, student = result["models"]["teacher"], result["models"]["student"]
    assert teacher["phonons"] is None
    assert teacher["elastic_constants"]["C11"] > teacher["elastic_constants"]["C12"]
    difference = result["differences"]["student"]
    assert difference["to"] == "teacher"
    modulus = difference["properties"]["bulk_modulus_GPa"]
    expected = (
        student["equation_of_state"]["bulk_modulus_GPa"]
        - teacher["equation_of_state"]["bulk_modulus_GPa"]
    )
    assert modulus["value"] == pytest.approx(expected)
    assert modulus["value"] != 0
    assert modulus["interval"][0] < modulus["value"] < modulus["interval"][1]
    assert "lattice_constant_300K" in difference["properties"]
    assert json.loads((tmp_path / "bulk.json").read_text()) == result


def test_finished_properties_are_not_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = BulkConfig(elastic=False)
    first = run(config, tmp_path)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "properties").iterdir()}
    assert run(config, tmp_path) == first
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "properties").iterdir()}
    assert "2 properties are done already" in capsys.readouterr().out
    with pytest.raises(UserError, match="other settings"):
        run(BulkConfig(elastic=False, volume_points=7), tmp_path)


def test_crystals_from_a_formula_or_a_file(tmp_path: Path) -> None:
    salt = crystal_cell(BulkConfig(formula="LiF", crystal="rocksalt", lattice_constant=4.0))
    assert len(salt) == 8
    with pytest.raises(UserError, match="give crystal and lattice_constant"):
        crystal_cell(BulkConfig(formula="LiF"))
    file = tmp_path / "cell.xyz"
    write_structures(file, [bulk("Cu"), bulk("Cu", cubic=True)])
    assert len(crystal_cell(BulkConfig(structure=str(file), index=1))) == 4
    with pytest.raises(UserError, match="no structure 7"):
        crystal_cell(BulkConfig(structure=str(file), index=7))


def test_a_cell_of_other_shape_is_relaxed_and_its_edges_are_given(tmp_path: Path) -> None:
    file = tmp_path / "cell.xyz"
    cell = [2.7, 2.7, 3.75]
    alloy = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=cell, pbc=True)
    write_structures(file, [alloy])
    config = BulkConfig(structure=str(file))
    teacher = run(config, tmp_path / "bulk")["models"]["teacher"]
    curve = teacher["equation_of_state"]
    # The curve starts at the relaxed cell, so the volume is its minimum already.
    assert curve["scale"] == pytest.approx(1, abs=1e-3)
    assert curve["lattice_constant_b"] == pytest.approx(curve["lattice_constant"], rel=1e-3)
    assert curve["lattice_constant_c"] > 1.2 * curve["lattice_constant"]
    assert {"C33", "C66"} <= teacher["elastic_constants"].keys()
    hot = config.model_copy(update={"thermal_expansion": ThermalExpansionConfig()})
    with pytest.raises(UserError, match="only the lattice constant of a cubic crystal"):
        run(hot, tmp_path / "hot")
