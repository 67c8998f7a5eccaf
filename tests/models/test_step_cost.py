"""What a training step costs is measured beforehand, and refused where memory is short."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_mace import TINY, rattled_structures, tiny_model

from distill.core.errors import UserError
from distill.models.base import Job
from distill.models.mace import adapter, step_cost
from distill.models.mace.config import MaceConfig
from distill.models.mace.family import Mace
from distill.models.mace.torch_tools import precision

SIZES = [5, 4, 2, 5, 4, 2]


@pytest.fixture(scope="module")
def model():
    return tiny_model((1, 29))


@pytest.fixture(scope="module")
def graphs(model):
    """A slab of 5, a crystal of 4 and a molecule of 2 atoms, twice."""
    with precision("float64"):
        return adapter.make_data(rattled_structures(6), model, {"H": 0.0, "Cu": 0.0})


def test_batches_are_of_so_many_structures_or_of_so_many_atoms(graphs):
    assert [graph.num_nodes for graph in graphs] == SIZES
    assert adapter.chunks(graphs, 4) == [[0, 1, 2, 3], [4, 5]]
    assert adapter.chunks(graphs, 4, [5, 3, 1, 0, 2], 9) == [[5, 3], [1, 0], [2]]
    # What is larger than a batch may be is one by itself.
    assert adapter.chunks(graphs, 1, None, 4) == [[0], [1], [2], [3], [4], [5]]
    assert adapter.chunks([], 4) == []
    loader = adapter.make_batches(graphs, 4, [5, 3, 1], 7)
    assert [batch.num_nodes for batch in loader] == [7, 4]


def measured(model, graphs, **changes):
    config = MaceConfig(**{**TINY, **changes})
    return step_cost.step_cost(model, config, "cpu", graphs, graphs[1:2])


def test_the_largest_batch_is_measured_and_the_weights_stay(model, graphs):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    cost = measured(model, graphs, batch_size=3)
    # Crystals and slabs have the most neighbours.
    assert (cost.structures, cost.atoms) == (3, 14)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.detach(), before[name])
        assert parameter.grad is None
    edges = [graph.edge_index.shape[1] for graph in graphs]
    largest = sum(sorted(edges)[-3:])
    assert cost.epoch == pytest.approx(cost.seconds * (sum(edges) + edges[1] / 3) / largest)
    assert cost.memory is None or cost.memory >= 4 * 8 * sum(p.numel() for p in model.parameters())
    assert measured(model, graphs, batch_atoms=5).structures == 1
    assert "a training step on the largest batch (3 structures, 14 atoms) takes" in cost.text(7)


def test_a_batch_that_needs_more_memory_than_there_is_is_refused(model, graphs, monkeypatch):
    monkeypatch.setattr(step_cost, "free_memory", lambda device: 1)
    monkeypatch.setattr(step_cost, "reset_peak", lambda device: 1 << 30)
    monkeypatch.setattr(step_cost, "peak_memory", lambda device: 3 << 30)
    words = r"on 4 structures would take about .* GB, and .* free: set teacher\.batch_size to 1"
    with pytest.raises(UserError, match=words):
        measured(model, graphs, batch_size=4)
    # A single structure is all that could be asked for less.
    assert measured(model, graphs, batch_size=1).structures == 1


def test_frozen_weights_take_no_memory_for_their_steps(model, graphs, monkeypatch):
    monkeypatch.setattr(step_cost, "reset_peak", lambda device: 0)
    monkeypatch.setattr(step_cost, "peak_memory", lambda device: 0)
    all_learn = measured(model, graphs).memory
    for parameter in model.interactions.parameters():
        parameter.requires_grad_(False)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert measured(model, graphs).memory == 4 * 8 * learning < all_learn
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def test_the_cost_is_said_before_training_and_changes_no_weight(
    fitting_foundation_file, tmp_path, monkeypatch, capsys
):
    frames = rattled_structures(9)
    config = MaceConfig(**{**TINY, "epochs": 2, "foundation": str(fitting_foundation_file)})
    fitted = Mace.fit(frames, config, Job(tmp_path / "one"))
    said = capsys.readouterr().out
    assert said.index("a training step on the largest batch") < said.index("epoch 1/2")
    monkeypatch.setattr("distill.models.mace.fine_tuning.step_cost", lambda *_: cost)
    cost = step_cost.StepCost(1, 1, 1.0, None, None, 1.0)
    again = Mace.fit(frames, config, Job(tmp_path / "two"))
    np.testing.assert_array_equal(fitted.predict(frames).energies, again.predict(frames).energies)


def test_free_memory_is_that_of_the_group_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "_CGROUP", tmp_path)
    unlimited = step_cost.free_memory("cpu")
    assert unlimited > 1000
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    assert step_cost.free_memory("cpu") == 1000
    (tmp_path / "memory.max").write_text("max\n")
    assert step_cost.free_memory("cpu") > 1000
