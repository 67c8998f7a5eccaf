"""Figures: every axis has a label with its unit, every model keeps its colour, files are stable."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from fake_run import (
    barriers_result,
    diffusion_result,
    labelled_slabs,
    noisy,
    sticking_result,
    timing_result,
)

from distill.compare import observable_plots
from distill.metrics.errors import error_table
from distill.report import plots

HISTORY = [
    {"epoch": k, "stage": 1 + k // 6, "forces_rmse": 1 / (k + 1), "energy_rmse": 0.1 / (k + 1)}
    for k in range(10)
]


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


def test_parity_has_a_column_for_each_pair(pairs):
    tables = {title: error_table(*pair) for title, pair in pairs.items()}
    axes = labelled_axes(plots.parity_figure(pairs, tables))
    assert len(axes) == 6
    assert "[eV/atom]" in axes[0].get_xlabel() and "[eV/Å]" in axes[3].get_xlabel()
    assert [axis.get_title(loc="left") for axis in axes[:3]] == list(pairs)


def test_parity_does_without_energies(pairs):
    true, predicted = ([atoms.copy() for atoms in side] for side in pairs["a → b"])
    for atoms in true:
        del atoms.info["REF_energy"]
    pair = {"forces only": (true, predicted)}
    figure = plots.parity_figure(pair, {"forces only": error_table(true, predicted)})
    assert len(figure.axes) == 2


def test_histograms_have_a_panel_for_each_element(pairs):
    titles = [a.get_title(loc="left") for a in labelled_axes(plots.error_histogram_figure(pairs))]
    assert titles == ["Cu atoms", "H atoms"]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_profiles_have_a_panel_for_each_path(count):
    models = barriers_result()["paths"]["Cu(111) bridge"]
    figure = observable_plots.barrier_figure({f"path {k}": models for k in range(count)})
    axes = labelled_axes(figure)
    assert len(axes) == count
    text = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert text[0] == f"reference: {models['reference']['barrier']:.3f} eV"


def test_published_points_are_drawn_on_the_panels_they_belong_to():
    from distill.compare.observables import sticking_curves

    result = sticking_result()
    (condition,) = result["conditions"][:1]
    here = {"energy": 0.5, "probability": 0.2, "interval": None, "source": "beam"}
    here |= {"facet": condition["facet"], "temperature": None, "v": None, "j": None}
    elsewhere = {**here, "source": "other", "temperature": condition["temperature"] + 50.0}
    curves = sticking_curves({**result, "published": [here, elsewhere]})
    (panel, *_) = curves.values()
    assert panel["beam"] == [here]
    assert "other" not in panel
    (axis, *_) = labelled_axes(observable_plots.sticking_figure(curves))
    assert "beam" in [text.get_text() for text in axis.get_legend().get_texts()]


def test_intervals_of_sticking_are_drawn(tmp_path):
    from distill.compare.observables import sticking_curves

    curves = sticking_curves(sticking_result())
    (axis,) = labelled_axes(observable_plots.sticking_figure(curves))
    drawn = [segment[:, 1] for c in axis.collections for segment in c.get_segments()]
    wanted = [p["interval"] for points in next(iter(curves.values())).values() for p in points]
    np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(map(tuple, wanted)))


def test_upper_bounds_are_triangles_and_fits_have_bands():
    (axis,) = labelled_axes(observable_plots.arrhenius_figure(diffusion_result()))
    assert len(axis.collections) >= 4
    assert [len(line.get_xdata()) for line in axis.lines if line.get_marker() == "v"] == [1, 0]
    labels = [t.get_text() for t in axis.get_legend().get_texts()]
    assert labels[0] == "teacher: 0.240 eV (0.200 to 0.280)"


def test_scaling_gets_a_panel_of_its_own():
    timing = timing_result()
    assert len(labelled_axes(plots.timing_figure(timing))) == 1
    larger = copy.deepcopy({"atoms": 224, "models": timing["models"]})
    axes = labelled_axes(plots.timing_figure({**timing, "scaling": [larger]}))
    assert axes[1].get_xlabel() == "atoms"
    assert len(axes[1].lines) == 2


def test_accuracy_stands_against_cost(pairs):
    tables = dict.fromkeys(("teacher", "student"), error_table(*pairs["a → b"]))
    (axis,) = labelled_axes(plots.cost_figure(timing_result(), tables))
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["teacher", "student"]


def test_training_and_times_are_drawn():
    assert len(labelled_axes(plots.training_figure(HISTORY))) == 2
    labelled_axes(plots.time_spent_figure({"teacher": 12.0, "student": 3.0}))
    labelled_axes(plots.calibration_figure([0.01, 0.1], [0.02, 0.09], "eV/Å"))


def test_models_keep_their_colours():
    assert plots.colour_of("teacher", 0) == plots.colour_of("teacher", 3)
    assert plots.colour_of("teacher") != plots.colour_of("student")
    assert plots.colour_of("other", 0) != plots.colour_of("another", 1)


def test_the_same_data_give_the_same_files(tmp_path):
    files = [
        plots.save_figure(plots.time_spent_figure({"teacher": 12.0}), tmp_path / name, "time")
        for name in ("first", "second")
    ]
    for suffix in (".png", ".pdf"):
        first, second = (file.with_suffix(suffix).read_bytes() for file in files)
        assert first == second


def bulk_result():
    def model(scale):
        return {
            "equation_of_state": {
                "volume": 40.0,
                "volume_per_atom": 10.0,
                "energy_per_atom": -3.0,
                "volumes": [38.0, 39.0, 40.0, 41.0],
                "energies": [-11.9, -11.98, -12.0, -11.99],
            },
            "thermal_expansion": [],
            "phonons": {
                "dispersion": {
                    "distance": [0.0, 0.1, 0.2],
                    "frequencies": [[0.0, 1.0 * scale], [2.0, 3.0], [4.0, 5.0 * scale]],
                    "positions": [0.0, 0.2],
                    "labels": ["G", "X"],
                },
                "density_of_states": {"frequency": [0.0, 2.0, 5.0], "density": [0.0, 0.4, 0.1]},
            },
        }

    return {"models": {"teacher": model(1.0), "student": model(1.02)}}


def test_bulk_figure_has_a_panel_for_each_property():
    axes = labelled_axes(observable_plots.bulk_figure(bulk_result()))
    labels = [axis.get_xlabel() for axis in axes]
    assert labels == ["volume [Å³/atom]", "wave vector", "density of states [1/THz]"]
