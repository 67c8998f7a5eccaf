"""The teacher's report: which systems it finds in the data, what it writes and survives."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from tiny_mace import rattled_structures

from distill.config import CalculatorConfig, load_config, parse_config
from distill.core.artifacts import read_json, write_json
from distill.core.results import read_result
from distill.data.structures import set_labels, write_structures
from distill.models.labelling import label_structures
from distill.pipeline import run_pipeline
from distill.report import teacher_report as report_module
from distill.report.report import write_report
from distill.systems.probes import (
    DimerCurve,
    crystals_of,
    dimer,
    dimer_pairs,
    dimers_of_data,
    energy_volume,
    energy_volume_of_data,
)
from distill.teacher.simple_systems import (
    CurvesUnit,
    TeacherCurves,
    curves_of,
    write_curves,
)


def scaled_copper(cubic=True, scales=(0.96, 0.98, 1.0, 1.02, 1.04)):
    cells = []
    for scale in scales:
        atoms = bulk("Cu", "fcc", a=3.6 * scale, cubic=cubic)
        # The same crystal, its atoms written in other cells.
        atoms.positions += atoms.cell[0]
        cells.append(atoms)
    return label_structures(cells, EMT())


def slab():
    atoms = fcc111("Cu", (1, 1, 3), a=3.6, vacuum=6.0)
    atoms.pbc = True
    return label_structures([atoms], EMT())[0]


class TestCrystals:
    def test_scaled_copies_of_a_crystal_are_found_among_others(self):
        family = scaled_copper()
        rattled = family[2].copy()
        rattled.rattle(0.1, seed=1)
        strained = family[2].copy()
        strained.set_cell(strained.cell * [[1.1], [1], [1]], scale_atoms=True)
        others = label_structures([rattled, strained], EMT())
        (crystal,) = crystals_of([*others, slab(), *family])
        assert crystal.name == "Cu"
        assert len(crystal.volumes) == 5
        assert list(crystal.volumes) == sorted(crystal.volumes)
        assert crystal.atoms.get_volume() / 4 == crystal.volumes[np.argmin(crystal.energies)]
        assert crystal.atoms.calc is None

    def test_without_copies_the_one_with_the_smallest_forces_counts(self):
        still = scaled_copper()[2]
        moved = still.copy()
        moved.rattle(0.1, seed=1)
        (crystal,) = crystals_of([*label_structures([moved], EMT()), still])
        assert crystal.volumes == (still.get_volume() / 4,)
        np.testing.assert_allclose(crystal.atoms.positions, still.positions)
        assert energy_volume_of_data(crystal) is None

    def test_slabs_molecules_and_unlabelled_crystals_are_none(self):
        molecule = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[12] * 3, pbc=True)
        assert crystals_of([slab(), set_labels(molecule, energy=-4.5), bulk("Cu")]) == []

    def test_curve_and_data_agree_where_the_model_made_the_data(self):
        (crystal,) = crystals_of(scaled_copper(scales=np.linspace(0.97, 1.03, 9)))
        model, data = energy_volume(crystal, EMT()), energy_volume_of_data(crystal)
        assert model.volume == pytest.approx(data.volume, rel=2e-3)
        assert model.bulk_modulus_GPa == pytest.approx(data.bulk_modulus_GPa, rel=0.05)
        assert min(model.energies) == pytest.approx(0.0, abs=1e-3)
        # EMT's copper: 134 GPa, 11.6 Å³ an atom.
        assert 120 < model.bulk_modulus_GPa < 150
        assert 11.3 < model.volume < 11.9

    def test_data_beside_the_minimum_give_no_curve(self):
        (crystal,) = crystals_of(scaled_copper(scales=np.linspace(1.06, 1.12, 6)))
        assert energy_volume_of_data(crystal) is None


class TestDimers:
    def test_a_curve_ends_at_zero_and_has_its_minimum(self):
        found = dimer(("Cu", "Cu"), EMT(), 6.0)
        assert found.energies[-1] == 0.0
        assert found.distances[-1] == pytest.approx(6.5)
        assert 1.9 < found.distances[int(np.argmin(found.energies))] < 2.7
        assert found.distances[0] < 2.2

    def test_pairs_of_the_lightest_elements(self):
        assert dimer_pairs(["Cu", "H"]) == [("H", "H"), ("H", "Cu"), ("Cu", "Cu")]
        assert len(dimer_pairs(["Cu", "H", "O", "F"])) == 6

    def test_free_dimers_of_the_data_are_relative_to_its_atoms(self):
        free = [set_labels(Atoms("H"), energy=-13.0), set_labels(Atoms("Cu"), energy=-50.0)]
        pairs = [
            set_labels(Atoms("CuH", [[0, 0, 0], [0, 0, d]]), energy=-63.0 - e)
            for d, e in ((1.6, 1.0), (1.4, 2.0))
        ]
        boxed = set_labels(
            Atoms("H2", [[0, 0, 0.2], [0, 0, 11.5]], cell=[12] * 3, pbc=True), energy=-30.0
        )
        crowded = set_labels(
            Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[3] * 3, pbc=True), energy=-1.0
        )
        found = dimers_of_data([*free, *pairs, boxed, crowded])
        assert found[("H", "Cu")] == DimerCurve(distances=[1.4, 1.6], energies=[-2.0, -1.0])
        assert found[("H", "H")].distances == [pytest.approx(0.7)]
        assert found[("H", "H")].energies == [-4.0]
        assert dimers_of_data(pairs) == {}


CONFIG = """
name: tiny
data: {{train: {train}, test: {test}}}
reference: {{path: "ase.calculators.emt:EMT"}}
teacher: {{foundation: {foundation}, epochs: 2, batch_size: 4, validation_fraction: 0.2}}
"""


@pytest.fixture(scope="module")
def run(foundation_file, labelled_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    train = folder / "train.xyz"
    write_structures(train, [*rattled_structures(18), *scaled_copper()])
    config = folder / "w.yaml"
    config.write_text(
        CONFIG.format(train=train, test=labelled_files[1], foundation=foundation_file)
    )
    run_pipeline(load_config(config, [f"output={folder / 'run'}"]), last="teacher")
    return folder / "run"


def test_the_report_holds_tables_curves_and_figures(run):
    page = (run / "report.html").read_text()
    for words in ("Errors by kind of structure", "Simple systems", "reference data", " MB at most"):
        assert words in page
    part = read_json(run / "report.json")["teacher_report"]
    assert [row["config_type"] for row in part["error_rows"]] == ["all", "bulk", "h2", "slab"]
    errors = read_json(run / "teacher" / "errors.json")
    cells = part["error_rows"][3]["cells"]
    slabs = {name: errors[name]["by_config_type"]["slab"] for name in ("foundation", "teacher")}
    for name, table in slabs.items():
        assert cells["forces [meV/Å]"][name] == pytest.approx(1000 * table["forces"]["rmse"])
        hydrogen = table["forces_by_element"]["H"]["rmse"]
        assert cells["H forces [meV/Å]"][name] == pytest.approx(1000 * hydrogen)
    curves = part["curves"]
    assert set(curves) == {"teacher", "foundation", "reference", "data"}
    assert set(curves["teacher"]["dimers"]) == {"H-H", "H-Cu", "Cu-Cu"}
    assert curves["data"]["crystals"]["Cu"]["volumes"]
    reference = curves["reference"]["crystals"]["Cu"]
    assert 120 < reference["bulk_modulus_GPa"] < 150
    folder = run / report_module.FOLDER
    for name in ("teacher_curves", "teacher_parity"):
        for suffix in (".png", ".pdf"):
            assert (folder / f"{name}{suffix}").stat().st_size > 1000
    with (folder / "curves.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["model"] for row in rows} == set(curves)
    with (folder / "errors.csv").open() as handle:
        assert {row["comparison"] for row in csv.DictReader(handle)} == {"foundation", "teacher"}


def test_a_foundation_that_lacks_elements_is_not_in_the_report(
    foundation_file, foreign_files, tmp_path
):
    """A teacher from scratch has no model before training to stand beside."""
    config = tmp_path / "w.yaml"
    config.write_text(
        CONFIG.format(train=foreign_files[0], test=foreign_files[1], foundation=foundation_file)
    )
    settings = [f"output={tmp_path / 'run'}", "teacher.strategy=scratch", "reference=null"]
    run_pipeline(load_config(config, settings), last="teacher")
    part = read_json(tmp_path / "run" / "report.json")["teacher_report"]
    assert set(part["curves"]) == {"teacher", "data"}
    assert set(part["error_rows"][0]["cells"]["forces [meV/Å]"]) == {"teacher"}


def test_the_report_computes_nothing(run, monkeypatch):
    """It reads the stage's curves and draws them; they are no part of what it asks models."""

    def refuse(*_, **__):
        raise AssertionError("a model was asked")

    before = (run / report_module.FOLDER / "curves.csv").read_bytes()
    for name in ("load_model", "load_calculator"):
        monkeypatch.setattr(f"distill.models.calculators.{name}", refuse)
    monkeypatch.setattr(CurvesUnit, "work", refuse)
    (run / report_module.FOLDER / "curves.csv").unlink()
    write_report(run)
    assert (run / report_module.FOLDER / "curves.csv").read_bytes() == before
    report = read_json(run / "report.json")["teacher_report"]["curves"]
    stage = read_json(run / "teacher" / "curves.json")
    assert report == {**stage["models"], "data": stage["data"]}


