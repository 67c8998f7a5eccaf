"""How the pages of report show the choice of a basis."""

from __future__ import annotations

import pytest

from distill.compare.reference_student import settled_as
from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.core.results import write_result
from distill.report.basis_report import basis_choice, basis_figure
from distill.report.page import page
from distill.student.search.basis_choice import CHOICE_FILE, BasisChoice, Limits, Trial


@pytest.fixture
def folder(tmp_path):
    """A student folder with the record of a search."""
    shared = {"wL": 1.0, "rcut": 5.0, "smoothness": 1.5, "log_evidence": 10.0, "order": 2}
    sizes = [
        Trial(
            stage="size",
            totaldegree=(degree, degree - 2),
            functions=int(100 * degree),
            force_error=0.1 / degree,
            far_error=0.2 / degree,
            us_per_atom=degree,
            chosen=degree == 6.0,
            **shared,
        )
        for degree in (4.0, 6.0)
    ]
    first = Trial(stage="radial", totaldegree=(5.0, 3.0), functions=50, **shared)
    choice = BasisChoice(
        fingerprint="",
        trials=(first, *sizes),
        limits=Limits(
            structures=(10, 20),
            structure_errors=(0.03, 0.02),
            functions=(400, 600),
            function_errors=(0.025, 0.0167),
            by="basis",
        ),
        structures=30,
        sources=6,
        left_out="30 structures from 6 sources",
        kinds=("hot",),
        reason="the smallest",
        seconds=3.0,
    )
    write_result(tmp_path / CHOICE_FILE, choice)
    return tmp_path


def test_trials_are_shown_by_stage_with_what_limits_the_student(folder) -> None:
    shown = basis_choice(folder / CHOICE_FILE)
    assert [len(trials) for trials in shown["stages"].values()] == [1, 0, 2]
    assert shown["limited"].startswith("The basis limits this student")
    assert shown["with_structures"] == "30 meV/Å with 10, 20 meV/Å with 20 structures"
    assert basis_choice(folder / "none.json") is None
    text = page("basis.html.j2", choice=shown, figures={})
    assert "taken" in text and "The basis limits" in text and "6, 4" in text


def test_the_figure_has_the_sizes_and_marks_the_one_taken(folder) -> None:
    figure = basis_figure(basis_choice(folder / CHOICE_FILE))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["trajectories left out", "kinds of data left out", "taken"]
    near = figure.axes[0].lines[0]
    assert near.get_xdata().tolist() == [4.0, 6.0]


def test_a_student_on_the_reference_data_has_the_basis_that_was_chosen(folder) -> None:
    given = StudentConfig(order=2, totaldegree=[3.0, 2.0])
    assert settled_as(given, folder) is given
    found = settled_as(StudentConfig(basis="auto"), folder)
    assert found.basis == "given" and found.degrees == (6.0, 4.0)
    assert (found.wL, found.rcut, found.smoothness) == (1.0, 5.0, "evidence")
    ridge = StudentConfig(basis="auto", solver={"kind": "ridge"})
    assert settled_as(ridge, folder).smoothness == 1.5
    with pytest.raises(UserError):
        settled_as(StudentConfig(basis="auto"), folder / "none")
