"""Atom counts that files of other formats announce, held against the lines that they have.

Readers take such a number at its word: they allocate, or read on behind the end, for hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from distill.core.errors import UserError


def refuse_impossible_counts(file: Path, format_name: str) -> None:
    """Refuse a file that announces more atoms, or points of a grid, than it can hold.

    Parameters
    ----------
    file
        A text file, compressed or not, in a format that ASE reads.
    format_name
        ASE's name of the format; one without a count of its own is not looked at.

    Raises
    ------
    UserError
        Naming the number and the lines that there are.
    """
    from ase.io.formats import open_with_compression

    if format_name not in _COUNTS:
        return
    with open_with_compression(str(file), "rt") as opened:
        lines = opened.read().splitlines()
    # A line of a grid holds several points.
    room = sum(map(len, lines)) if format_name == "cube" else len(lines)
    for count in _COUNTS[format_name](lines):
        if count > room:
            raise UserError(
                f"{file} announces {count:.15g} atoms or points, but has {len(lines)} lines: the "
                "count is wrong, or the file is damaged or truncated"
            )


def _whole(words: list[str]) -> list[int]:
    """The numbers of a line that has no others; none of any other line."""
    digits = [word.lstrip("+-") for word in words]
    # No file has a count of more digits.
    return [int(d[:18]) for d in digits] if all(map(str.isdecimal, digits)) else []


def _vasp(lines: list[str]) -> Iterator[int]:
    """POSCAR: how many of each element, behind the cell and perhaps the elements' names."""
    for line in lines[5:7]:
        yield sum(_whole(line.split("!")[0].split()))


def _lammps_dump(lines: list[str]) -> Iterator[int]:
    for heading, line in pairwise(lines):
        if heading.startswith("ITEM: NUMBER OF ATOMS"):
            yield sum(_whole(line.split()))


def _lammps_data(lines: list[str]) -> Iterator[int]:
    for line in lines:
        words = line.split("#")[0].split()
        if words[1:] == ["atoms"]:
            yield sum(_whole(words[:1]))


def _gen(lines: list[str]) -> Iterator[int]:
    yield sum(_whole(lines[0].split()[:1])) if lines else 0


def _cube(lines: list[str]) -> Iterator[int]:
    """Gaussian cube: atoms, and the points of its grid."""
    numbers = [sum(_whole(line.split()[:1])) for line in lines[2:6]]
    if len(numbers) == 4:
        atoms, *grid = numbers
        yield atoms
        yield grid[0] * grid[1] * grid[2]


def _xsf(lines: list[str]) -> Iterator[int]:
    for heading, line in pairwise(lines):
        if heading.split()[:1] == ["PRIMCOORD"]:
            yield sum(_whole(line.split()[:1]))


_COUNTS: dict[str, Callable[[list[str]], Iterator[int]]] = {
    "vasp": _vasp,
    "lammps-dump-text": _lammps_dump,
    "lammps-data": _lammps_data,
    "gen": _gen,
    "cube": _cube,
    "xsf": _xsf,
}