def test_a_reference_that_is_named_later_is_added(run, monkeypatch):
    """The stage is finished; only the new model is asked, and the first one's curves come back."""
    config = parse_config(read_json(run / "config.json"), "config.json")
    before = read_result(run / "teacher" / "curves.json", TeacherCurves)
    original, computed = CurvesUnit.work, []
    monkeypatch.setattr(
        CurvesUnit, "work", lambda unit: computed.append(unit.name) or original(unit)
    )
    without = config.model_copy(update={"reference": None})
    run_pipeline(without, last="teacher")
    assert set(read_result(run / "teacher" / "curves.json", TeacherCurves).models) == {
        "teacher",
        "foundation",
    }
    other = CalculatorConfig(path="helpers:CountedEMT")
    run_pipeline(config.model_copy(update={"reference": other}), last="teacher")
    assert computed == ["reference"]
    run_pipeline(config, last="teacher")
    assert computed == ["reference"]
    assert read_result(run / "teacher" / "curves.json", TeacherCurves) == before


def rewritten(run, **options):
    """The curves of a finished teacher, computed anew with other options."""
    config = parse_config(read_json(run / "config.json"), "config.json")
    data = {name: run / "data" / f"{name}.xyz" for name in ("train", "test")}
    return write_curves(config.teacher, **data, out=run / "teacher", **options)


