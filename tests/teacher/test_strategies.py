"""Every way of training: resumable to the same result, and delivered as one calculator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_mace import TINY

from distill import Teacher
from distill.config import TeacherConfig
from distill.data.structures import read_structures, reference_energy, reference_forces
from distill.models.mace import steps as mace_steps
from distill.models.mace import training
from distill.teacher.teacher_stage import run

SMALL = {"hidden_irreps": "4x0e", "radial_mlp": [8], "readout_irreps": "4x0e", "max_ell": 1}
EMT = {"path": "ase.calculators.emt:EMT"}
STRATEGIES = {
    "low rank and replay": {"lora": {"rank": 2}, "freeze": "f0", "replay": {"count": 4}},
    "replay in one head": {
        "replay": {"count": 4, "multihead": False, "choose": "fps", "weight": 0.5},
    },
    "scratch": {"strategy": "scratch", "architecture": SMALL},
    "delta": {"strategy": "delta", "delta": {"architecture": SMALL}},
    "labels": {"labels": {"calculator": EMT}},
    "committee of delta models": {
        "strategy": "delta",
        "delta": {"base": EMT, "architecture": SMALL},
        "committee": {"members": 2},
        "labels": {},
    },
}


def config_of(name: str, foundation_file) -> TeacherConfig:
    options = {"foundation": str(foundation_file), **TINY, "epochs": 3, **STRATEGIES[name]}
    return TeacherConfig(**options)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_killed_run_ends_with_the_numbers_of_an_undisturbed_one(
    name, fitting_foundation_file, labelled_files, tmp_path, monkeypatch
):
    """Stopped in the third epoch (of the second member), the same call gives the same teacher.

    Before the first epoch the untrained weights are validated, once.
    """
    config = config_of(name, fitting_foundation_file)
    train, test = labelled_files
    monkeypatch.setattr(training, "CHECKPOINT_INTERVAL_S", 0.0)
    run(config, train=train, test=test, out=tmp_path / "undisturbed", seed=1)

    original, calls = mace_steps.validation_errors, []
    last = 8 if config.committee else 4

    def stop(*arguments):
        calls.append(1)
        if len(calls) == last:
            raise KeyboardInterrupt
        return original(*arguments)

    killed = tmp_path / "killed"
    monkeypatch.setattr(mace_steps, "validation_errors", stop)
    with pytest.raises(KeyboardInterrupt):
        run(config, train=train, test=test, out=killed, seed=1)
    assert not (killed / "teacher.model").exists()
    run(config, train=train, test=test, out=killed, seed=1)
    assert len(calls) == last + 1, "more than the stopped epoch was trained again"

    one, other = (
        read_structures(folder / "test_teacher.xyz")
        for folder in (killed, tmp_path / "undisturbed")
    )
    for a, b in zip(one, other, strict=True):
        assert reference_energy(a) == reference_energy(b)
        np.testing.assert_array_equal(reference_forces(a), reference_forces(b))

    if not config.committee and config.strategy != "delta":
        import torch

        model = torch.load(killed / "teacher.model", weights_only=False)
        assert type(model).__name__ == "ScaleShiftMACE"
        assert len(model.heads) == 1
        assert not any("lora" in name for name, _ in model.named_parameters())
    about = json.loads((killed / "teacher.json").read_text())
    assert set(about["e0"]) == set(about["elements"]) == {"H", "Cu"}
    calculator = Teacher.load(killed).calculator()
    for atoms in one:
        copy = atoms.copy()
        copy.calc = calculator
        assert copy.get_potential_energy() == pytest.approx(reference_energy(atoms), abs=1e-6)
        np.testing.assert_allclose(copy.get_forces(), reference_forces(atoms), atol=1e-6)
