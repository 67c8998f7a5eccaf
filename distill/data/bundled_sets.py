"""The data sets that come with the package."""

from __future__ import annotations

from pathlib import Path

from distill.core.errors import UserError

BUNDLED_FOLDER = Path(__file__).resolve().parent / "bundled"


def bundled_data(name: str) -> Path:
    """Path of a bundled extxyz data set, e.g. `h2cu_train`.

    Raises
    ------
    UserError
        If there is no such set; the message lists those there are.
    """
    path = BUNDLED_FOLDER / f"{name}.xyz"
    if not path.is_file():
        names = ", ".join(sorted(found.stem for found in BUNDLED_FOLDER.glob("*.xyz")))
        raise UserError(f"no bundled data set named {name!r}; the bundled sets are: {names}")
    return path
