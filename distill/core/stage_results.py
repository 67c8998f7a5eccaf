"""The results of a stage: what they are, whether they are as they were left, and their end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from distill.core.artifacts import MANIFEST_NAME, read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.stage_folder import STARTED_NAME
from distill.core.work import keep_units, kept_with_units

_DISCARDED = ".discarded-"
# The verdict and the teacher's curves follow from the other files and the config as it is now, and
# may be made again at any time.
_NOT_OUTPUTS = {MANIFEST_NAME, STARTED_NAME, "verdict.json", "curves.json", "curves"}


class Stopwatch:
    """Seconds spent on a stage, summed over the sessions that worked on it."""

    NAME = ".elapsed.json"

    def __init__(self, out: Path) -> None:
        self.file = out / self.NAME
        self.before = read_json(self.file, float) if self.file.exists() else 0.0
        self.start = time.monotonic()

    def stop(self) -> float:
        """Total seconds so far, kept for a session that goes on."""
        total = self.before + time.monotonic() - self.start
        write_json(self.file, total)
        return total

    def forget(self) -> None:
        """Remove the note: the manifest has the number now."""
        self.file.unlink(missing_ok=True)


def made_anything(out: Path, keep: Collection[str] = ()) -> bool:
    """Whether a stage that began left what is lost when its results are discarded.

    That is more than units of work, the files to `keep`, and the note that it began.
    """
    own = (out / name for name in (STARTED_NAME, Stopwatch.NAME, *keep))
    kept = {*own, *kept_with_units(out)}
    return any(path.is_file() and path not in kept for path in out.rglob("*"))


def discard_results(out: Path, keep: Collection[str] = ()) -> None:
    """Remove a stage's results, but not what says of itself what it is of.

    That are units of work, and the files to `keep`.

    Everything is moved aside first, the note of what it was made with last, so that a run that is
    killed meanwhile still knows that these results are to go. A folder that is a link stays one.
    """
    aside = Path(tempfile.mkdtemp(prefix=_DISCARDED, dir=out))
    found = {path.name for path in out.iterdir() if not path.name.startswith(_DISCARDED)}
    names = found - set(keep)
    last = [name for name in (MANIFEST_NAME, STARTED_NAME) if name in names]
    for name in [*sorted(names - set(last)), *last]:
        os.rename(out / name, aside / name)
    keep_units(aside, out)
    shutil.rmtree(aside)


def remove_discarded(out: Path) -> None:
    """Finish what a killed run had begun to discard."""
    for aside in out.glob(f"{_DISCARDED}*"):
        keep_units(aside, out)
        shutil.rmtree(aside)


def check_outputs(out: Path, manifest: dict[str, Any]) -> None:
    for name, digest in manifest["outputs"].items():
        path = out / name
        if not path.exists():
            raise UserError(f"{path} is missing; restore it, or delete {out} to make it again")
        if sha256(path) != digest:
            raise UserError(
                f"{path} was changed after it was made (its SHA-256 differs from the manifest's); "
                f"restore it, or delete {out} to make it again"
            )


def output_names(out: Path) -> list[str]:
    names = []
    for root, _, files in os.walk(out):
        for file in files:
            relative = (Path(root) / file).relative_to(out)
            hidden = any(part.startswith(".") for part in relative.parts)
            if not hidden and relative.parts[0] not in _NOT_OUTPUTS:
                names.append(str(relative))
    return sorted(names)


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two nested mappings differ, as 'place: old -> new'."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            inner = f"{place}.{key}" if place else str(key)
            found += differences(old.get(key), new.get(key), inner)
        return found
    if old == new:
        return []
    if place.startswith("inputs."):
        return [f"the input file {place.removeprefix('inputs.')} changed"]
    if place.endswith(".sha256"):
        option = place.removeprefix("settings.").removesuffix(".sha256")
        return [f"the file of {option} changed"]
    return [f"{place.removeprefix('settings.')}: {old!r} -> {new!r}"]
