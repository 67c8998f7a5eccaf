"""The epoch loop: it learns what it may, in two stages, stops, and resumes exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import SUPPORT
from tiny_mace import TINY, rattled_structures, tiny_model
from train_tiny import train_tiny

from distill.config import StageTwo
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.models.mace import adapter as adapter
from distill.models.mace import steps as steps
from distill.models.mace.config import MaceConfig
from distill.models.mace.fine_tuning import split
from distill.models.mace.freezing import freezing
from distill.models.mace.torch_tools import precision
from distill.models.mace.training import Place, train

STRUCTURES = rattled_structures(15)
E0 = {"H": 0.0, "Cu": 0.0}


def run_training(
    tmp_path, freeze="f4", settings="same", factors=None, e0=E0, structures=STRUCTURES, **changes
):
    model = tiny_model((1, 29))
    config = MaceConfig(**{**TINY, **changes})
    plan = freezing(adapter.parameter_sizes(model), freeze, factors)
    with precision("float64"):
        data = adapter.make_data(structures, model, e0)
        adapter.set_e0(model, E0)
        place = Place(tmp_path / "checkpoint.pt", settings, 1, "cpu")
        result = train(model, plan, config, place, train_data=data[:12], valid_data=data[12:])
    return model, result


def test_validation_takes_whole_trajectories():
    """Errors on a frame between two that trained would choose the best epoch by what it knows."""
    frames = rattled_structures(30)
    for number, atoms in enumerate(frames):
        atoms.info.update(config_type="md", trajectory=f"run {number // 3}")
    parts = split(frames, MaceConfig(validation_fraction=0.2), 1)
    runs = [{frames[i].info["trajectory"] for i in part} for part in (parts.kept, parts.held)]
    assert not runs[0] & runs[1]
    assert len(parts.held) == 6


def test_batches_of_so_many_atoms_are_those_of_so_many_structures_of_one_size(tmp_path):
    crystals = [atoms for atoms in rattled_structures(45) if len(atoms) == 4]
    (one, _), (other, _) = (
        run_training(tmp_path / next(iter(changes)), structures=crystals, epochs=2, **changes)
        for changes in ({"batch_size": 3}, {"batch_atoms": 12})
    )
    for name, values in weights(one).items():
        np.testing.assert_array_equal(values, weights(other)[name])


def weights(model):
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def test_training_lowers_the_loss_and_keeps_the_best_epoch(tmp_path):
    _, result = run_training(tmp_path, epochs=10, ema=0.5)
    losses = [row["loss"] for row in result.history]
    assert min(losses) < 0.8 * losses[0]
    assert result.history[-1]["train_loss"] < 0.8 * result.history[0]["train_loss"]
    assert result.history[result.best_epoch - 1]["loss"] == min(losses)


def test_the_gradient_of_a_step_is_cut_down_to_its_norm(tmp_path):
    import torch

    model = tiny_model((1, 29))
    with precision("float64"):
        (batch,) = adapter.make_batches(adapter.make_data(STRUCTURES[:4], model, E0), 4, None, None)
    moved = []
    for limit in (1e9, 1e-3):
        begun = _vector(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loss = steps.loss_function(1.0, 100.0, 0.0)
        steps.training_step(model, loss, batch, optimizer, None, "cpu", False, limit)
        moved.append(float(torch.linalg.norm(_vector(model) - begun)))
        torch.nn.utils.vector_to_parameters(begun, model.parameters())
    assert moved[0] > 1e-2
    assert moved[1] == pytest.approx(1e-3, rel=1e-3)
    free, _ = run_training(tmp_path / "free", epochs=3, clip_grad=1e6)
    cut, _ = run_training(tmp_path / "cut", epochs=3, clip_grad=1e-3)
    assert any(np.any(values != weights(cut)[name]) for name, values in weights(free).items())


def _vector(model):
    import torch

    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


@pytest.mark.parametrize(
    ("freeze", "free"), [("f5", {"products", "readouts"}), ("f6", {"readouts"})]
)
def test_only_what_is_free_moves(tmp_path, freeze, free):
    before = weights(tiny_model((1, 29)))
    model, _ = run_training(tmp_path, freeze=freeze, epochs=1)
    after = weights(model)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.split(".")[0] for name in moved} == free


def test_the_best_weights_are_the_ones_that_were_validated(tmp_path):
    model, result = run_training(tmp_path, epochs=5)
    with precision("float64"):
        data = adapter.make_data(STRUCTURES[12:], model, E0)
        loss = steps.loss_function(1.0, 100.0, 0.0)
        found = steps.validation_errors(model, loss, adapter.make_batches(data, 4), "cpu", False)
    best = result.history[result.best_epoch - 1]
    assert found["loss"] == pytest.approx(best["loss"], rel=1e-10)


def test_the_second_stage_weighs_energies(tmp_path):
    two = StageTwo(start_epoch=4, energy_weight=1000.0, forces_weight=10.0, lr=0.005)
    far = {"H": 1.0, "Cu": 1.0}
    _, result = run_training(tmp_path, epochs=8, stage_two=two, e0=far, ema=0.5)
    assert [row["stage"] for row in result.history] == [1] * 4 + [2] * 4
    assert result.best_epoch > 4
    assert result.history[-1]["energy_rmse"] < result.history[3]["energy_rmse"]


def validation_errors_of(model, loss_weights):
    """Validation errors of a model, with the loss of some weights."""
    with precision("float64"):
        data = adapter.make_data(STRUCTURES[12:], model, E0)
        loss = steps.loss_function(*loss_weights)
        return steps.validation_errors(model, loss, adapter.make_batches(data, 4), "cpu", False)


def untrained():
    model = tiny_model((1, 29))
    with precision("float64"):
        adapter.set_e0(model, E0)
    return model


def test_training_that_only_spoils_leaves_the_weights_as_they_were(tmp_path):
    """With far too high a rate no epoch is better than the beginning, which is epoch 0."""
    model, result = run_training(tmp_path, epochs=3, lr=3.0, ema=0.0)
    assert result.best_epoch == 0
    assert min(row["loss"] for row in result.history) > result.before["loss"]
    assert result.after == result.before
    start = weights(tiny_model((1, 29)))
    for name, found in weights(model).items():
        np.testing.assert_array_equal(found, start[name])
    expected = validation_errors_of(untrained(), (1.0, 100.0, 0.0))
    assert result.before == pytest.approx(expected, rel=1e-10)


def test_what_training_gave_is_measured_on_the_validation_set(tmp_path):
    model, result = run_training(tmp_path, epochs=10, ema=0.5)
    assert result.best_epoch > 0
    assert result.after["loss"] == min(row["loss"] for row in result.history)
    assert result.after == pytest.approx(validation_errors_of(model, (1.0, 100.0, 0.0)), rel=1e-10)
    assert result.after["forces_rmse"] < result.before["forces_rmse"]


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_second_stage_is_judged_by_its_own_loss(tmp_path, scale):
    """Whatever the scale of its weights, so that its losses are all below or above the first's."""
    weights = {"energy_weight": scale, "forces_weight": 100.0 * scale}
    two = StageTwo(start_epoch=3, lr=0.01, **weights)
    _, result = run_training(tmp_path, epochs=8, stage_two=two, schedule="constant", ema=0.0)
    losses = {
        row["epoch"]: row["loss"] * (scale if row["stage"] == 1 else 1) for row in result.history
    }
    assert result.best_epoch == min(losses, key=losses.get) > 3
    assert result.after["loss"] == pytest.approx(min(losses.values()), rel=1e-6)
    before = validation_errors_of(untrained(), (scale, 100.0 * scale, 0.0))
    assert result.before == pytest.approx(before, rel=1e-10)


