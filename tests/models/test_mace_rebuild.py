"""Rebuilt MACE models: cut elements, one head of several, new weights."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_mace import predicted, rattled_structures, tiny_model

from distill.config import ArchitectureConfig
from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces
from distill.models.mace import adapter as adapter
from distill.models.mace.rebuild import (
    fresh_model,
    new_model,
    restrict_elements,
    select_head,
    silence_readouts,
)

STRUCTURES = rattled_structures(6)


def energies(structures):
    return np.array([reference_energy(a) for a in structures])


def forces(structures):
    return np.concatenate([reference_forces(a) for a in structures])


def test_cutting_elements_keeps_energies_and_forces():
    model = tiny_model((1, 8, 29))
    small = restrict_elements(model, ["H", "Cu"], STRUCTURES[0])
    assert adapter.facts(small).elements == ("H", "Cu")
    assert adapter.facts(small).parameters < adapter.facts(model).parameters
    one, other = (predicted(m, STRUCTURES, batch_size=3) for m in (model, small))
    np.testing.assert_allclose(energies(one), energies(other), atol=1e-9)
    np.testing.assert_allclose(forces(one), forces(other), atol=1e-9)


def test_a_head_is_taken_out_of_a_multi_head_model():
    model = tiny_model((1, 29), heads=("pbe", "r2scan"))
    model.atomic_energies_fn.atomic_energies[1] += 3.0
    with pytest.raises(UserError, match=r"several heads \(pbe, r2scan\).*teacher\.head"):
        select_head(model, None)
    with pytest.raises(UserError, match="no head 'scan'"):
        select_head(model, "scan")
    chosen = select_head(model, "r2scan")
    assert adapter.facts(chosen).heads == ("r2scan",)
    assert adapter.facts(chosen).e0["H"] == pytest.approx(2.7)


def test_a_fresh_model_has_the_same_shape_and_seeded_new_weights():
    model = tiny_model((1, 29))
    one, again, other = (fresh_model(model, STRUCTURES, ["H", "Cu"], seed) for seed in (1, 1, 2))
    assert adapter.parameter_sizes(one) == adapter.parameter_sizes(model)
    weights = [m.readouts[0].linear.weight.detach().numpy() for m in (one, again, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0], weights[2])


def test_a_new_model_has_the_size_asked_for_and_can_start_from_nothing():
    options = {"hidden_irreps": "4x0e+4x1o", "radial_mlp": [8], "r_max": 3.5, "layers": 2}
    architecture = ArchitectureConfig(**options, max_ell=1, correlation=2, readout_irreps="4x0e")
    model = new_model(architecture, STRUCTURES, ["H", "Cu"], dtype="float64", seed=1)
    info = adapter.facts(model)
    assert (info.r_max, info.interactions, info.elements) == (3.5, 2, ("H", "Cu"))
    assert "1o" in str(model.products[0].linear.irreps_out)
    moving = np.abs(forces(predicted(model, STRUCTURES, batch_size=6))).max()
    assert moving > 1e-3
    silence_readouts(model)
    silent = predicted(model, STRUCTURES, batch_size=6)
    assert np.abs(forces(silent)).max() == 0.0
    assert np.abs(energies(silent)).max() == 0.0


@pytest.mark.parametrize("irreps", ["16", "16x0e+8x1o", "x"])
def test_impossible_architectures_are_refused(irreps):
    architecture = ArchitectureConfig(hidden_irreps=irreps)
    with pytest.raises(UserError, match=r"hidden_irreps: '.*' is not usable.*16x0e"):
        new_model(architecture, STRUCTURES, ["H", "Cu"], dtype="float64", seed=1)
