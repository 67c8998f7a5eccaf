"""Figures: every axis has a label with its unit, every model keeps its colour, files are stable."""

from __future__ import annotations

import numpy as np
import pytest
from fake_observables import barriers_result, sticking_condition, sticking_result
from fake_run import labelled_slabs, noisy, timing_result
from matplotlib import pyplot

from distill.compare.timing_plots import cost_figure, timing_figure
from distill.compare.timing_result import TimingBlock
from distill.core.figures import colour_of, save_figure
from distill.metrics.error_plots import calibration_figure, error_histogram_figure, parity_figure
from distill.metrics.errors import error_table
from distill.observables.barriers.observable import Barriers
from distill.observables.sticking.observable import Sticking
from distill.observables.sticking.plots import curves
from distill.observables.sticking.result import PublishedPoint
from distill.report.plots import time_spent_figure, training_figure
from distill.report.teacher_plots import model_curves_figure
from distill.systems.probes import CrystalCurve
from distill.teacher.simple_systems import ModelCurves

HISTORY = [
    {"epoch": k, "stage": 1 + k // 6, "forces_rmse": 1 / (k + 1), "energy_rmse": 0.1 / (k + 1)}
    for k in range(10)
]


@pytest.fixture(autouse=True)
def closed():
    """No figure is left open."""
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    true = labelled_slabs(9, rng)
    return {title: (true, noisy(true, 0.01, 0.02, rng)) for title in ("a → b", "b → c", "a → c")}


def labelled_axes(figure):
    shown = [axis for axis in figure.axes if axis.get_visible()]
    for axis in shown:
        assert axis.get_xlabel() and (axis.get_ylabel() or axis.get_yticklabels())
    return shown


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_legend_is_outside(figure):
    """The figure's legend covers no panel."""
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axis.get_tightbbox()) for axis in figure.axes)


def test_parity_has_a_column_for_each_pair(pairs):
    tables = {title: error_table(*pair) for title, pair in pairs.items()}
    axes = labelled_axes(parity_figure(pairs, tables))
    assert len(axes) == 6
    assert "[eV/atom]" in axes[0].get_xlabel() and "[eV/Å]" in axes[3].get_xlabel()
    assert [axis.get_title(loc="left") for axis in axes[:3]] == list(pairs)


def test_parity_does_without_energies(pairs):
    true, predicted = ([atoms.copy() for atoms in side] for side in pairs["a → b"])
    for atoms in true:
        del atoms.info["REF_energy"]
    pair = {"forces only": (true, predicted)}
    figure = parity_figure(pair, {"forces only": error_table(true, predicted)})
    assert len(figure.axes) == 2


def test_histograms_have_a_panel_for_each_element(pairs):
    figure = error_histogram_figure(pairs)
    titles = [a.get_title(loc="left") for a in labelled_axes(figure)]
    assert titles == ["Cu atoms", "H atoms"]
    assert legend_of(figure) == list(pairs)
    assert_legend_is_outside(figure)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_profiles_have_a_panel_for_each_path(count):
    [models] = barriers_result().paths.values()
    paths = {f"path {k}": models for k in range(count)}
    figure = Barriers().draw(barriers_result().model_copy(update={"paths": paths}))["barriers"]
    axes = labelled_axes(figure)
    assert len(axes) == count
    text = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert text[0] == f"reference: {models['reference'].barrier:.3f} eV"


def test_a_band_that_did_not_converge_is_marked():
    [models] = barriers_result().paths.values()
    models = {**models, "student": models["student"].model_copy(update={"converged": False})}
    result = barriers_result().model_copy(update={"paths": {"path": models}})
    (axis,) = labelled_axes(Barriers().draw(result)["barriers"])
    marked = [t.get_text().endswith("(not converged)") for t in axis.get_legend().get_texts()]
    assert marked == [False, False, True]


def test_published_points_are_drawn_on_the_panels_they_belong_to():
    condition = sticking_condition()
    here = PublishedPoint(
        energy=0.5, probability=0.2, interval=None, source="beam", facet=condition.facet
    )
    elsewhere = here.model_copy(
        update={"source": "other", "temperature": condition.temperature + 50.0}
    )
    result = sticking_result(condition, published=[here, elsewhere])
    [panel] = curves(result).values()
    assert panel["beam", 0.0] == [(0.5, 0.2, None)]
    assert ("other", 0.0) not in panel
    figure = Sticking().draw(result)["sticking"]
    labelled_axes(figure)
    assert legend_of(figure) == ["teacher", "student", "teacher, two-level", "beam"]
    assert_legend_is_outside(figure)


