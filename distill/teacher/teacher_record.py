"""What a teacher's folder says about it: `teacher.json`, `history.csv`, and lines for people."""

from __future__ import annotations

import csv
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path, package_versions, sha256
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.results import read_result
from distill.metrics.errors import ErrorTable, rmse_of
from distill.models.mace.training import Training
from distill.models.teacher_model import (
    MODEL_NAME,
    RECORD_NAME,
    Origin,
    TeacherRecord,
    ValidationErrors,
)
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
    config: TeacherConfig, start: Start, fitted: Fitted, info: ModelFacts, **others: Any
) -> TeacherRecord:
    """The record of a teacher.

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
    others
        Entries on the data and the machine.
    """
    e0, plan, training = fitted.e0, fitted.plan, fitted.training
    trained: dict[str, Any] = {}
    if training:
        trained = {
            "epochs": len(training.history),
            "best_epoch": training.best_epoch,
            "stopped_early": training.stopped_early,
            "validation_before": ValidationErrors(**training.before),
            "validation_after": ValidationErrors(**training.after),
            "seconds_per_epoch": float(np.mean([row["seconds"] for row in training.history])),
        }
    return TeacherRecord(
        strategy=config.strategy,
        freeze=config.freeze if config.strategy == "finetune" else None,
        foundation=Origin(name=start.name, sha256=start.sha256),
        elements=list(info.elements),
        e0={symbol: e0.values[symbol] for symbol in info.elements if symbol in e0.values},
        e0_method=e0.method,
        e0_shifts=e0.shifts,
        e0_start_rms_eV_per_atom=e0.rms,
        r_max=info.r_max,
        interactions=info.interactions,
        dtype=info.dtype,
        parameters=info.parameters,
        trainable_parameters=plan.n_trainable if plan else 0,
        trainable=list(plan.trainable) if plan else [],
        frozen=list(plan.frozen) if plan else [],
        worse_than_foundation=worse_than_foundation(config, training),
        **fitted.extra,
        **trained,
        **others,
    )


def is_finished(out: Path, settings: str, test: Path) -> bool:
    """Whether a folder holds the finished teacher of some settings, measured on a test set."""
    if not ((out / RECORD_NAME).is_file() and (out / MODEL_NAME).is_file()):
        return False
    record = read_result(out / RECORD_NAME, TeacherRecord)
    measured = record.test is not None and record.test.sha256 == sha256(test)
    return record.settings == settings and measured


def measured_on(began: float) -> dict[str, Any]:
    """Entries on the machine and the time since `began`, a value of `time.monotonic`."""
    return {
        "wall_time_s": round(time.monotonic() - began, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": package_versions(),
    }


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
