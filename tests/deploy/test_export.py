"""Every export format keeps to its contract, and the parity gate lets nothing else through."""

from __future__ import annotations

import numpy as np
import pytest
from exporter_tests import ExporterContract
from helpers import SAMPLE_STUDENT, call_distill, rattled_copper

from distill.core.artifacts import sha256
from distill.core.errors import UserError
from distill.core.registry import Registry
from distill.core.results import read_result
from distill.data.structures import write_structures
from distill.deploy.export import base
from distill.deploy.export.base import EXPORTERS, ExportReport, export_student
from distill.deploy.export.parity import ParitySample, inner_distances, sample_structures
from distill.models.base import Predictions
from distill.student.julia.julia_setup import available
from distill.student.student_model import Student


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A format of another package."""
    formats = {**EXPORTERS.own, "toy": "toy_exporter:Toy"}
    monkeypatch.setattr(base, "EXPORTERS", Registry("export format", EXPORTERS.group, formats))


@pytest.fixture
def student() -> Student:
    return Student.load(SAMPLE_STUDENT)


class TestEveryFormat(ExporterContract):
    """Those of the package, those of packages that are installed, and the toy."""

    @pytest.fixture(
        params=[
            pytest.param(name, marks=pytest.mark.julia if name == "acepotentials" else ())
            for name in (*EXPORTERS.names(), "toy")
        ]
    )
    def name(self, request) -> str:
        if request.param == "acepotentials" and available() is not None:
            pytest.skip(f"needs Julia: {available()}")
        return request.param

    @pytest.fixture
    def options(self, name):
        return {"lengths": [200]} if name == "yace" else {}

    @pytest.fixture
    def inexpressible(self, name, model, random_student):
        return {
            "yace": (model, {"lengths": [40]}, 1e-9),
            "toy": (random_student(("Cu",), (3.0,)), {}, 1.0),
        }.get(name)


def test_the_first_file_within_the_tolerance_is_kept(tmp_path, capsys) -> None:
    out = tmp_path / "out.toy"
    report = export_student(SAMPLE_STUDENT, out, to="toy", options={"wrong": [0.5, 1e-4, 0.0]},
                            tolerance=1e-3)  # fmt: skip
    assert report.details == {"wrong": 1e-4}
    assert report.energy["dimers"] == pytest.approx(1e-4)
    assert report.student_sha256 == sha256(SAMPLE_STUDENT)
    assert read_result(f"{out}.json", ExportReport) == report
    said = capsys.readouterr().out
    assert "off by 0.5: differs by up to 0.5 eV/Å or eV/atom" in said
    assert "no training structures given" in said and "  it is a toy" in said


def test_a_student_that_no_file_comes_near_leaves_an_older_one_alone(tmp_path) -> None:
    out = tmp_path / "out.toy"
    out.write_text("older")
    with pytest.raises(UserError, match=r"as toy, up to off by 2: it differs by 1 at the least"):
        export_student(SAMPLE_STUDENT, out, to="toy", options={"wrong": [1.0, 2.0]})
    assert [path.name for path in tmp_path.iterdir()] == ["out.toy"]
    assert out.read_text() == "older"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": 0.0}, "tolerance above 0"),
        ({"tolerance": float("nan")}, "tolerance above 0"),
        ({"to": "toi"}, "there is no export format 'toi': did you mean 'toy'?"),
        ({"options": {"right": [1.0]}}, "option right of toy: .* options of toy are: wrong"),
        ({"options": {"wrong": ["x"]}}, "option wrong.0 of toy: .* found 'x'"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, message) -> None:
    with pytest.raises(UserError, match=message):
        export_student(SAMPLE_STUDENT, tmp_path / "out.toy", **{"to": "toy", **changes})
    assert list(tmp_path.iterdir()) == []


def test_structures_with_other_elements_are_named(tmp_path) -> None:
    structures = rattled_copper(3)
    structures[1].symbols[0] = "Au"
    with pytest.raises(UserError, match="export: structure 1: the student knows Cu, H"):
        export_student(SAMPLE_STUDENT, tmp_path / "out.toy", to="toy", structures=structures)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_passes(student, value) -> None:
    structures = rattled_copper(2)
    sample = ParitySample(student, {"training": structures})

    def predict(listed):
        forces = [student.forces(atoms) for atoms in listed]
        forces[1][2, 1] = value
        return Predictions(np.array([student.energy(a) for a in listed]), forces, [None] * 2)

    assert sample.differences(predict).force == {"training": np.inf}


def test_the_sample_covers_training_strain_and_all_pairs(student) -> None:
    structures = rattled_copper(20)
    inner = inner_distances(student, structures)
    samples = sample_structures(student, structures, inner)
    assert {kind: len(listed) for kind, listed in samples.items()} == {
        "training": 6, "strained": 3, "dimers": 45, "trimers": 10,
    }  # fmt: skip
    assert {tuple(sorted(atoms.symbols)) for atoms in samples["dimers"]} == {
        ("Cu", "Cu"), ("Cu", "H"), ("H", "H"),
    }  # fmt: skip
    for atoms in samples["dimers"]:
        first, second = atoms.symbols
        assert inner[first, second] <= atoms.get_distance(0, 1) < student.cutoff
    shortest = min(atoms.get_all_distances(mic=True)[0, 1:].min() for atoms in structures)
    assert inner["Cu", "Cu"] <= 0.9 * shortest
    np.testing.assert_array_equal(structures[0].cell, samples["training"][0].cell)


def test_the_command_takes_any_format_and_its_options(tmp_path, capsys) -> None:
    out, data = tmp_path / "out.toy", tmp_path / "data.xyz"
    write_structures(data, rattled_copper(4))
    command = ("export", SAMPLE_STUDENT, "--to", "toy", "-o")
    options = ("--set", "wrong=[0.0]", "--structures", data)
    assert call_distill(*command, out, *options) == 0
    assert read_result(f"{out}.json", ExportReport).structures["training"] == 4
    assert "off by 0:" in capsys.readouterr().out
    assert call_distill(*command, data, *options) == 2
    assert "is an input" in capsys.readouterr().err
    assert call_distill("export", SAMPLE_STUDENT, "--to", "snap", "-o", out) == 2
    known = "acepotentials, lammps, yace, toy"
    assert f"no export format 'snap': expected one of {known}" in capsys.readouterr().err
