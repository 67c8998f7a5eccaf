"""What a teacher's folder says about it: `teacher.json`, `history.csv`, and lines for people."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.metrics.errors import ErrorTable, rmse_of
from distill.models.mace.training import Training
from distill.teacher.config import TeacherConfig
from distill.teacher.fitting import Fitted
from distill.teacher.starting_model import Start

if TYPE_CHECKING:
    from distill.models.mace.adapter import ModelFacts


# What is larger by so much is worse, and not the noise of a small validation set.
_WORSE = 1.1


def worse_than_foundation(config: TeacherConfig, training: Training | None) -> bool | None:
    """Whether the teacher's energies or forces are worse than those of the model it began with.

    They are compared on the validation set, by more than a tenth. None where it began with new
    weights, which are no model yet.
    """
    if config.strategy == "scratch":
        return None
    if training is None:
        return False
    before, after = training.before, training.after
    return any(after[name] > _WORSE * before[name] for name in ("energy_rmse", "forces_rmse"))


def say_gain(config: TeacherConfig, training: Training | None) -> None:
    """Say what training gave on the validation set, loudly where it gave nothing or took away."""
    if training is None or config.strategy == "scratch":
        return
    energies, forces = (
        " -> ".join(f"{MEV * errors[name]:.1f}" for errors in (training.before, training.after))
        for name in ("energy_rmse", "forces_rmse")
    )
    numbers = f"energies {energies} meV/atom, forces {forces} meV/Å"
    if training.best_epoch == 0:
        say(
            "WARNING: no epoch of training improved the validation loss, so the weights are kept "
            "as they were; lower teacher.lr, or train for more epochs"
        )
    elif worse_than_foundation(config, training):
        say(
            "WARNING: the teacher is worse than the model that it began with on the validation "
            f"set: {numbers}; lower teacher.lr, train longer, or change the weights of the loss"
        )
    else:
        say(f"training on the validation set: {numbers}")


def describe(
    config: TeacherConfig, start: Start, fitted: Fitted, info: ModelFacts
) -> dict[str, Any]:
    """Entries of `teacher.json` on the model: what it is and how it was made.

    Parameters
    ----------
    config
        The `teacher` section.
    start
        The foundation model, or the base of a delta model.
    fitted
        The trained model.
    info
        What the trained model says about itself.
    """
    e0, plan, training = fitted.e0, fitted.plan, fitted.training
    finetuned = config.strategy == "finetune"
    description: dict[str, Any] = {
        "strategy": config.strategy,
        "freeze": config.freeze if finetuned else None,
        "foundation": {"name": start.name, "sha256": start.sha256},
        "elements": info.elements,
        "e0": {symbol: e0.values[symbol] for symbol in info.elements if symbol in e0.values},
        "e0_method": e0.method,
        "e0_shifts": e0.shifts,
        "e0_start_rms_eV_per_atom": e0.rms,
        "r_max": info.r_max,
        "interactions": info.interactions,
        "dtype": info.dtype,
        "parameters": info.parameters,
        "trainable_parameters": plan.n_trainable if plan else 0,
        "trainable": plan.trainable if plan else [],
        "frozen": plan.frozen if plan else [],
        **fitted.extra,
    }
    description["worse_than_foundation"] = worse_than_foundation(config, training)
    if training:
        seconds = [row["seconds"] for row in training.history]
        description |= {
            "epochs": len(training.history),
            "best_epoch": training.best_epoch,
            "stopped_early": training.stopped_early,
            "validation_before": training.before,
            "validation_after": training.after,
            "seconds_per_epoch": float(np.mean(seconds)),
        }
    return description


def say_errors(errors: Mapping[str, ErrorTable]) -> None:
    """One line for each table of test errors."""
    for name, table in errors.items():
        elements = ", ".join(
            f"{symbol} {MEV * e.rmse:.1f}" for symbol, e in table.forces_by_element.items()
        )
        energy, forces = (rmse_of(e) for e in (table.energy_per_atom, table.forces))
        say(
            f"{name} on the test set, RMSE: energies {_milli(energy)} meV/atom, "
            f"forces {_milli(forces)} meV/Å ({elements})"
        )


def _milli(value: float | None) -> str:
    return "—" if value is None else f"{MEV * value:.1f}"


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write a training's epochs as CSV; only the header for a model that was not trained."""
    columns = [
        "epoch",
        "stage",
        "lr",
        "train_loss",
        "loss",
        "energy_rmse",
        "forces_rmse",
        "seconds",
    ]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=columns)
        writer.writeheader()
        writer.writerows(history)
