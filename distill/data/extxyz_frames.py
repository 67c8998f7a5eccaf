"""Frames of extended XYZ files, counted line by line before a number in them is trusted.

ASE builds each frame; where frames begin and end, and whether a frame can be what its first lines
claim, is decided here, so that a false atom count or column count is refused at once, an empty
line between frames ends nothing, and no frame is lost.
"""

from __future__ import annotations

import codecs
import lzma
import re
import zlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distill.core.errors import UserError, words_of
from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms

# Keys of the format itself, which other programs also write in other cases.
_FORMAT_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_KEY_VALUE = re.compile(
    r"""([^\s=,]+)\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^}]*\}|\[[^\]]*\]|\S+)"""
)
_PLAIN_COLUMNS = "species:S:1:pos:R:3"
# Of an entry in a comment line.
_NAME = re.compile(r"""[^\s"'={}\[\]\\,]+""")
_HEAVIEST = 118
_SHOWN = 40
# Bytes of memory for a byte of a file: its text, its lines, numbers and structures.
_MEMORY_OF_A_BYTE = 8
_PIECE = 2**26


class Frame(NamedTuple):
    """A structure of a file, and what the file says that a calculation gave for it.

    Attributes
    ----------
    atoms
        Structure without a calculator; its `info` and `arrays` are those of the file.
    results
        Values under ASE's names of results (energy, free_energy, forces, stress, ...).
    """

    atoms: Atoms
    results: dict[str, Any]


class _Block(NamedTuple):
    """Lines of one frame: its number and first line (from 1) in the file, its size and rows."""

    number: int
    line: int
    size: int
    comment: str
    rows: list[str]


def read_extxyz(file: Path) -> list[Frame]:
    """Every frame of an extended XYZ file.

    Empty lines between frames, a byte order mark, either kind of line end, and the cases of
    `Lattice`, `Properties` and `pbc` do not matter. A stress or virial may have 6 or 9 numbers.

    Raises
    ------
    UserError
        Naming the structure's index and line, for an atom count that the file does not hold, rows
        without the declared columns, values that are no numbers, and unknown elements.
    """
    frames = []
    plain = 0
    for block in _blocks(_lines(file), file):
        try:
            frame, extra = _frame(block)
        except Exception as error:
            # Whatever ASE's parsing meets first, from KeyError to RecursionError.
            told = str(error) if isinstance(error, UserError) else _told(error)
            raise UserError(
                f"{file}: structure {block.number} (line {block.line}): {told}"
            ) from None
        plain += extra
        frames.append(frame)
    if plain:
        say(
            f"{file}: {plain} structures have columns after the positions that are not read, "
            "because their comment lines have no Properties"
        )
    return frames


def looks_like_extxyz(file: Path) -> bool:
    """Whether a file of another name begins like extended XYZ: a count, then keys of the format."""
    with file.open("rb") as opened:
        head = opened.read(4096)
    lines = _decoded(head).lstrip().splitlines()
    return (
        len(lines) > 1
        and lines[0].strip().isdigit()
        and re.search(r"\b(properties|lattice)\s*=", lines[1], re.IGNORECASE) is not None
    )


def _lines(file: Path) -> list[str]:
    from ase.io.formats import open_with_compression

    refuse_too_large(file, file.stat().st_size, _MEMORY_OF_A_BYTE)
    pieces: list[bytes] = []
    try:
        with open_with_compression(str(file), "rb") as opened:
            while piece := opened.read(_PIECE):
                pieces.append(piece)
                # A compressed file tells its size only so.
                refuse_too_large(file, sum(map(len, pieces)), _MEMORY_OF_A_BYTE)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{file} cannot be read: {type(error).__name__}: {words_of(error)}; a compressed file "
            "is damaged, truncated, or none"
        ) from None
    text = _decoded(b"".join(pieces))
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def refuse_too_large(file: Path, size: int, memory_of_a_byte: int = 1) -> None:
    """Refuse a file of so many bytes whose structures do not fit into the memory that is free.

    Raises
    ------
    UserError
        With both sizes.
    """
    import psutil

    free = psutil.virtual_memory().available
    if size * memory_of_a_byte > free:
        raise UserError(
            f"{file} holds {size / 1e9:.2g} GB or more, which do not fit into the {free / 1e9:.2g} "
            "GB of memory that are free here as structures; give fewer of them"
        )


