"""Whose a run folder is: marked as that of a run, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill.core.artifacts import is_partial, read_json, read_manifest, write_json
from distill.core.errors import UserError

LOCK_NAME = ".lock"
MARKER_NAME = ".distill"
_MARKER = {"distill_run": 1}


def refuse_foreign_folder(folder: Path) -> None:
    """Take a run folder only where it is new, empty, or that of a run.

    Raises
    ------
    UserError
        If it holds files that no run made.
    """
    if not folder.is_dir():
        return
    # A run killed in its first moment leaves its lock and the unfinished marker.
    others = [
        path.name for path in folder.iterdir() if path.name != LOCK_NAME and not is_partial(path)
    ]
    if others and not _is_marked(folder):
        shown = ", ".join(sorted(others)[:3])
        raise UserError(
            f"the run folder {folder} holds files that no run of distill made ({shown}, ...): "
            "give another name or output in the config, so that nothing of yours is overwritten"
        )


def mark_folder(folder: Path) -> None:
    """Mark a folder as that of a run, which a later run may write into."""
    write_json(folder / MARKER_NAME, _MARKER)


def _is_marked(folder: Path) -> bool:
    """Whether a folder is that of a run: by its marker, or in older ones by what the data left."""
    with suppress(UserError):
        return bool(read_json(folder / MARKER_NAME) == _MARKER)
    with suppress(UserError):
        manifest = read_manifest(folder / "data")
        return manifest is not None and manifest["stage"] == "data"
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; a second process is refused.

    Raises
    ------
    UserError
        If another process holds the folder or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A link is not followed: what it points to is none of ours.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        handle = os.fdopen(os.open(folder / LOCK_NAME, flags, 0o666), "r+")
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is working in {folder}; wait for it") from None
        yield
