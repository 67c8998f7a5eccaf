"""A student straight from labels: what is fitted, on what it is tested, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from helpers import call_distill, label_by_emt, rattled_copper
from html_page import Page

from distill import Student
from distill.cli import fitting
from distill.core.errors import UserError
from distill.data.structures import read_structures, write_structures

SMALL = ("--order", "2", "--degrees", "6,4", "--rcut", "4.5", "--set", "student.threads=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty copper cells, and free atoms."""
    folder = tmp_path_factory.mktemp("data")
    free = label_by_emt(Atoms("Cu"))
    write_structures(folder / "train.xyz", [*rattled_copper(40), free])
    write_structures(folder / "test.xyz", [*rattled_copper(8, seed=9), free])
    return folder


@pytest.fixture(scope="module")
def fitted(data):
    out = data / "cu.npz"
    assert call_distill("fit", data / "train.xyz", "-o", out, *SMALL, "--front") == 0
    return out


def test_the_student_is_close_to_data_that_it_never_saw(fitted):
    folder = fitted.with_name("cu_fit")
    test = read_structures(folder / "data" / "test.xyz")
    student = Student.load(fitted)
    errors = np.concatenate([(student.forces(a) - a.arrays["REF_forces"]).ravel() for a in test])
    spread = np.concatenate([a.arrays["REF_forces"].ravel() for a in test]).std()
    assert len(test) == 8
    assert np.sqrt(np.mean(errors**2)) < 0.02 * spread
    assert student.training.is_graded


def test_a_free_atom_is_one_body_energy_and_in_no_error_table(fitted):
    report = json.loads((fitted.with_name("cu_fit") / "report.json").read_text())
    free = label_by_emt(Atoms("Cu"))
    assert Student.load(fitted).energy(free) == pytest.approx(free.info["REF_energy"], abs=1e-10)
    tables = report["accuracy"]["tables"]
    assert [tables[name]["structures"] for name in ("training set", "test set")] == [32, 8]
    assert report["data"]["train"]["structures"] == 33


def test_the_cohesive_energy_of_the_student_is_that_of_the_data(fitted):
    (row,) = json.loads((fitted.with_name("cu_fit") / "report.json").read_text())["binding"]
    assert row["formula"] == "Cu"
    assert row["energies"]["data"] == pytest.approx(3.5, abs=0.2)
    assert row["energies"]["student"] == pytest.approx(row["energies"]["data"], abs=1e-3)


def test_the_page_shows_the_numbers_of_its_json(fitted):
    folder = fitted.with_name("cu_fit")
    report = json.loads((folder / "report.json").read_text())
    page = Page((folder / "report.html").read_text())
    cells = {row["title"]: row["cells"] for row in report["accuracy"]["rows"]}
    assert page.row("MAE / RMSE F [meV/Å]")[1:] == cells["MAE / RMSE F [meV/Å]"]
    assert "held out by seed 1" in page.text
    assert len(report["front"]) == 3
    assert sum(row[0] == "2" for row in page.rows if row) >= 3
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in page.references)


def test_a_test_set_of_the_users_is_taken_without_its_free_atoms(data, tmp_path):
    out = tmp_path / "cu.npz"
    arguments = ("fit", data / "train.xyz", "-o", out, "--test", data / "test.xyz")
    assert call_distill(*arguments, *SMALL) == 0
    report = json.loads((tmp_path / "cu_fit" / "report.json").read_text())
    assert report["accuracy"]["tables"]["test set"]["structures"] == 8
    assert report["accuracy"]["tables"]["training set"]["structures"] == 40
    assert report["front"] is None
    # Once more, with another weight: nothing of the first fit is taken for the second.
    first = Student.load(out)
    assert call_distill(*arguments, *SMALL, "--weights", "300,1,1", "--e0", "Cu=1.5") == 0
    second = Student.load(out)
    assert second.e0 == {"Cu": 1.5}
    assert not np.allclose(first.coefficients, second.coefficients)


def test_options_reach_the_student():
    assert fitting._basis(None, None) == {"order": 3, "totaldegree": [14, 12, 9]}
    assert fitting._basis(2, None) == {"order": 2, "totaldegree": [14, 12]}
    assert fitting._basis(None, "9,8") == {"order": 2, "totaldegree": [9, 8]}
    assert fitting._basis(4, "9") == {"order": 4, "totaldegree": 9}
    rows = fitting._weights(["30,1,2", "slab=5,1,0"])
    assert rows["default"] == {"energy": 30, "forces": 1, "virial": 2}
    assert rows["slab"] == {"energy": 5, "forces": 1, "virial": 0}
    assert fitting._energies("lstsq") == "lstsq"
    assert fitting._energies("H=-13.6,O=-432") == {"H": -13.6, "O": -432}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--order", "4"), ["--degrees", "18,14,12,10"]),
        (("--weights", "30,1"), ["--weights 30,1", "slab=30,1,1"]),
        (("--e0", "Cu=much"), ["--e0", "H=-13.6"]),
        (("--e0", "guess"), ["student.e0", "isolated"]),
        (("--set", "teacher.epochs=3"), ["--set", "student"]),
        (("--degrees", "8,6", "--order", "3"), ["totaldegree", "2 numbers"]),
        (("--test", "nowhere.xyz"), ["nowhere.xyz"]),
    ],
)
def test_wrong_options_are_named(data, tmp_path, capsys, arguments, words):
    assert call_distill("fit", data / "train.xyz", "-o", tmp_path / "a.npz", *arguments) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_no_input_is_overwritten(data, tmp_path, capsys):
    assert call_distill("fit", data / "train.xyz", "-o", data / "train.xyz") == 2
    assert ".npz" in capsys.readouterr().err
    inside = tmp_path / "cu_fit" / "train.xyz"
    inside.parent.mkdir()
    write_structures(inside, rattled_copper(4))
    assert call_distill("fit", inside, "-o", tmp_path / "cu.npz") == 2
    assert "choose another output" in capsys.readouterr().err
    assert len(read_structures(inside)) == 4


def test_a_folder_of_something_else_is_left_alone(data, tmp_path, capsys):
    (tmp_path / "cu_fit").mkdir()
    (tmp_path / "cu_fit" / "thesis.tex").write_text("mine")
    assert call_distill("fit", data / "train.xyz", "-o", tmp_path / "cu.npz") == 2
    assert "thesis.tex" in capsys.readouterr().err


def test_a_basis_that_the_data_cannot_have_is_an_error_and_no_student(data, tmp_path):
    from distill.cli.fitting import fit

    with pytest.raises(UserError, match="elements"):
        fit(str(data / "train.xyz"), tmp_path / "a.npz", settings=["student.elements=[Ag]"])
    assert not (tmp_path / "a.npz").exists()
