"""An observable that another package adds is computed, judged and shown like the others."""

from __future__ import annotations

import csv

import pytest
from compare_fixtures import add_observable
from fake_run import make_run
from toy_observable import Toy, ToyResult

from distill.compare import compare_stage as stage
from distill.compare.config import ErrorTolerances
from distill.compare.verdict import judge_student, refuse_what_cannot_work
from distill.config import CompareConfig, Tolerances
from distill.config.compare import compare_section
from distill.core.artifacts import read_json
from distill.core.errors import ChecksFailed, UserError
from distill.core.results import read_result, write_result
from distill.core.work import Unit
from distill.observables.base import OBSERVABLES
from distill.report.report import write_report


@pytest.fixture
def compare(with_toy):
    """A `compare` section that asks for the toy, with a bound on it."""

    def section(**options):
        _, kind = with_toy
        return kind(**{"timing": None, "toy": {}, **options})

    return section


def test_the_sections_gain_its_key_and_bound_and_nothing_else_changes(with_toy):
    tolerances, section = with_toy
    for grown, plain, key in (
        (section, CompareConfig, "toy"),
        (tolerances, Tolerances, "toy_energy"),
    ):
        assert set(grown.model_fields) - set(plain.model_fields) == {key}
        others = {k: v for k, v in grown().model_dump().items() if k not in {key, "tolerances"}}
        assert others == {k: v for k, v in plain().model_dump().items() if k != "tolerances"}
    assert section.model_fields["toy"].description == "Energy of a crystal."


@pytest.mark.usefixtures("no_figures")
def test_it_is_computed_with_every_model_and_its_files_are_written(compare, inputs):
    stage.run(compare(models={"third": {"path": "compare_toys:Scaled"}}), **inputs)
    out = inputs["out"]
    energies = read_result(out / "toy.json", ToyResult).energies
    assert list(energies) == ["teacher", "student", "third"]
    assert energies["student"] == pytest.approx(1.01 * energies["teacher"])
    assert energies["third"] == pytest.approx(energies["teacher"] / 1.03)
    with (out / "toy.csv").open() as handle:
        assert [row["model"] for row in csv.DictReader(handle)] == list(energies)
    for name in ("toy.png", "toy.pdf", "toy_differences.png", "toy_differences.csv"):
        assert (out / name).stat().st_size > 0


@pytest.mark.usefixtures("no_figures")
def test_what_was_computed_is_not_computed_again(compare, inputs, monkeypatch):
    stage.run(compare(), **inputs)
    before = (inputs["out"] / "toy.json").read_bytes()
    monkeypatch.setattr(Unit, "run", lambda unit: pytest.fail(f"{unit.name} was done again"))
    stage.run(compare(), **inputs)
    assert (inputs["out"] / "toy.json").read_bytes() == before


@pytest.mark.usefixtures("no_figures")
def test_it_is_judged_by_its_bound(compare, inputs):
    stage.run(compare(), **inputs)
    difference = abs(read_result(inputs["out"] / "toy.json", ToyResult).difference())
    judge_student(compare(tolerances={"toy_energy": 1.01 * difference}), inputs["out"])
    checks = read_json(inputs["out"] / "verdict.json")["checks"]
    assert {c["tolerance"]: c["passed"] for c in checks if c["bound"]} == {"toy_energy": True}
    with pytest.raises(ChecksFailed, match="toy energy"):
        judge_student(compare(tolerances={"toy_energy": 0.99 * difference}), inputs["out"])
    unasked = compare(toy=None, tolerances={"toy_energy": 1.0})
    with pytest.raises(UserError, match=r"tolerances\.toy_energy is set, but compare\.toy is off"):
        refuse_what_cannot_work(unasked)


def test_its_title_rows_and_figures_are_in_the_report(with_toy, tmp_path):
    make_run(tmp_path, figures=False)
    result = ToyResult(energies={"teacher": -0.0313, "student": 0.0271})
    write_result(tmp_path / "compare" / "toy.json", result)
    for stem, figure in Toy().draw(result).items():
        stage.save_figure(figure, tmp_path / "compare", stem)
    text = write_report(tmp_path).read_text()
    assert '<a href="#toy">Toy energies</a>' in text and '<section id="toy">' in text
    shown = text[text.index('<section id="toy">') :]
    shown = shown[: shown.index("</section>")]
    assert "<h2>Toy energies</h2>" in shown
    # The columns and rows of both tables, in words.
    for expected in ("energy eV", "of the teacher", "−0.0313", "0.0271", ">yes<", ">no<"):
        assert expected in shown
    assert "<h3>toy differences</h3>" in shown and "−0.5 to 0.5" in shown
    assert shown.count("data:image/png;base64,") == 2
    assert "Toy energies: differences" in shown
    assert "toy energy, student minus teacher" in text
    assert read_json(tmp_path / "report.json")["observables"][-1]["result"]["energies"]


def test_figures_go_to_the_observable_with_the_longest_name():
    from distill.report.report import _by_observable

    figures = ["rdf", "rdf_partial", "rdf_partial_all", "parity", "rdfs"]
    assert _by_observable(figures, ["rdf", "rdf_partial"]) == {
        "rdf": ["rdf"],
        "rdf_partial": ["rdf_partial", "rdf_partial_all"],
    }


@pytest.mark.usefixtures("with_toy", "no_figures")
class TestClashes:
    @pytest.mark.parametrize("name", ["models", "timing", "tolerances"])
    def test_a_key_of_the_section_is_no_name(self, monkeypatch, name):
        add_observable(monkeypatch, name, "toy_observable:Toy")
        with pytest.raises(UserError, match=f"no observable can be called {name}"):
            compare_section()

    def test_a_bound_belongs_to_one_observable(self, monkeypatch):
        monkeypatch.setattr(Toy, "Tolerances", OBSERVABLES.load("barriers").Tolerances)
        with pytest.raises(UserError, match=r"toy has a tolerance barrier, as has .* barriers"):
            compare_section()
        monkeypatch.setattr(Toy, "Tolerances", ErrorTolerances)
        with pytest.raises(UserError, match="as has the compare section itself"):
            compare_section()

    @pytest.mark.parametrize("stem", ["errors", "verdict", "parity"])
    def test_files_of_the_comparison_are_not_overwritten(self, monkeypatch, compare, inputs, stem):
        monkeypatch.setattr(Toy, "rows", lambda self, result: {stem: []})
        with pytest.raises(UserError, match=f"toy writes files named {stem}"):
            stage.run(compare(), **inputs)
