"""The report: whole in one file, true to its JSON, and there for unfinished runs too."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from fake_run import diffusion_result, make_run

from distill.config import Tolerances
from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.report import report as report_module
from distill.report.report import write_report

PASSING = Tolerances(teacher_force_rmse=0.08, student_force_rmse=0.04, barrier=0.02, speedup=10)
FAILING = Tolerances(student_force_rmse=0.04, sticking=0.05)
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects text, tables, references and image sources; checks that tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.ids, self.rows, self.text = [], [], set(), [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.references += [v for k, v in attributes.items() if k in {"src", "href", "srcset"}]
        self.ids.add(attributes.get("id"))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, first):
        return next(r for r in self.rows if r and r[0].strip() == first)


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


def test_the_page_needs_no_other_file(finished):
    _, _, text, _ = finished
    page = Page(text)
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in page.references)
    assert {r[1:] for r in page.references if r.startswith("#")} <= page.ids
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert sum(r.startswith("data:") for r in page.references) >= 7
    assert len(text) < 3_000_000


def test_the_page_opens_with_the_verdict(finished):
    _, _, text, _ = finished
    assert text.index('id="verdict"') < text.index('class="cards"') < text.index('id="accuracy"')
    assert "<h2>Passed</h2>" in text
    assert "4 of 4 checks" in text


def test_page_and_json_show_the_numbers_of_the_run(finished):
    run, parts, text, report = finished
    page = Page(text)
    forces = parts["errors"]["held_out"]["teacher_student"]["forces"]
    column = report["accuracy"]["columns"].index("student – teacher, held out") + 1
    expected = f"{1000 * forces['mae']:.1f} / {1000 * forces['rmse']:.1f}"
    assert page.row("MAE / RMSE F [meV/Å]")[column] == expected
    assert report["accuracy"]["tables"]["student – teacher, held out"]["forces"] == forces
    assert (
        page.row("student")[4]
        == f"{parts['timing']['models']['student']['forces_ms']['median']:.3g}"
    )
    assert report["verdict"]["checks"][0]["value"] == parts["verdict"]["checks"][0]["value"]
    for row in report["accuracy"]["rows"]:
        assert page.row(row["title"])[1:] == row["cells"]
    for card in report["headline"]:
        assert card["label"] in page.text
        assert f"{card['value']:.3g}".replace("-", "−") in page.text
    assert json.loads((run / "report.json").read_text()) == report


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
    assert "1 of 2 checks did not pass" in text
    assert re.search(r"−0\.05</td>\s*<td>−0\.19 to 0\.09</td>", text)


def test_diffusion_is_shown_with_bounds(tmp_path, no_figures):
    make_run(tmp_path, figures=False)
    write_json(tmp_path / "compare" / "diffusion.json", diffusion_result())
    page = Page(write_report(tmp_path).read_text())
    assert page.row("teacherno jump was seen")[:4] == ["teacherno jump was seen", "400", "—", "—"]
    report = read_json(tmp_path / "report.json")
    assert [row["activation_energy"] for row in report["diffusion"]["arrhenius_rows"]] == [
        0.24,
        0.25,
    ]
    assert any(card["label"].startswith("activation energy") for card in report["headline"])


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
