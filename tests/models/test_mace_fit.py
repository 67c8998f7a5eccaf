"""MACE as a family that learns: fine-tuned from a foundation model, the same each time."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from tiny_mace import TINY, rattled_structures

from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces, set_labels
from distill.models.base import Job, TrainableFamily
from distill.models.mace.config import MaceConfig
from distill.models.mace.family import Mace

FRAMES = rattled_structures(18)
HELD = rattled_structures(6, seed=1)


def config(foundation, **changes):
    return MaceConfig(**{"foundation": str(foundation), **TINY, "epochs": 30, **changes})


def force_error(model):
    found = model.predict(HELD)
    apart = [f - reference_forces(a) for f, a in zip(found.forces, HELD, strict=True)]
    return np.sqrt(np.mean(np.concatenate(apart) ** 2))


def test_fitting_lowers_the_errors_and_can_be_repeated(foundation_file, tmp_path):
    model = Mace.fit(FRAMES, config(foundation_file), Job(tmp_path / "one", seed=3))
    assert isinstance(model, TrainableFamily)
    assert model.elements == {"H", "Cu"}
    assert force_error(model) < 0.8 * force_error(Mace.load(foundation_file))
    again = Mace.fit(FRAMES, config(foundation_file), Job(tmp_path / "two", seed=3))
    np.testing.assert_array_equal(model.predict(HELD).energies, again.predict(HELD).energies)
    other = Mace.fit(FRAMES, config(foundation_file), Job(tmp_path / "three", seed=4))
    assert (model.predict(HELD).energies != other.predict(HELD).energies).any()
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_isolated_atoms_fix_the_energy_scale(foundation_file, tmp_path):
    alone = [
        set_labels(Atoms(symbol), energy=energy, forces=np.zeros((1, 3)))
        for symbol, energy in (("H", 5.0), ("Cu", 7.0))
    ]
    options = config(foundation_file, epochs=1, e0="isolated")
    model = Mace.fit([*FRAMES, *alone], options, Job(tmp_path))
    assert model.predict(alone).energies == pytest.approx([5.0, 7.0], abs=1e-6)


def test_structures_that_cannot_be_learnt_are_named(foundation_file, tmp_path):
    bare = [*FRAMES[:3], Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])]
    with pytest.raises(UserError, match="structure 3: no energy and forces to learn from"):
        Mace.fit(bare, config(foundation_file), Job(tmp_path))
    foreign = [*FRAMES[:3], set_labels(Atoms("Li2", [[0, 0, 0], [0, 0, 2.5]]), energy=0.0)]
    foreign[3].arrays["REF_forces"] = np.zeros((2, 3))
    with pytest.raises(UserError, match="structure 3: element Li is not in the model"):
        Mace.fit(foreign, config(foundation_file), Job(tmp_path))
    assert reference_energy(foreign[3]) == 0.0
