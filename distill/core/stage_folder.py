"""What the folder of a stage says of itself: begun or finished, and from which files.

A stage's folder lies in the run folder. It holds `started.json` from its first moment and
`manifest.json` once it is finished; both name the files that it is made from. `stages.json`, beside
the folders, says with which settings the present config would make each stage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from distill.core.artifacts import hash_of, name_in_run, read_json, read_manifest, write_json
from distill.core.input_files import file_digest

STARTED_NAME = "started.json"
WANTED_NAME = "stages.json"
_FILES, _REFUSED = "files", "refused"


class _Started(TypedDict):
    """The contents of `started.json`."""

    settings: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    files: NotRequired[dict[str, str]]
    refused: NotRequired[bool]


def write_started(
    folder: Path,
    fingerprint: Mapping[str, Any],
    inputs: Mapping[str, Path],
    *,
    refused: bool = False,
) -> None:
    """Note what a stage is being made from.

    Parameters
    ----------
    folder
        The stage's folder.
    fingerprint
        Its settings, seed and `inputs`, the SHA-256 by role.
    inputs
        The input files by role.
    refused
        Whether it ended because of these settings or inputs.
    """
    files = {role: name_in_run(path, folder.parent) for role, path in inputs.items()}
    write_json(folder / STARTED_NAME, {**fingerprint, _FILES: files, _REFUSED: refused})


def read_started(folder: Path) -> dict[str, Any] | None:
    """The fingerprint that a stage was begun with, or None where it was not begun."""
    begun = _started(folder)
    return begun and {k: value for k, value in begun.items() if k not in (_FILES, _REFUSED)}


def was_refused(folder: Path) -> bool:
    """Whether a stage ended because of the settings or inputs that it was begun with."""
    begun = _started(folder)
    return begun is not None and bool(begun.get(_REFUSED))


def write_wanted(run_folder: Path, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """Note the settings and seed that the present config has for each stage, as a hash."""
    hashes = {stage: _hash_of_settings(fingerprint) for stage, fingerprint in wanted.items()}
    write_json(run_folder / WANTED_NAME, hashes)


def unwanted_stages(run_folder: Path, stages: Sequence[str]) -> set[str]:
    """Stages that were begun with other settings than the present config has for them."""
    path = run_folder / WANTED_NAME
    wanted = read_json(path, dict[str, str]) if path.exists() else {}
    begun = {stage: _started(run_folder / stage) for stage in stages if stage in wanted}
    return {s for s, found in begun.items() if found and _hash_of_settings(found) != wanted[s]}


def outdated_stages(
    run_folder: Path, stages: Sequence[str], unwanted: Collection[str] = ()
) -> dict[str, str]:
    """Stages whose results are not made from the present files, each with the reason.

    A file of the run that is missing or has another SHA-256 makes a stage outdated, begun or
    finished, and so does a file from outside with another SHA-256; one from outside that is gone
    does not. What was made from the files of an outdated stage is outdated too. So is a finished
    stage one of whose own files, those of units of work in subfolders aside, is no longer as the
    stage left it.

    Parameters
    ----------
    run_folder
        The run.
    stages
        Names of the stages in their order.
    unwanted
        Stages that are outdated whatever their files are, as `unwanted_stages` says.

    Raises
    ------
    UserError
        If a manifest is damaged or a file cannot be read.
    """
    found: dict[str, str] = {}
    for stage in stages:
        made_from, left = _records(run_folder / stage)
        changed = [name for name, digest in made_from.items() if _differs(run_folder, name, digest)]
        spoilt = [
            f"{stage}/{name}" for name in left if _differs(run_folder / stage, name, left[name])
        ]
        before = [name.split("/", 1)[0] for name in made_from]
        if stage in unwanted:
            found[stage] = "it was made with other settings than the present config's"
        elif changed:
            found[stage] = f"{', '.join(changed)} {_has(changed)} changed since it was made"
        elif spoilt:
            found[stage] = f"{', '.join(spoilt)} {_has(spoilt)} changed after the stage"
        elif outdated := [name for name in before if name in found]:
            found[stage] = f"the {outdated[0]} stage before it is out of date"
    return found


def _records(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """SHA-256 of what a stage is made from, by name in the run, and of its own files, by name."""
    manifest = read_manifest(folder)
    if manifest is not None:
        made_from = {entry["path"]: entry["sha256"] for entry in manifest["inputs"].values()}
        left = {name: digest for name, digest in manifest["outputs"].items() if "/" not in name}
        return made_from, left
    begun = _started(folder)
    if begun is None:
        return {}, {}
    return {name: begun["inputs"][role] for role, name in begun.get(_FILES, {}).items()}, {}


def _hash_of_settings(fingerprint: Mapping[str, Any]) -> str:
    return hash_of({key: fingerprint.get(key) for key in ("settings", "seed")})


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _started(folder: Path) -> dict[str, Any] | None:
    path = folder / STARTED_NAME
    return read_json(path, _Started) if path.exists() else None


def _differs(folder: Path, name: str, digest: str) -> bool:
    path = folder / name
    if path.is_file():
        return file_digest(path) != digest
    return not Path(name).is_absolute()
