"""The door to mace-torch: cutting elements and heads, predictions, reading damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from helpers import SAMPLE_STUDENT
from tiny_mace import predicted, rattled_structures, tiny_model

from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces
from distill.models.calculators import load_calculator
from distill.models.config import CalculatorConfig
from distill.models.mace import adapter as adapter
from distill.models.mace.foundation_store import Foundation
from distill.models.mace.steps import loss_function, validation_errors
from distill.models.mace.torch_tools import pick_device

STRUCTURES = rattled_structures(6)


def test_predictions_are_those_of_mace_torchs_own_calculator(tmp_path):
    model = tiny_model()
    adapter.save_model(model, tmp_path / "tiny.model")
    labelled = predicted(model, STRUCTURES, batch_size=4)
    calculator = load_calculator(tmp_path / "tiny.model")
    for atoms, found in zip(STRUCTURES, labelled, strict=True):
        copy = atoms.copy()
        copy.calc = calculator
        assert reference_energy(found) == pytest.approx(copy.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(reference_forces(found), copy.get_forces(), atol=1e-9)


def test_stress_is_predicted_where_it_is_labelled(tmp_path):
    model = tiny_model()
    adapter.save_model(model, tmp_path / "tiny.model")
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=3)
    crystal.info["REF_stress"] = np.zeros(6)
    labelled, molecule_labelled = predicted(model, [crystal, molecule("H2")], batch_size=4)
    crystal.calc = load_calculator(tmp_path / "tiny.model")
    np.testing.assert_allclose(labelled.info["REF_stress"], crystal.get_stress(), atol=1e-9)
    assert "REF_stress" not in molecule_labelled.info


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, True), (False, False, False)])
def test_a_stress_is_by_the_volume_of_the_given_cell(tmp_path, pbc):
    """mace-torch divides by that of a cell widened along directions that are not periodic."""
    model = tiny_model()
    adapter.save_model(model, tmp_path / "tiny.model")
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=3)
    crystal.center(vacuum=6.0, axis=[axis for axis in range(3) if not pbc[axis]])
    crystal.info["REF_stress"] = np.zeros(6)
    slab = crystal.copy()
    slab.pbc = pbc
    whole, open_ended = predicted(model, [crystal, slab], batch_size=2)
    assert np.abs(whole.info["REF_stress"]).max() > 1e-7
    expected = whole.info["REF_stress"]
    np.testing.assert_allclose(open_ended.info["REF_stress"], expected, rtol=1e-6, atol=1e-12)
    calculators = [
        load_calculator(tmp_path / "tiny.model"),
        load_calculator(
            CalculatorConfig(
                path="mace.calculators:MACECalculator",
                args={"model_paths": str(tmp_path / "tiny.model"), "default_dtype": "float64"},
            )
        ),
    ]
    for calculator in calculators:
        np.testing.assert_allclose(calculator.get_stress(slab), expected, rtol=1e-6, atol=1e-12)


def test_a_stress_is_learnt_by_the_volume_of_the_given_cell():
    """The loss sees the model's stress: labels that are the model's own cost nothing."""
    model = tiny_model()
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=3)
    crystal.center(vacuum=6.0, axis=2)
    crystal.info["REF_stress"] = np.zeros(6)
    (labelled,) = predicted(model, [crystal], batch_size=1)
    labelled.pbc = (True, True, False)
    batches = adapter.make_batches(adapter.make_data([labelled], model, {"Cu": 0.0}), 1)
    loss = loss_function(0.0, 0.0, 1.0)
    assert validation_errors(model, loss, batches, "cpu", True)["loss"] < 1e-12


def test_large_total_energies_keep_their_precision_in_float32():
    """An all-electron energy of copper would lose 0.004 eV an atom in single precision."""
    e0 = {"H": -13.6057123, "Cu": -45123.4567891}
    double, single = tiny_model((1, 29)), tiny_model((1, 29)).float()
    exact = adapter.predictions(double, STRUCTURES, batch_size=3, e0=e0).energies
    found = adapter.predictions(single, STRUCTURES, batch_size=3, e0=e0).energies
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)
    adapter.set_e0(single, e0)
    assert adapter.facts(single).e0 == e0
    assert adapter.facts(single).dtype == "float32"


def test_labels_reach_the_model_relative_to_the_reference_energies():
    model = tiny_model((1, 29))
    (graph,) = adapter.make_data([STRUCTURES[0]], model, {"H": 1.0, "Cu": 10.0})
    expected = reference_energy(STRUCTURES[0]) - 2 * 1.0 - 3 * 10.0
    assert float(graph.energy) == pytest.approx(expected)


def test_an_unknown_element_is_named_with_its_structure():
    with pytest.raises(UserError, match=r"structure 1: element Li .*H, Cu"):
        adapter.make_data([STRUCTURES[0], bulk("Li")], tiny_model((1, 29)), {"H": 0.0, "Cu": 0.0})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"not a pickle", "UnpicklingError"),
        (b"PK\x03\x04 broken zip", "Error"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (SAMPLE_STUDENT.read_bytes(), "name a student .npz"),
    ],
)
def test_a_damaged_model_file_is_named(tmp_path, content, reason):
    path = tmp_path / "broken.model"
    path.write_bytes(content)
    message = rf"broken\.model is not a readable MACE model: .*{reason}"
    with pytest.raises(UserError, match=message):
        adapter.read_model(path)


def test_a_state_dict_is_no_model(tmp_path):
    import torch

    path = tmp_path / "state.pt"
    torch.save(tiny_model().state_dict(), path)
    with pytest.raises(UserError, match="expected a MACE energy model"):
        adapter.load_model(Foundation("state.pt", path, ""))


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(UserError, match=r"teacher\.device"):
        pick_device("cuda")
