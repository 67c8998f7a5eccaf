"""Arguments and options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from distill.core.errors import UserError

Number = TypeVar("Number", int, float)

ConfigFile = Annotated[Path, typer.Argument(help="Workflow file (YAML).", metavar="CONFIG")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: key.sub=value; may be repeated."),
]


def numbers(text: str | None, option: str) -> list[float]:
    """The numbers of an option such as `5,6.5`; none where it is not given.

    Raises
    ------
    UserError
        If a part is no number.
    """
    return _parsed(text, option, float, "numbers, as 5,6.5")


def whole_numbers(text: str | None, option: str) -> list[int]:
    """The whole numbers of an option such as `1,2,4`; none where it is not given.

    Raises
    ------
    UserError
        If a part is no whole number.
    """
    return _parsed(text, option, int, "whole numbers, as 1,2,4")


def _parsed(
    text: str | None, option: str, kind: Callable[[str], Number], expected: str
) -> list[Number]:
    try:
        return [kind(part) for part in (text or "").replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{option}: expected {expected}; found '{text}'") from None
