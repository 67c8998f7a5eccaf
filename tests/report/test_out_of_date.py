"""Nothing that was made from other files than a run now has is shown in its report."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_run import make_run, manifest, save_student
from html_page import Page
from matplotlib import pyplot

from distill.config import Tolerances
from distill.core.artifacts import read_json
from distill.core.stage_folder import write_started
from distill.report.report import write_report

PASSING = Tolerances(teacher_force_rmse=0.08, student_force_rmse=0.04, barrier=0.02, speedup=10)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished")
    make_run(run, tolerances=PASSING)
    write_report(run)
    return run


# What only the comparison says.
OF_THE_COMPARISON = (
    "faster than the teacher",
    "student – reference",
    "Is the student faithful",
)
FIGURES = ("Parity plots", "Time per call", "Minimum energy paths", "Sticking probability")


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A finished run that may be changed; figures that are drawn again are those of before."""

    def kept(figure, folder, name):
        pyplot.close(figure)
        return Path(folder) / f"{name}.png"

    monkeypatch.setattr("distill.core.figures.save_figure", kept)
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def fit_another_student(run):
    """Another student in the place of the run's, properly finished."""

    def fit():
        save_student(run / "student" / "student.npz", np.random.default_rng(99))
        manifest(run / "student", "student", 41.0, ["student.npz"], ["sampling/selected.xyz"])

    return fit


def shown(run):
    text = write_report(run).read_text()
    return Page(text), text, read_json(run / "report.json")


def assert_no_comparison(page, text, report):
    assert "<h2>Out of date</h2>" in text
    for words in OF_THE_COMPARISON:
        assert words not in page.text
    for words in FIGURES:
        assert words not in text
    assert report["verdict"] is None and report["timing"] is None
    assert report["observables"] == []
    assert not {"timing", "barriers", "sticking"} & page.ids
    assert page.row("compare")[2] == "out of date"


def test_a_run_that_nobody_changed_is_up_to_date(run):
    page, text, report = shown(run)
    assert "Out of date" not in text and "to its teacher?" in page.text
    assert all(stage["outdated"] is None for stage in report["stages"].values())


def test_a_comparison_of_another_student(run, fit_another_student):
    fit_another_student()
    page, text, report = shown(run)
    assert_no_comparison(page, text, report)
    assert "student/student.npz has changed since" in page.text
    assert "distill run workflow.yaml --from compare" in page.text
    # The new student and its own errors are shown.
    assert "linear ACE for Cu, H" in page.text and "student – teacher, held out" in page.text
    assert "Calibration of uncertainties" in text
    assert len(report["headline"]) == 1
    assert report["stages"]["student"]["outdated"] is None
    assert "compare" not in report["provenance"]["inputs"]


def test_a_student_in_place_of_the_one_that_the_stage_fitted(run):
    save_student(run / "student" / "student.npz", np.random.default_rng(99))
    page, text, report = shown(run)
    assert_no_comparison(page, text, report)
    assert "student/student.npz has changed after the stage" in page.text
    assert report["student"] is report["uncertainty"] is None
    assert "student – teacher, held out" not in page.text
    assert "Calibration of uncertainties" not in text


def test_a_student_that_is_being_fitted_anew(run):
    shutil.rmtree(run / "student")
    page, text, report = shown(run)
    assert_no_comparison(page, text, report)
    assert report["student"] is None and "student" not in page.ids
    # The figure that an earlier report drew of the old student's uncertainties is still there.
    assert (run / "figures" / "calibration.png").exists()
    assert "Calibration of uncertainties" not in text


def test_an_unfinished_comparison_with_another_student(run, fit_another_student):
    compare = run / "compare"
    inputs = read_json(compare / "manifest.json")["inputs"]
    for name in ("manifest.json", "verdict.json"):
        (compare / name).unlink()
    digests = {role: entry["sha256"] for role, entry in inputs.items()}
    files = {role: run / entry["path"] for role, entry in inputs.items()}
    write_started(compare, {"settings": {}, "seed": 1, "inputs": digests}, files)
    page, _, report = shown(run)
    assert "Not finished" in page.text and report["timing"] is not None
    fit_another_student()
    assert_no_comparison(*shown(run))


def test_another_teacher_leaves_the_teacher_alone(run):
    (run / "teacher" / "teacher.model").write_text("other weights")
    manifest(run / "teacher", "teacher", 150.0, ["teacher.model"], ["data/splits.json"])
    page, text, report = shown(run)
    assert_no_comparison(page, text, report)
    assert [name for name, stage in report["stages"].items() if stage["outdated"]] == [
        "sampling",
        "student",
        "compare",
    ]
    assert "distill run workflow.yaml --from sampling" in page.text
    assert page.ids >= {"teacher", "accuracy"}
    assert not {"student", "sampling"} & page.ids
    assert report["sampling"] is report["outcomes"] is report["student"] is None
    assert list(report["provenance"]["models"]) == ["teacher.model"]
    assert "Training history" in text and "the teacher stage before" not in text


def test_other_data_leave_nothing(run):
    (run / "data" / "splits.json").write_text("[]")
    manifest(run / "data", "data", 1.0, ["splits.json"])
    page, text, report = shown(run)
    assert_no_comparison(page, text, report)
    assert report["teacher"] is report["accuracy"] is report["teacher_report"] is None
    assert report["headline"] == report["history"] == []
    assert report["provenance"]["models"] == {}
    assert text.count("data:image/png;base64,") == 1


def test_made_again_it_is_shown_again(run, fit_another_student):
    fit_another_student()
    made_from = ["teacher/teacher.model", "student/student.npz"]
    manifest(run / "compare", "compare", 95.0, ["errors.json"], made_from)
    page, _, _ = shown(run)
    assert "to its teacher?" in page.text
