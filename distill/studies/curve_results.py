"""Results of learning curves: a row for each training, mean and spread over seeds."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.results import read_result
from distill.models.teacher_model import RECORD_NAME, TeacherRecord
from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors

FOLDER = "curve"
FOUNDATION, SCRATCH = "foundation", "scratch"

Row = dict[str, Any]


def unit_row(
    folder: Path, table: str, names: Mapping[str, Any], *, structures: int, steps_per_epoch: int
) -> Row:
    """What one training gave, from the files that the teacher stage left in its folder.

    Parameters
    ----------
    folder
        With `errors.json`, `teacher.json` and `history.csv`.
    table
        `teacher`, or `foundation` for the model that the training started from.
    names
        Strategy, fraction and seed.
    structures
        Of the subset.
    steps_per_epoch
        Optimiser steps of an epoch.
    """
    errors = read_result(folder / ERRORS_NAME, TeacherErrors).tables()[table].model_dump()
    row = {
        **names,
        "structures": structures,
        "errors": {
            key: {"mae": found["mae"], "rmse": found["rmse"]}
            for key, found in _quantities(errors).items()
        },
    }
    if table == FOUNDATION:
        return row
    about = read_result(folder / RECORD_NAME, TeacherRecord)
    with (folder / "history.csv").open(newline="") as handle:
        seconds = [float(epoch["seconds"]) for epoch in csv.DictReader(handle)]
    return {
        **row,
        "from_scratch": about.strategy == SCRATCH,
        "parameters": about.parameters,
        "trainable_parameters": about.trainable_parameters,
        "epochs": len(seconds),
        "best_epoch": about.best_epoch,
        "steps": len(seconds) * steps_per_epoch,
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
        "fastest_epoch_s": min(seconds, default=None),
        "training_s": sum(seconds),
    }


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Mean, smallest and largest RMSE over seeds, for each strategy and fraction.

    Returns
    -------
    list of dict
        `strategy`, `fraction`, `structures` (mean), `seeds`, `errors` by quantity (`mean`, `low`,
        `high` RMSE, eV/atom, eV/Å or eV/Å³), and means of the costs (None for the foundation).
    """
    groups: dict[tuple[str, float], dict[int, Row]] = {}
    for row in rows:
        # The untouched foundation is in every training; its subset, not its strategy, counts.
        groups.setdefault((row["strategy"], row["fraction"]), {})[row["seed"]] = row
    names = list(dict.fromkeys(row["strategy"] for row in rows))

    def place(group: tuple[str, float]) -> tuple[bool, int, float]:
        return group[0] == FOUNDATION, names.index(group[0]), group[1]

    summary = []
    for strategy, fraction in sorted(groups, key=place):
        by_seed = groups[strategy, fraction]
        some = list(by_seed.values())
        summary.append(
            {
                "strategy": strategy,
                "fraction": fraction,
                "structures": float(np.mean([row["structures"] for row in some])),
                "seeds": sorted(by_seed),
                "from_scratch": bool(some[0].get("from_scratch")),
                "errors": {key: _spread(some, key) for key in some[0]["errors"]},
                **{
                    key: _mean(some, key)
                    for key in (
                        "trainable_parameters",
                        "parameters",
                        "epochs",
                        "steps",
                        "seconds_per_epoch",
                        "training_s",
                    )
                },
                "fastest_epoch_s": min(
                    (row["fastest_epoch_s"] for row in some if row.get("fastest_epoch_s")),
                    default=None,
                ),
            }
        )
    return summary


def data_needed(summary: Sequence[Row]) -> list[Row]:
    """The smallest share tried with which a strategy is as good as one from scratch on all it has.

    Returns
    -------
    list of dict
        `strategy`, `quantity`, `fraction` (None if no share is enough), `rmse` there, `baseline`
        (a strategy that trains from scratch), and `target`, its RMSE with `target_fraction` of the
        data; RMSEs are means over seeds. Empty where nothing trains from scratch.
    """
    best: dict[str, Row] = {}
    for row in summary:
        if row["from_scratch"]:
            best[row["strategy"]] = row
    tuned = dict.fromkeys(
        row["strategy"]
        for row in summary
        if not row["from_scratch"] and row["strategy"] != FOUNDATION
    )
    found = []
    for (baseline, target), strategy in itertools.product(best.items(), tuned):
        for quantity, error in target["errors"].items():
            enough = [
                row
                for row in summary
                if row["strategy"] == strategy
                and quantity in row["errors"]
                and row["errors"][quantity]["mean"] <= error["mean"]
            ]
            first = min(enough, key=lambda row: row["fraction"], default=None)
            found.append(
                {
                    "strategy": strategy,
                    "quantity": quantity,
                    "fraction": first["fraction"] if first else None,
                    "rmse": first["errors"][quantity]["mean"] if first else None,
                    "baseline": baseline,
                    "target": error["mean"],
                    "target_fraction": target["fraction"],
                }
            )
    return found


def _quantities(errors: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    found = {"energy_per_atom": errors["energy_per_atom"], "forces": errors["forces"]}
    found |= {f"forces_{symbol}": e for symbol, e in errors["forces_by_element"].items()}
    found["stress"] = errors["stress"]
    return {key: value for key, value in found.items() if value}


def _spread(rows: Sequence[Row], key: str) -> dict[str, float]:
    values = [row["errors"][key]["rmse"] for row in rows]
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}


def _mean(rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.mean(values)) if values else None