def test_curves_are_computed_once_for_each_model(run, monkeypatch, capsys):
    reference = CalculatorConfig(path="ase.calculators.emt:EMT")
    before = read_result(run / "teacher" / "curves.json", TeacherCurves)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(CurvesUnit, "work", refuse)
    assert rewritten(run, reference=reference) == before
    (run / "teacher" / "curves.json").unlink()
    assert rewritten(run, reference=reference) == before
    assert "3 of 3 are done already" in capsys.readouterr().out


def test_a_failing_reference_does_not_cost_the_stage(run, capsys):
    before = read_result(run / "teacher" / "curves.json", TeacherCurves)
    for path, args in (
        ("ase.calculators.lj:LennardJones", {"sigma": {}}),
        ("ase.calculators.nowhere:EMT", {}),
        ("gone.model", {}),
    ):
        broken = CalculatorConfig(path=path, args=args)
        found = rewritten(run, reference=broken)
        assert set(found.models) == {"teacher", "foundation"}
        assert found.models["teacher"] == before.models["teacher"]
        assert found.reference is None
        assert "no curves of the reference" in capsys.readouterr().out
    rewritten(run, reference=CalculatorConfig(path="ase.calculators.emt:EMT"))


def test_curves_of_another_reference_are_not_shown(run):
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "reference": {"path": "ase.calculators.lj:Lenn"}})
    curves = read_json(write_report(run).with_name("report.json"))["teacher_report"]["curves"]
    assert set(curves) == {"teacher", "foundation", "data"}
    write_json(run / "config.json", {**config, "gone": 1})
    curves = read_json(write_report(run).with_name("report.json"))["teacher_report"]["curves"]
    assert set(curves) == {"teacher", "foundation", "data"}
    write_json(run / "config.json", config)


def test_a_system_that_a_model_cannot_do_says_why():
    class Broken(EMT):
        def calculate(self, *_, **__):
            raise RuntimeError("no licence")

    found = curves_of(Broken(), scaled_copper(), ["Cu"], 4.0)
    assert (found.crystals, found.dimers) == ({}, {})
    assert found.problems == dict.fromkeys(("Cu", "Cu-Cu"), "RuntimeError: no licence")


def test_without_a_teacher_there_is_no_report(tmp_path):
    assert report_module.teacher_report(tmp_path) is None
