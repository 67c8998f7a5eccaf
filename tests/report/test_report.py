"""The report: whole in one file, true to its JSON, and there for unfinished runs too."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from fake_observables import sticking_condition, sticking_result
from fake_run import make_run
from html_page import Page

from distill.config import Tolerances
from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.core.results import write_result
from distill.observables.teacher_level import TeacherLevelResult, TeacherNumber
from distill.report import report as report_module
from distill.report.report import write_report

PASSING = Tolerances(teacher_force_rmse=0.08, student_force_rmse=0.04, barrier=0.02, speedup=10)
FAILING = Tolerances(student_force_rmse=0.04, sticking=0.05)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished")
    parts = make_run(run, tolerances=PASSING)
    text = write_report(run).read_text()
    return run, parts, text, json.loads((run / "report.json").read_text())


@pytest.fixture
def no_figures(monkeypatch):
    """Figures are drawn for the finished run; drawing them again and again takes time."""
    monkeypatch.setattr(report_module, "_figures", lambda run_folder, report: {})


def test_numbers_at_the_teachers_level_stand_with_their_observable(finished, tmp_path, no_figures):
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    number = TeacherNumber(
        quantity="barrier", place={"path": "Cu(111)"}, value=0.66637, interval=None,
        student=0.66058, unit="eV", form="few calls", calls=5, comment="not converged",
    )  # fmt: skip
    point = number.model_copy(update={"quantity": "g", "place": {"r": 2.0}})
    result = TeacherLevelResult(levels={"teacher": {"barriers": [number, point]}})
    write_result(run / "compare" / "teacher_level.json", result)
    text = write_report(run).read_text()
    section = text.split('<section id="barriers">')[1].split("</section>")[0]
    row = section.split("At the level of the teacher")[1].split("<tbody>")[1].split("</tbody>")[0]
    cells = re.sub(r"<[^>]+>", "|", row)
    for cell in ("barrier, Cu(111)", "0.66637 eV", "0.66058", "few calls", "5", "not converged"):
        assert f"|{cell}|" in cells
    assert cells.count("few calls") == 1
    assert "At the level of" not in finished[2]


def test_the_page_needs_no_other_file(finished):
    _, _, text, _ = finished
    page = Page(text)
    known = ("data:image/png;base64,", "data:chemical/x-xyz;base64,", "#")
    assert all(r.startswith(known) for r in page.references)
    assert {r[1:] for r in page.references if r.startswith("#")} <= page.ids
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert sum(r.startswith("data:") for r in page.references) >= 7
    assert len(text) < 3_000_000


def test_structures_worth_a_look_are_one_click_away(finished):
    run, _, text, report = finished
    by_reason = {row["reason"]: row for row in report["map"]["listed"]}
    assert by_reason["grade"]["grade"] == pytest.approx(2.8)
    (link,) = [r for r in Page(text).references if r.startswith("data:chemical")]
    content = base64.b64decode(link.partition(",")[2])
    assert content == (run / "compare/structure_map/grade_1.xyz").read_bytes()
    # A file that is gone is named all the same.
    assert by_reason["error"]["link"] is None and "compare/structure_map/error_1.xyz" in text
    assert "4,321" in text and "compare/structure_map/structures.json.gz" in text


def test_ranking_and_sharpness_stand_beside_the_calibration(finished):
    _, _, text, _ = finished
    assert "force errors 0.63 over atoms, 0.81 over structures" in text
    assert "23 meV/Å (root mean square), 57 % of variation" in text


def test_the_page_opens_with_the_verdict(finished):
    _, _, text, _ = finished
    assert text.index('id="verdict"') < text.index('class="cards"') < text.index('id="accuracy"')
    assert "<h2>Not judged as a whole</h2>" in text
    said = re.findall(r"<dt>([^<]*\?)</dt><dd><span[^>]*>([^<]*)</span>", text)
    assert said == [
        ("Is the student faithful to its teacher?", "yes"),
        ("Is the teacher right about the reference?", "yes"),
        ("Is the student good enough for its purpose?", "not judged"),
        ("Is the student sound to run?", "yes"),
    ]


def test_a_step_that_did_harm_is_told_before_all_else(tmp_path, no_figures):
    make_run(tmp_path, tolerances=PASSING, figures=False)
    verdict = read_json(tmp_path / "compare" / "verdict.json")
    verdict["warnings"] = ["the teacher is worse than the foundation model"]
    write_json(tmp_path / "compare" / "verdict.json", verdict)
    text = write_report(tmp_path).read_text()
    told = text.index("the teacher is worse than the foundation model")
    assert told < text.index("<h2>")


def test_page_and_json_show_the_numbers_of_the_run(finished):
    run, parts, text, report = finished
    page = Page(text)
    forces = parts["errors"].held_out.forces
    column = report["accuracy"]["columns"].index("student – teacher, held out") + 1
    expected = f"{1000 * forces.mae:.1f} / {1000 * forces.rmse:.1f}"
    assert page.row("MAE / RMSE F [meV/Å]")[column] == expected
    shown = report["accuracy"]["tables"]["student – teacher, held out"]["forces"]
    assert shown == forces.model_dump(mode="json")
    assert page.row("student")[4] == f"{parts['timing'].models['student'].forces_ms.median:.3g}"
    assert report["verdict"]["checks"][0]["value"] == parts["verdict"].checks[0].value
    for row in report["accuracy"]["rows"]:
        assert page.row(row["title"])[1:] == row["cells"]
    for card in report["headline"]:
        assert card["label"] in page.text
        assert f"{card['value']:.3g}".replace("-", "−") in page.text
    for observable in report["observables"]:
        name = observable["name"]
        assert observable["result"] == parts[name].model_dump(mode="json")
        assert f'<section id="{name}">' in text
    assert json.loads((run / "report.json").read_text()) == report


def test_every_row_of_every_observable_is_shown(finished):
    _, parts, text, _ = finished
    page = Page(text)
    [profiles] = parts["barriers"].paths.values()
    shown = [row[1:3] for row in page.rows if row and row[0] == "Cu(111) bridge"]
    assert shown == [[model, f"{profile.barrier:.3g}"] for model, profile in profiles.items()]
    [condition] = parts["sticking"].conditions
    shown = [row for row in page.rows if row and row[0] == condition.surface_and_state]
    assert [row[2] for row in shown] == ["teacher", "student", "two-level"]
    assert shown[0][3] == "0.45" and shown[2][4] == "0.26 to 0.56"
    assert shown[1][-1] == "92 dissociated, 108 scattered"


def test_published_numbers_stand_beside(finished):
    _, _, _, report = finished
    row = next(r for r in report["accuracy"]["rows"] if r["title"].startswith("H atoms"))
    assert row["cells"][-2:] == ["4.3 / 17.1", "9.0 / 17.7"]
    assert "doi 10.1038" in report["accuracy"]["published_source"]


def test_the_page_says_where_everything_came_from(finished):
    run, _, text, report = finished
    provenance = report["provenance"]
    assert provenance["models"]["student.npz"] in text
    assert f"numpy {provenance['versions']['numpy']}" in text
    assert "distill run workflow.yaml" in text
    assert "seed: 1" in text
    times = {stage: s["wall_time_s"] for stage, s in report["stages"].items()}
    assert times["teacher"] == 154.2 and "2 min 34 s" in text
    assert (run / "figures" / "training.pdf").stat().st_size > 1000


def test_the_page_tells_what_was_sampled(finished):
    _, _, text, report = finished
    assert "9,344 structures; 3 left out with a force above 50 eV/Å" in text
    assert "96,852" in text
    outcomes = report["outcomes"]
    assert outcomes["trajectories"] == 48
    assert [(row["facet"], row["energy"]) for row in outcomes["rows"][:3]] == [
        ("100", 0.4), ("100", 0.7), ("100", 1.0),
    ]  # fmt: skip
    for row in outcomes["rows"]:
        assert sum(row[kind] for kind in outcomes["kinds"]) == 8


def test_the_page_tells_what_the_student_is(finished):
    run, _, text, report = finished
    assert report["student"]["functions"] > 10
    assert "fitted by the backend native" in text
    assert "71 % of held-out force errors inside the predicted 68 % interval" in text
    assert (run / "figures" / "calibration.png").exists()


def test_the_page_tells_what_the_student_was_not_trained_for(finished):
    _, _, text, _ = finished
    assert "structures outside the training data (largest extrapolation grade 3.21); force" in text


def test_a_failed_check_is_told_with_its_reason(tmp_path, no_figures):
    make_run(tmp_path, tolerances=FAILING, figures=False)
    text = write_report(tmp_path).read_text()
    assert "<h2>Failed</h2>" in text
    assert "1 of 2 checks failed" in text
    assert re.search(r"−0\.05</td>\s*<td[^>]*>−0\.19 to 0\.09</td>", text)


def test_another_confidence_is_told_wherever_an_interval_stands(tmp_path, no_figures):
    make_run(tmp_path, tolerances=FAILING, figures=False)
    result = sticking_result(sticking_condition(), confidence=0.8)
    write_result(tmp_path / "compare" / "sticking.json", result)
    verdict = read_json(tmp_path / "compare" / "verdict.json")
    for check in verdict["checks"]:
        check["confidence"] = 0.8 if check["tolerance"] == "sticking" else 0.95
    write_json(tmp_path / "compare" / "verdict.json", verdict)
    page = Page(write_report(tmp_path).read_text())
    assert page.row("surface and state")[4] == "80 % interval"
    assert "−0.19 to 0.09, 80 %" in page.text
    assert "80 %: −0.19 to 0.09" in page.text
    assert "95 %: 39.5 to 44.1" in page.text


@pytest.mark.parametrize("last", ["teacher", "student"])
def test_an_unfinished_run_shows_what_is_there(tmp_path, no_figures, last):
    make_run(tmp_path, last=last)
    page = Page(write_report(tmp_path).read_text())
    assert "Not finished" in page.text
    assert "teacher – reference" in page.text
    assert ("student – teacher, held out" in page.text) is (last == "student")
    assert page.row("compare")[1:] == ["—", "not finished"]
    (card,) = read_json(tmp_path / "report.json")["headline"]
    forces = read_json(tmp_path / "teacher" / "errors.json")["teacher"]["forces"]
    assert card["label"] == "teacher’s force RMSE against the reference"
    assert card["value"] == pytest.approx(1000 * forces["rmse"])


def test_a_run_that_has_just_begun_has_a_report(tmp_path):
    (tmp_path / "full").mkdir()
    make_run(tmp_path / "full", last="teacher")
    (tmp_path / "empty").mkdir()
    config = (tmp_path / "full" / "config.json").read_text()
    (tmp_path / "empty" / "config.json").write_text(config)
    assert "Not finished" in write_report(tmp_path / "empty").read_text()


def test_an_unfinished_comparison_shows_what_was_finished_of_it(tmp_path, no_figures):
    make_run(tmp_path, figures=False)
    for name in ("manifest.json", "verdict.json", "sticking.json"):
        (tmp_path / "compare" / name).unlink()
    page = Page(write_report(tmp_path).read_text())
    assert "Not finished" in page.text
    assert {"timing", "barriers"} <= page.ids and "sticking" not in page.ids


@pytest.mark.parametrize("name", ["a $(touch PWNED) b", "it's `x`; rm -rf *", "-n", "new\nline"])
def test_printed_commands_take_the_folder_as_one_word(tmp_path, monkeypatch, no_figures, name):
    monkeypatch.chdir(tmp_path)
    make_run(Path(name), last="teacher")
    write_report(Path(name))
    *_, timing, report = read_json(Path(name) / "report.json")["provenance"]["commands"]
    folder = f"./{name}" if name.startswith("-") else name
    assert shlex.split(report) == ["distill", "report", folder]
    assert shlex.split(timing) == [
        "distill",
        "timing",
        f"{folder}/teacher/teacher.model",
        f"{folder}/student/student.npz",
    ]


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("teacher/teacher.json", "TeacherRecord"),
        ("teacher/errors.json", "TeacherErrors"),
        ("sampling/sampling.json", "selected"),
        ("student/errors.json", "train"),
        ("student/uncertainty.json", "members"),
        ("config.json", "seed"),
    ],
)
@pytest.mark.parametrize("text", ["null", "{}", "[1]", "3"])
def test_files_of_another_kind_are_refused_by_name(tmp_path, no_figures, file, key, text):
    make_run(tmp_path, last="student")
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=rf"{file} is damaged(: expected| or no) .*{key}"):
        write_report(tmp_path)


def test_the_page_is_made_for_dark_screens_phones_and_paper(finished):
    _, _, text, _ = finished
    style = text[text.index("<style>") : text.index("</style>")]
    for query in ("prefers-color-scheme: dark", "max-width: 620px", "@media print"):
        assert query in style
    # Colours are named once for light and once for dark; the rest uses their names.
    rules = style[style.index("* { box-sizing") : style.index("@media print")]
    assert not re.search(r"#[0-9a-f]{3,8}\b", rules)
    assert style.count("--plate: #ffffff") == 3
    tables, scrolls = text.count("<table"), text.count('<div class="scroll"><table')
    assert tables == scrolls > 5
    assert text.count("<img") == text.count('<div class="plate"><img') > 5


def test_units_are_not_broken_over_lines(finished):
    _, _, text, _ = finished
    assert 'MAE / RMSE F <span class="whole">[meV/Å]</span>' in text
    headers = re.findall(r"<th[^>]*>([^<]*/[^<]*)<", text)
    assert not [header for header in headers if re.search(r"\[[^\]]*/[^\]]*\]", header)]


def test_names_are_escaped(tmp_path, no_figures):
    make_run(tmp_path, last="teacher")
    config = json.loads((tmp_path / "config.json").read_text())
    config["name"] = "<b>Cu & H</b>"
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = write_report(tmp_path).read_text()
    assert "&lt;b&gt;Cu &amp; H&lt;/b&gt;" in text and "<b>" not in text


def test_other_folders_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)
    make_run(tmp_path, last="teacher")
    (tmp_path / "teacher" / "errors.json").write_text("{")
    with pytest.raises(UserError, match=r"errors\.json is damaged"):
        write_report(tmp_path)
