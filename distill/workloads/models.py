"""What workloads that compare several models share: their folder, and the model compared to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from distill.artifacts import hash_of, read_json, sha256, write_json
from distill.errors import UserError

if TYPE_CHECKING:
    from distill.config import Section

SETTINGS_NAME = "settings.json"


def claim_folder(out: Path, config: Section, models: Mapping[str, Path], seed: int) -> None:
    """Mark a folder with the settings, models and seed that its files are made from.

    Parameters
    ----------
    out
        Folder; made if it is not there.
    config
        Settings of the workload.
    models
        File (known by its hash) or import path of each model by name.
    seed
        Of the workflow.

    Raises
    ------
    UserError
        If the folder was marked with others, so that its files are not to be reused.
    """
    hashes = {n: sha256(m) if Path(m).is_file() else str(m) for n, m in models.items()}
    fingerprint = hash_of(
        {"config": config.model_dump(mode="json"), "models": hashes, "seed": seed}
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
