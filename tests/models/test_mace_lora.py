"""Low-rank adaptation: it changes nothing at first, and merging changes nothing at last."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from tiny_mace import predicted, rattled_structures

from distill.data.structures import reference_energy, reference_forces
from distill.models.mace import adapter as adapter
from distill.models.mace.bundled_foundation import load_foundation
from distill.models.mace.freezing import freezing
from distill.models.mace.lora import add_low_rank, merge_low_rank

STRUCTURES = rattled_structures(3)


@pytest.fixture(scope="module")
def foundation():
    return load_foundation()


def labels(model):
    found = predicted(model, STRUCTURES, batch_size=3)
    return (
        np.array([reference_energy(a) for a in found]),
        np.concatenate([reference_forces(a) for a in found]),
    )


def test_merged_matrices_give_the_bundled_model_the_predictions_of_the_separate_ones(foundation):
    import torch

    model = copy.deepcopy(foundation)
    before = labels(model)
    names = add_low_rank(model, rank=3, alpha=1.5, seed=1)
    unchanged = labels(model)
    np.testing.assert_allclose(unchanged[0], before[0], atol=1e-10)
    np.testing.assert_allclose(unchanged[1], before[1], atol=1e-10)

    torch.manual_seed(0)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name] += 0.1 * torch.randn_like(parameters[name])
    apart = labels(model)
    assert np.abs(apart[1] - before[1]).max() > 1e-3
    merge_low_rank(model)
    merged = labels(model)
    np.testing.assert_allclose(merged[0], apart[0], atol=1e-9)
    np.testing.assert_allclose(merged[1], apart[1], atol=1e-9)
    assert adapter.parameter_sizes(model) == adapter.parameter_sizes(foundation)


def test_the_change_of_a_layer_has_the_rank_asked_for(foundation):
    import torch

    model = copy.deepcopy(foundation)
    names = add_low_rank(model, rank=2, alpha=1.0, seed=1)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name].normal_()
    merge_low_rank(model)
    name = "interactions.0.conv_tp_weights.layer1.weight"
    change = model.state_dict()[name] - foundation.state_dict()[name]
    assert torch.linalg.matrix_rank(change).item() == 2


def test_only_the_new_matrices_learn_and_freezing_counts_for_them_too(foundation):
    model = copy.deepcopy(foundation)
    names = add_low_rank(model, rank=2, alpha=1.0, seed=1)
    sizes = adapter.parameter_sizes(model)
    everywhere = freezing(sizes, "f0", learnable=names)
    assert set(everywhere.trainable) == set(names)
    late = freezing(sizes, "f5", learnable=names)
    assert {name.split(".")[0] for name in late.trainable} == {"products", "readouts"}
    assert late.n_trainable < everywhere.n_trainable < 0.5 * everywhere.n_frozen