def _decoded(data: bytes) -> str:
    """Text of a file; a comment may hold any bytes, so that what is no UTF-8 is no error."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="replace")


def _blocks(lines: list[str], file: Path) -> Iterator[_Block]:
    position, index = 0, 0
    while position < len(lines):
        text = lines[position].strip()
        if not text:
            position += 1
            continue
        where = f"{file}: structure {index} (line {position + 1})"
        if not re.fullmatch(r"[0-9]+", text):
            raise UserError(f"{where}: expected a number of atoms, found '{text[:_SHOWN]}'")
        # No index of a list has more digits, and longer ones take long to convert.
        count = int(text) if len(text) <= 18 else 10**18
        first, end = position + 2, position + 2 + count
        if count == 0:
            raise UserError(f"{where}: has no atoms")
        if end > len(lines):
            raise UserError(
                f"{where}: announces {text[:_SHOWN]} atoms, but {max(len(lines) - first, 0)} lines "
                "follow its comment: the count is wrong, or the file is damaged or truncated"
            )
        # Cell vectors as pseudo-atoms, an older variant that ASE reads.
        while end < len(lines) and lines[end].startswith("VEC"):
            end += 1
        yield _Block(index, position + 1, count, lines[position + 1], lines[first:end])
        position, index = end, index + 1


def _frame(block: _Block) -> tuple[Frame, bool]:
    """A frame, and whether its rows have columns that nothing describes."""
    from ase.calculators.calculator import all_properties
    from ase.io.extxyz import read_xyz

    info = _comment(block.comment)
    declared = info.get("Properties")
    expected = _columns(_PLAIN_COLUMNS if declared is None else str(declared))
    extra = False
    for number, row in enumerate(block.rows[: block.size]):
        found = len(row.split())
        if found < expected or (declared is not None and found > expected):
            raise UserError(
                f"atom {number} has {found} columns, expected {expected} "
                f"({declared or 'an element and three coordinates'}): the number of atoms or a "
                "row is wrong, or the file is damaged or truncated"
            )
        extra = extra or found > expected
    results = {key: info.pop(key) for key in list(info) if key in all_properties}
    text = "\n".join([str(block.size), block.comment, *block.rows, ""])
    atoms = next(iter(read_xyz(StringIO(text), index=0, properties_parser=lambda _: info)))
    if len(atoms) != block.size:
        raise UserError(f"{len(atoms)} atoms were read, expected {block.size}")
    strange = set(atoms.numbers[(atoms.numbers < 1) | (atoms.numbers > _HEAVIEST)].tolist())
    if strange:
        raise UserError(f"no element has the number {', '.join(map(str, sorted(strange)))}")
    if atoms.calc is not None:
        results.update(atoms.calc.results)
        atoms.calc = None
    return Frame(atoms, results), extra


def _comment(line: str) -> dict[str, Any]:
    """Keys and values of a comment line, those of the format in the format's own spelling."""
    from ase.io.extxyz import key_val_str_to_dict

    if not line.strip():
        return {}
    _refuse_two_values(line)
    try:
        info = key_val_str_to_dict(line)
    except ValueError:
        # ASE asks for nine numbers under these names.
        masked = re.sub(r"(?<![\w-])(stress|virial)(?=\s*=)", r"\1\1", line)
        info = {
            {"stressstress": "stress", "virialvirial": "virial"}.get(key, key): value
            for key, value in key_val_str_to_dict(masked).items()
        }
    for key in list(info):
        own = _FORMAT_KEYS.get(key.lower())
        if own and own != key and own not in info:
            value = info.pop(key)
            if own == "Lattice":
                value = np.asarray(value, dtype=float).reshape((3, 3), order="F")
            info[own] = value
    for own in ("Properties", "Lattice"):
        if own not in info and re.search(rf"\b{own}\s*=", line, re.IGNORECASE):
            raise UserError(f"{own} in the comment line cannot be made out: is a quote missing?")
    cell = next((key for key in info if key.lower() == "cell"), None)
    if "Lattice" not in info and cell is not None and np.size(info[cell]) in (3, 6, 9):
        raise UserError(f"the comment line has '{cell}' but no 'Lattice', which holds the cell")
    if "pbc" in info and np.size(info["pbc"]) not in (1, 3):
        raise UserError(f"pbc has {np.size(info['pbc'])} values, expected 3")
    # Words of free text, such as a lone quote, after which no one could read what is written.
    return {key: value for key, value in info.items() if _NAME.fullmatch(key)}


def _refuse_two_values(line: str) -> None:
    """Refuse a comment line that gives one key two values, of which ASE takes the last."""
    values: dict[str, str] = {}
    for match in _KEY_VALUE.finditer(line):
        key, value = match.groups()
        own = key.lower() if key.lower() in _FORMAT_KEYS else key
        if values.setdefault(own, value) != value:
            raise UserError(
                f"the comment line names {key} twice, with {values[own][:_SHOWN]} and "
                f"{value[:_SHOWN]}: remove one"
            )


def _columns(properties: str) -> int:
    """Number of columns that a `Properties` value declares."""
    fields = properties.split(":")
    triplets = list(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
    if len(fields) % 3 or not all(
        name and kind in {"R", "I", "S", "L"} and re.fullmatch(r"[0-9]{1,18}", count) and int(count)
        for name, kind, count in triplets
    ):
        raise UserError(
            f"Properties is '{properties[:_SHOWN]}', expected NAME:TYPE:COLUMNS:... with the "
            "types R, I, S and L"
        )
    names = [name for name, _, _ in triplets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"Properties names {', '.join(repeated)} more than once")
    if ("pos", "R", "3") not in triplets:
        raise UserError(f"Properties '{properties[:_SHOWN]}' has no positions, pos:R:3")
    if not {("species", "S", "1"), ("Z", "I", "1")} & set(triplets):
        raise UserError(f"Properties '{properties[:_SHOWN]}' has no elements, species:S:1 or Z:I:1")
    return sum(int(count) for _, _, count in triplets)


def _told(error: Exception) -> str:
    """One line about what ASE found wrong in a frame."""
    if isinstance(error, KeyError):
        name = str(error.args[0])[:_SHOWN]
        hint = "; write H, as isotopes are one element to a model" if name in ("D", "T") else ""
        return f"'{name}' is no chemical element{hint}"
    first = (str(error) or "cannot be read").splitlines()[0]
    return f"{type(error).__name__}: {first[:200]}"