def test_a_second_stage_that_only_spoils_leaves_the_best_of_the_first(tmp_path):
    two = StageTwo(start_epoch=4, energy_weight=2.0, forces_weight=200.0, lr=3.0)
    model, result = run_training(tmp_path, epochs=6, stage_two=two, schedule="constant", ema=0.0)
    second = [row["loss"] for row in result.history if row["stage"] == 2]
    assert 0 < result.best_epoch <= 4
    assert result.after["loss"] < min(second)
    found = validation_errors_of(model, (2.0, 200.0, 0.0))
    assert result.after == pytest.approx(found, rel=1e-10)


def test_a_stage_that_does_not_improve_ends_early(tmp_path):
    _, result = run_training(tmp_path, lr=1e-12, ema=0.0, epochs=30, patience=3, schedule="cosine")
    assert result.stopped_early
    assert len(result.history) < 30
    two = StageTwo(start_epoch=20, lr=1e-12)
    _, result = run_training(
        tmp_path, settings="two", lr=1e-12, ema=0.0, epochs=24, patience=3, stage_two=two
    )
    stages = [row["stage"] for row in result.history]
    assert stages.count(1) < 20
    assert 0 < stages.count(2) <= 4


def test_schedules(tmp_path):
    rates = {}
    for name in ("constant", "cosine", "plateau"):
        two = StageTwo(start_epoch=3, lr=0.002) if name != "plateau" else None
        _, result = run_training(
            tmp_path, settings=name, schedule=name, stage_two=two, plateau_patience=1, epochs=6
        )
        rates[name] = [row["lr"] for row in result.history]
    assert rates["constant"] == [0.01] * 3 + [0.002] * 3
    assert rates["cosine"][0] == 0.01
    assert rates["cosine"][3] == 0.002
    assert np.all(np.diff(rates["cosine"]) < 0)
    assert rates["cosine"][-1] > 0
    assert np.all(np.diff(rates["plateau"]) <= 0)


