"""What workloads that compare several models share: their folder, and the model compared to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import hash_of, read_json, sha256, write_json
from distill.core.errors import UserError
from distill.models.config import CalculatorConfig

if TYPE_CHECKING:
    from distill.core.config import Section
    from distill.models.cached_calculators import ModelSpec

SETTINGS_NAME = "settings.json"
REFERENCE = "reference"


def claim_folder(out: Path, config: Section, models: Mapping[str, ModelSpec], seed: int) -> None:
    """Mark a folder with the settings, models and seed that its files are made from.

    Parameters
    ----------
    out
        Folder; made if it is not there.
    config
        Settings of the workload.
    models
        File (known by its hash), import path or calculator of each model by name.
    seed
        Of the workflow.

    Raises
    ------
    UserError
        If the folder was marked with others, so that its files are not to be reused.
    """
    fingerprint = hash_of(
        {
            "config": config.model_dump(mode="json"),
            "models": {name: _identity(model) for name, model in models.items()},
            "seed": seed,
        }
    )
    file = out / SETTINGS_NAME
    if file.exists() and read_json(file)["fingerprint"] != fingerprint:
        raise UserError(
            f"{out} holds results of other settings or models; choose another folder or remove it"
        )
    write_json(file, {"fingerprint": fingerprint})


def baseline(names: Iterable[str]) -> str:
    """The model that others are compared to: the one called teacher, or the first."""
    listed = list(names)
    return "teacher" if "teacher" in listed else listed[0]


def _identity(model: ModelSpec) -> Any:
    if isinstance(model, CalculatorConfig):
        return {"path": _identity(model.path), "args": model.args}
    return sha256(model) if Path(model).is_file() else os.fspath(model)
