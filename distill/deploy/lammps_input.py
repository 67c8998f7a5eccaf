"""A LAMMPS input parted at its pair lines, and the elements that they list."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from distill.core.errors import UserError

_COMMAND = re.compile(r"^\s*(pair_style|pair_coeff)\s+(.*?)\s*(?:#.*)?$")
# LAMMPS reads bytes: a comment in Latin-1 is no error, and goes back as it was.
_ENCODING: dict[str, str] = {"encoding": "utf-8", "errors": "surrogateescape"}


class ParsedInput(NamedTuple):
    """An input in two parts, without its pair lines.

    Attributes
    ----------
    before, after
        The text before and after the line of `pair_coeff`.
    listed
        What follows `pair_coeff * *`.
    """

    before: str
    listed: str
    after: str


def parsed_input(path: Path) -> ParsedInput:
    """The parts of an input with one `pair_style distill` and one `pair_coeff * * ...`.

    Raises
    ------
    UserError
        If the file cannot be read, or its pair lines are others.
    """
    try:
        lines = path.read_text(**_ENCODING).splitlines()
    except OSError as error:
        raise UserError(f"cannot read the LAMMPS input {path}: {error.strerror}") from None
    lines = _joined(lines)
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if match := _COMMAND.match(line):
            command, rest = match.groups()
            if command == "pair_style" and rest.startswith("hybrid"):
                raise UserError(
                    f"{path}, line {number + 1}: {' '.join(rest.split()[:1])} joins pair styles, "
                    "and the student, a fix external, is none; run the input with --mpi 1, where "
                    "it is one, or fit the student with zbl: true in place of a short-range style"
                )
            if command in found:
                raise UserError(
                    f"{path}, line {number + 1}: a second {command}; expected one pair_style "
                    "distill and one pair_coeff * * ELEMENTS"
                )
            found[command] = (number, rest)
    style = found.get("pair_style", (0, ""))[1]
    if style != "distill":
        raise UserError(
            f"{path}: expected the line 'pair_style distill', found "
            f"{'pair_style ' + style if style else 'no pair_style'}"
        )
    if "pair_coeff" not in found:
        raise UserError(
            f"{path}: expected 'pair_coeff * * ELEMENTS' with one element for each atom type, "
            "such as 'pair_coeff * * Li F'"
        )
    (style_line, _), (coeff_line, rest) = found["pair_style"], found["pair_coeff"]
    words = rest.split(maxsplit=2)
    if words[:2] != ["*", "*"]:
        raise UserError(
            f"{path}, line {coeff_line + 1}: expected 'pair_coeff * * ELEMENTS', found "
            f"'pair_coeff {rest}'"
        )
    lines[style_line] = lines[coeff_line] = ""
    before, after = "\n".join(lines[:coeff_line]), "\n".join(lines[coeff_line + 1 :])
    return ParsedInput(before, "".join(words[2:]), after)


def _joined(lines: list[str]) -> list[str]:
    """Pair lines continued by `&` on one line; the lines that they took are left empty."""
    joined = list(lines)
    for number, line in enumerate(lines):
        if _COMMAND.match(line):
            last = number
            while joined[number].rstrip().endswith("&") and last + 1 < len(lines):
                last += 1
                joined[number] = f"{joined[number].rstrip()[:-1]} {lines[last].strip()}"
                joined[last] = ""
    return joined


def listed_elements(lammps: Any, text: str, path: Path) -> list[str]:
    """The words after `pair_coeff * *`, with LAMMPS' variables replaced and quotes taken off.

    Raises
    ------
    UserError
        If a variable is not defined, or a quote is left open.
    """
    try:
        if "$" in text:
            text = lammps.expand(text)
        return shlex.split(text)
    except Exception as error:  # LAMMPS' own are of many kinds
        raise UserError(f"{path}: pair_coeff * * {text}: {error}") from None


def write_part(file: Path, text: str) -> None:
    """Write a part of an input, byte for byte as it was read."""
    file.write_text(text + "\n", **_ENCODING)
