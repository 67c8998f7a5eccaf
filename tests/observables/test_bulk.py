"""The bulk workload: properties of several models, differences, resuming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from observable_tests import count_units
from pydantic import ValidationError

from distill.config import BulkConfig, PhononsConfig, ThermalExpansionConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.data.structures import write_structures
from distill.observables.base import NoTolerances
from distill.observables.bulk.bulk import crystal_cell, run_bulk
from distill.observables.bulk.confidence import curve_at, elastic_at, lattice_at
from distill.observables.bulk.elastic import elastic_constants
from distill.observables.bulk.observable import Bulk
from distill.observables.bulk.result import BulkResult, EquationOfState, LatticeConstant
from distill.systems.crystals import mean_with_interval
from distill.systems.equation_of_state import equation_of_state

MODELS = {
    "teacher": Path("ase.calculators.emt:EMT"),
    "student": Path("lattice_toys:other_emt"),
}


def run(config: BulkConfig, out: Path) -> BulkResult:
    return run_bulk(config, MODELS, WorkFolder(out, seed=1))


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
    teacher, student = result.models["teacher"], result.models["student"]
    assert teacher.phonons is None
    constants = teacher.elastic_constants.constants
    assert constants["C11"].value > constants["C12"].value
    difference = result.differences["student"]
    assert difference.to == "teacher"
    modulus = difference.properties["bulk_modulus_GPa"]
    expected = (
        student.equation_of_state.bulk_modulus_GPa - teacher.equation_of_state.bulk_modulus_GPa
    )
    assert modulus.value == pytest.approx(expected)
    assert modulus.value != 0
    assert modulus.interval[0] < modulus.value < modulus.interval[1]
    assert "lattice_constant_300K" in difference.properties
    assert difference.properties["energy_per_atom"].interval is None


def test_one_more_property_repeats_none_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(BulkConfig(elastic=False), tmp_path)
    made = count_units(monkeypatch)
    run(BulkConfig(), tmp_path)
    assert [record.stem for record in made] == [
        "teacher_elastic_constants",
        "student_elastic_constants",
    ]
    assert "2 of 2 are done already" in capsys.readouterr().out


def test_a_folder_of_other_settings_gives_no_old_result(tmp_path: Path) -> None:
    run(BulkConfig(elastic=False), tmp_path / "used")
    fewer = BulkConfig(elastic=False, volume_points=7)
    assert run(fewer, tmp_path / "used") == run(fewer, tmp_path / "fresh")


def test_crystals_from_a_formula_or_a_file(tmp_path: Path) -> None:
    salt = crystal_cell(BulkConfig(formula="LiF", crystal="rocksalt", lattice_constant=4.0))
    assert len(salt) == 8
    with pytest.raises(UserError, match="give crystal and lattice_constant"):
        crystal_cell(BulkConfig(formula="LiF"))
    file = tmp_path / "cell.xyz"
    write_structures(file, [bulk("Cu"), bulk("Cu", cubic=True)])
    assert len(crystal_cell(BulkConfig(structure=str(file), index=1))) == 4
    with pytest.raises(UserError, match="holds 2 structures, expected one at index 7"):
        crystal_cell(BulkConfig(structure=str(file), index=7))


def test_isotopes_and_a_missing_period_of_a_file_are_seen(tmp_path: Path) -> None:
    heavy = bulk("Cu")
    heavy.set_masses([65.0])
    heavy.write(tmp_path / "heavy.xyz", format="extxyz", columns=["symbols", "positions", "masses"])
    cell = crystal_cell(BulkConfig(structure=str(tmp_path / "heavy.xyz")))
    assert cell.get_masses() == pytest.approx([65.0])
    heavy.pbc = (True, True, False)
    heavy.write(tmp_path / "slab.xyz")
    with pytest.raises(UserError, match=r"slab.xyz: expected a crystal periodic"):
        crystal_cell(BulkConfig(structure=str(tmp_path / "slab.xyz")))


def test_a_cell_of_other_shape_is_relaxed_and_its_edges_are_given(tmp_path: Path) -> None:
    file = tmp_path / "cell.xyz"
    cell = [2.7, 2.7, 3.75]
    alloy = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=cell, pbc=True)
    write_structures(file, [alloy])
    config = BulkConfig(structure=str(file))
    teacher = run(config, tmp_path / "bulk").models["teacher"]
    curve = teacher.equation_of_state
    # The curve starts at the relaxed cell, so the volume is its minimum already.
    assert curve.scale == pytest.approx(1, abs=1e-3)
    assert curve.lattice_constant_b == pytest.approx(curve.lattice_constant, rel=1e-3)
    assert curve.lattice_constant_c > 1.2 * curve.lattice_constant
    assert {"C33", "C66"} <= teacher.elastic_constants.constants.keys()
    hot = config.model_copy(update={"thermal_expansion": ThermalExpansionConfig()})
    for refused in (lambda: run(hot, tmp_path / "hot"), lambda: Bulk().refuse(hot, NoTolerances())):
        with pytest.raises(UserError, match="only the lattice constant of a cubic crystal"):
            refused()


def test_unknown_given_numbers_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="C99 is unknown"):
        Bulk().refuse(BulkConfig(reference={"C99": 1.0}), NoTolerances())


def test_too_few_volumes_of_the_quasi_harmonic_free_energy_are_refused() -> None:
    with pytest.raises(ValidationError, match="needs 5 or more, found 4"):
        PhononsConfig(volume_points=4)


def test_rows_hold_every_number_with_its_unit(tmp_path: Path) -> None:
    pytest.importorskip("phonopy")
    config = BulkConfig(
        phonons={"supercell": (1, 1, 1), "mesh": 4, "temperatures": [300.0], "volume_points": 5}
    )
    result = run(config, tmp_path)
    tables = Bulk().rows(result)
    rows = [row for row in tables["bulk"] if row["model"] == "student"]
    titles = {row["property"]: row["unit"] for row in rows}
    assert titles == {
        "lattice constant": "Å",
        "bulk modulus": "GPa",
        "energy": "eV/atom",
        "C11": "GPa",
        "C12": "GPa",
        "C44": "GPa",
        "vibrational free energy at 300 K": "eV/atom",
        "free energy at 300 K, quasi-harmonic": "eV/atom",
        "lattice constant at 300 K, quasi-harmonic": "Å",
    }
    [merit] = tables["merit"]
    assert list(merit) == ["model", "merit", "lattice", "elasticity", "phonons", "free energy"]
    assert merit["model"] == "student"
    assert list(result.table()) == [f"{title} [{unit}]" for title, unit in titles.items()]


def test_intervals_at_another_confidence_are_those_of_a_computation_at_it() -> None:
    copper = bulk("Cu", a=3.59, cubic=True)
    curves = [
        EquationOfState.model_validate(equation_of_state(copper, EMT(), confidence=c))
        for c in (0.95, 0.8)
    ]
    found = curve_at(curves[0], 0.8)
    assert found.confidence == 0.8
    for name in EquationOfState.model_fields:
        if name.endswith("_interval"):
            assert getattr(found, name) == pytest.approx(getattr(curves[1], name), rel=1e-9)
    wide, narrow = (elastic_constants(copper, EMT(), confidence=c) for c in (0.95, 0.8))
    for name, constant in elastic_at(wide, 0.8).constants.items():
        assert constant.interval == pytest.approx(narrow.constants[name].interval, rel=1e-9)
    series = np.random.default_rng(0).normal(3.6, 0.01, 60)
    intervals = []
    for confidence in (0.95, 0.8):
        mean, *ends = mean_with_interval(series, 5, confidence)
        intervals.append(tuple(ends))
    lattice = LatticeConstant(
        temperature=300.0,
        status="complete",
        lattice_constant=mean,
        interval=intervals[0],
        force_calls=1,
        confidence=0.95,
    )
    assert lattice_at(lattice, 5, 0.8).interval == pytest.approx(intervals[1], rel=1e-9)