def test_every_surface_and_state_has_a_panel_and_a_curve_over_the_energies():
    conditions = [
        sticking_condition(facet=facet, energy=energy)
        for facet in ("111", "100")
        for energy in (0.4, 0.6, 0.8)
    ]
    found = curves(sticking_result(*conditions))
    assert list(found) == ["(111), 300 K, v = 0, J = 1", "(100), 300 K, v = 0, J = 1"]
    assert [energy for energy, *_ in found["(100), 300 K, v = 0, J = 1"]["student", 0.0]] == [
        0.4,
        0.6,
        0.8,
    ]


def test_oblique_beams_are_drawn_at_their_normal_energy():
    conditions = [sticking_condition(energy=0.8, polar_angle=angle) for angle in (0.0, 60.0)]
    result = sticking_result(*conditions)
    [panel] = curves(result).values()
    assert panel["student", 0.0][0][0] == pytest.approx(0.8)
    assert panel["student", 60.0][0][0] == pytest.approx(0.2)
    (axis,) = labelled_axes(Sticking().draw(result)["sticking"])
    assert axis.get_xlabel() == "normal energy [eV]"


def test_intervals_of_sticking_are_drawn():
    result = sticking_result()
    (axis,) = labelled_axes(Sticking().draw(result)["sticking"])
    drawn = [segment[:, 1] for c in axis.collections for segment in c.get_segments()]
    [panel] = curves(result).values()
    wanted = [interval for points in panel.values() for _, _, interval in points]
    assert len(wanted) == 3
    np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(map(tuple, wanted)))


def test_scaling_gets_a_panel_of_its_own():
    timing = timing_result()
    assert len(labelled_axes(timing_figure(timing))) == 1
    larger = TimingBlock(atoms=224, supercell=[2, 2, 1], models=timing.models, cores=1)
    axes = labelled_axes(timing_figure(timing.model_copy(update={"scaling": [larger]})))
    assert axes[1].get_xlabel() == "atoms"
    assert len(axes[1].lines) == 2


def test_accuracy_stands_against_cost(pairs):
    forces = dict.fromkeys(("teacher", "student"), error_table(*pairs["a → b"]).forces)
    (axis,) = labelled_axes(cost_figure(timing_result(), forces))
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["teacher", "student"]


def test_training_and_times_are_drawn():
    assert len(labelled_axes(training_figure(HISTORY))) == 2
    labelled_axes(time_spent_figure({"teacher": 12.0, "student": 3.0}))
    labelled_axes(calibration_figure([0.01, 0.1], [0.02, 0.09], "eV/Å"))


def test_models_keep_their_colours():
    assert colour_of("teacher", 0) == colour_of("teacher", 3)
    assert colour_of("teacher") != colour_of("student")
    assert colour_of("other", 0) != colour_of("another", 1)


def test_the_same_data_give_the_same_files(tmp_path):
    files = [
        save_figure(time_spent_figure({"teacher": 12.0}), tmp_path / name, "time")
        for name in ("first", "second")
    ]
    for suffix in (".png", ".pdf"):
        first, second = (file.with_suffix(suffix).read_bytes() for file in files)
        assert first == second


def test_a_curve_of_few_points_is_drawn_smooth():
    volumes = np.linspace(10.0, 13.0, 9)
    energies = (0.1 * (volumes - 11.5) ** 2).tolist()
    crystal = CrystalCurve(
        volumes=volumes.tolist(), energies=energies, volume=11.5, bulk_modulus_GPa=140.0
    )
    curve = ModelCurves(crystals={"Cu": crystal}, dimers={})
    models = {"foundation": curve, "teacher": curve, "data": curve}
    figure = model_curves_figure(models)
    (axis,) = labelled_axes(figure)
    points = {line.get_label(): len(line.get_xdata()) for line in axis.lines}
    assert points["foundation"] == points["teacher"] > 100
    assert points["reference data"] == 9
    assert_legend_is_outside(figure)
