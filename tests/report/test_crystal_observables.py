"""Diffusion and bulk properties in the verdict, the figures and the report."""

from __future__ import annotations

import pytest
from fake_observables import FAKES
from fake_run import make_run
from html_page import Page

from distill.config import Tolerances
from distill.core.artifacts import read_json
from distill.observables.base import OBSERVABLES
from distill.report import report as report_module


def drawn(name):
    return OBSERVABLES.load(name)().draw(FAKES[name]())[name]


def test_upper_bounds_are_triangles_and_fits_have_bands():
    figure = drawn("diffusion")
    (axis,) = figure.axes
    assert axis.get_xlabel() and axis.get_ylabel() == "diffusivity [cm²/s]"
    assert len(axis.collections) >= 4
    assert [len(line.get_xdata()) for line in axis.lines if line.get_marker() == "v"] == [1, 0]
    labels = [t.get_text() for t in axis.get_legend().get_texts()]
    assert labels[0] == "teacher: 0.240 eV (0.200 to 0.280)"


def test_bulk_figure_has_a_panel_for_each_property():
    shown = [axis for axis in drawn("bulk").axes if axis.get_visible()]
    labels = [axis.get_xlabel() for axis in shown]
    assert labels == ["volume [Å³/atom]", "wave vector", "density of states [1/THz]"]
    assert all(axis.get_ylabel() for axis in shown)


@pytest.mark.parametrize(("bound", "passed"), [(0.051, True), (0.049, False), (0.005, False)])
def test_an_activation_energy_passes_with_both_ends(bound, passed):
    observable = OBSERVABLES.load("diffusion")()
    result = FAKES["diffusion"]()
    (check,) = observable.checks(result, Tolerances(activation_energy=bound))
    assert check.passed is passed
    assert ("longer or more runs" in check.comment) is (bound == 0.049)


def test_an_activation_energy_without_a_fit_fails_with_the_reason():
    observable, result = OBSERVABLES.load("diffusion")(), FAKES["diffusion"]()
    without = result.differences["student"].model_copy(update={"arrhenius": None})
    result = result.model_copy(update={"differences": {"student": without}})
    (check,) = observable.checks(result, Tolerances(activation_energy=0.02))
    assert check.value is None and not check.passed
    assert check.comment.startswith("no Arrhenius fit of both")


@pytest.fixture(scope="module")
def page(tmp_path_factory):

    run = tmp_path_factory.mktemp("crystals")
    make_run(run, figures=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "_figures", lambda run_folder, report: {})
        text = report_module.write_report(run).read_text()
    return Page(text), read_json(run / "report.json")


def test_diffusion_is_shown_with_bounds(page):
    page, report = page
    assert page.row("teacherno jump was seen")[:4] == ["teacherno jump was seen", "400", "—", "—"]
    (diffusion,) = [o for o in report["observables"] if o["name"] == "diffusion"]
    energies = [row["activation_energy"] for row in diffusion["rows"]["arrhenius"]]
    assert energies == [0.24, 0.25]
    assert any(card["label"].startswith("activation energy") for card in report["headline"])


def test_bulk_properties_stand_in_a_column_for_each_model(page):
    page, _ = page
    lattice_constants = page.row("lattice constant [Å]")
    assert lattice_constants[1] == f"{40 ** (1 / 3):.5g}" and lattice_constants[3] == "3.4426"
