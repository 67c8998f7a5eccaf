"""Typed results: what stages and observables return, and the JSON that they are kept as.

A result is a pydantic model with a version. JSON is written at the door and read at the door; a
file of an older version is brought up to date when it is read.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError

Interval = tuple[float, float]


class Record(BaseModel):
    """A block of a result: its fields are fixed, and others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(Record):
    """A result with a file of its own.

    Attributes
    ----------
    VERSION
        Of the file's layout. A change of the layout raises it and adds what `upgrade` needs.
    """

    VERSION: ClassVar[int] = 1

    version: int = 1

    def model_post_init(self, context: Any) -> None:
        """Refuse the layout of another version."""
        if self.version != self.VERSION:
            raise ValueError(f"layout {self.version}, expected {self.VERSION}")

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The contents of a file of an older version in the present layout."""
        return data


Kind = TypeVar("Kind", bound=Result)


def write_result(path: str | os.PathLike[str], result: Result) -> None:
    """Write a result as JSON, atomically."""
    write_json(path, result.model_dump(mode="json"))


def read_result(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Read a result of a kind, of the present or an older version.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or of a version that is not known.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(
            f"{path} is damaged: expected a {kind.__name__}, found {type(data).__name__}"
        )
    version = data.get("version", 0)
    if not isinstance(version, int) or version > kind.VERSION:
        raise UserError(
            f"{path} has layout {version!r} of a newer distill; this one reads up to {kind.VERSION}"
        )
    try:
        return kind.model_validate(kind.upgrade(data) if version < kind.VERSION else data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()
        raise UserError(
            f"{path} is damaged or no {kind.__name__}: {'; '.join(reason[:3])}"
        ) from None