def test_soft_freezing_slows_the_chosen_layers(tmp_path):
    start = weights(tiny_model((1, 29)))

    def change(factors, settings):
        model, _ = run_training(
            tmp_path, factors=factors, settings=settings, epochs=1, ema=0.0, schedule="constant"
        )
        moved = weights(model)
        return {n: np.abs(moved[n] - start[n]).mean() for n in start if moved[n].size}

    plain, soft = change({}, "plain"), change({"interactions": 0.01}, "soft")
    name = "interactions.0.linear_up.weight"
    assert soft[name] < 0.05 * plain[name]
    assert soft["readouts.0.linear.weight"] > 0.5 * plain["readouts.0.linear.weight"]


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_not_used(tmp_path, capsys):
    _, first = run_training(tmp_path, epochs=2)
    capsys.readouterr()
    _, other = run_training(tmp_path, epochs=2, settings="other")
    assert "belongs to other settings" in capsys.readouterr().out
    assert [r["loss"] for r in other.history] == [r["loss"] for r in first.history]
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    run_training(tmp_path, epochs=2)
    assert "is damaged" in capsys.readouterr().out


def test_diverging_training_says_so(tmp_path):
    structures = rattled_structures(15)
    structures[0].info["REF_energy"] = 1e200
    model = tiny_model((1, 29))
    with precision("float64"), pytest.raises(UserError, match=r"diverged.*teacher\.lr"):
        data = adapter.make_data(structures, model, E0)
        train(
            model,
            freezing(adapter.parameter_sizes(model), "f4"),
            MaceConfig(**TINY),
            Place(tmp_path / "checkpoint.pt", "", 1, "cpu"),
            train_data=data[:12],
            valid_data=data[12:],
        )


def test_a_killed_training_resumes_to_identical_weights(foundation_file, labelled_files, tmp_path):
    """SIGKILL in mid training, then the same call: weights and numbers of an undisturbed run."""
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    script = SUPPORT / "train_tiny.py"
    arguments = [str(p) for p in (foundation_file, *labelled_files, killed)]
    process = subprocess.Popen([sys.executable, str(script), *arguments])
    deadline = time.monotonic() + 400
    while not checkpoints(killed) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert checkpoints(killed)
    assert not (killed / "teacher.model").exists()

    train_tiny(foundation_file, *labelled_files, killed)
    train_tiny(foundation_file, *labelled_files, undisturbed)
    one, other = (weights(adapter.read_model(f / "teacher.model")) for f in (killed, undisturbed))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert read_json(killed / "errors.json") == read_json(undisturbed / "errors.json")


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob(".kept/training-*.pt"))
