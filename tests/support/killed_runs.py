"""Processes that are killed between two parts of a run, and what they had written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from distill.core import artifacts, parts


class Killed(BaseException):
    """A kill of the process, which no error handler sees."""


@contextmanager
def parts_made(limit: int | None = None) -> Iterator[list[str]]:
    """Names of the parts that are written meanwhile; the process dies before one too many."""
    made: list[str] = []

    def written(path: Path) -> AbstractContextManager[Path]:
        if len(made) == limit:
            raise Killed
        made.append(path.name)
        return artifacts.atomic_path(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "atomic_path", written)
        yield made


@contextmanager
def killed_after(limit: int) -> Iterator[None]:
    """A process that is killed before it writes another part than so many."""
    with parts_made(limit), pytest.raises(Killed):
        yield
