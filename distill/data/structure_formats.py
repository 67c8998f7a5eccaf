"""Which file formats hold elements and labels, and the frames of any file that ASE reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.data.announced_counts import refuse_impossible_counts
from distill.data.electronic_convergence import unconverged_steps
from distill.data.extxyz_frames import (
    Frame,
    looks_like_extxyz,
    read_extxyz,
    refuse_too_large,
)

if TYPE_CHECKING:
    from ase import Atoms

EXTXYZ = "extxyz"
_COMPRESSED = {".gz", ".bz2", ".xz"}
# Formats whose atoms have numbered types, which ASE takes for atomic numbers where it finds no
# element, with the way to write the elements down.
_NUMBERED_TYPES = {
    "lammps-dump-text": "write them with 'dump custom ... element' and 'dump_modify ... element'",
    "lammps-dump-binary": "binary dumps hold none: write a text dump with its elements",
    "lammps-data": "give the types' masses, or their elements as labels",
    "netcdftrajectory": "convert the trajectory to extxyz with its elements",
}
# Formats without energies, for which ASE's readers make up zero.
_WITHOUT_ENERGY = {"lammps-dump-text", "lammps-dump-binary"}
# How the names of formats end that are outputs of programs, which write one step after the other.
_OUTPUTS = ("-out", "-output", "-xml", "-castep")


def read_frames(file: Path) -> tuple[list[Frame], str]:
    """Every structure of a file with its elements, and the name of the file's format.

    Raises
    ------
    UserError
        If the file is empty, in no known format or damaged, or does not say which elements its
        atoms are, or a site of it is partly occupied.
    """
    size = file.stat().st_size
    if size == 0:
        raise UserError(f"{file} is empty: expected structures with labels")
    refuse_too_large(file, size)
    format_name = _format_of(file)
    if format_name == EXTXYZ:
        return read_extxyz(file), EXTXYZ
    frames: list[Frame] = []
    try:
        refuse_impossible_counts(file, format_name)
        failed = set(unconverged_steps(file, format_name))
        for atoms in _images(file, format_name):
            results = dict(atoms.calc.results) if atoms.calc is not None else {}
            atoms.calc = None
            frames.append(Frame(atoms, _calculated(results, format_name)))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # ASE's readers raise whatever their parsing meets first, from KeyError to XYZError.
        raise UserError(
            f"{file} is damaged or truncated at structure {len(frames)}: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from None
    _refuse_unknown_elements(file, format_name, frames)
    if failed:
        say(
            f"{file}: left out {len(failed)} of {len(frames)} steps whose electronic loop used up "
            f"NELM without convergence: {listed(sorted(failed))}"
        )
        frames = [frame for index, frame in enumerate(frames) if index not in failed]
        if not frames:
            raise UserError(f"{file}: no step of it has converged; raise NELM and calculate again")
    return _without_unfinished(frames, file, format_name), format_name


def _calculated(results: dict[str, Any], format_name: str) -> dict[str, Any]:
    """Results without those that the format does not hold and ASE's reader fills in."""
    if format_name in _WITHOUT_ENERGY:
        return {name: value for name, value in results.items() if name != "energy"}
    return results


def _without_unfinished(frames: list[Frame], file: Path, format_name: str) -> list[Frame]:
    """The steps of a program's output but for a last one that the program did not finish."""
    if len(frames) < 2 or not format_name.endswith(_OUTPUTS):
        return frames
    *others, last = frames
    common = {"energy", "forces"}.intersection(*(frame.results for frame in others))
    lacking = sorted(common - set(last.results))
    if not lacking:
        return frames
    say(
        f"{file} is cut off in step {len(others)}, which has no {' and no '.join(lacking)}: left "
        "out this step"
    )
    return others


def _format_of(file: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    suffixes = [suffix for suffix in file.suffixes if suffix.lower() not in _COMPRESSED]
    if suffixes and suffixes[-1].lower() in {".xyz", ".extxyz"}:
        return EXTXYZ
    if looks_like_extxyz(file):
        return EXTXYZ
    try:
        name = str(filetype(str(file)))
    except UnknownFileTypeError:
        name = ""
    except Exception as error:
        # Compressed files that are none.
        raise UserError(f"{file} cannot be opened: {type(error).__name__}: {error}") from None
    if name not in ioformats:
        raise UserError(f"{file} is in no format that ASE knows: expected extxyz")
    return name


def _images(file: Path, format_name: str) -> Iterator[Atoms]:
    from ase.io import iread

    if format_name in {"db", "json"}:
        yield from _rows(file, format_name)
    else:
        yield from iread(file, ":", format=format_name)


def _rows(file: Path, format_name: str) -> Iterator[Atoms]:
    """Structures of an ASE database with what each row says of itself, which ASE's reader drops."""
    from ase.db import connect

    with connect(file, type=format_name) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            yield atoms


def _refuse_unknown_elements(file: Path, format_name: str, frames: list[Frame]) -> None:
    from ase.data import atomic_masses

    for index, (atoms, _) in enumerate(frames):
        where = f"{file}: structure {index}"
        if format_name in _NUMBERED_TYPES and not _says_elements(atoms, file, format_name):
            raise UserError(
                f"{where}: its atoms have types by number and no elements; "
                f"{_NUMBERED_TYPES[format_name]}"
            )
        if len(atoms) and (atoms.numbers.min() < 1 or atoms.numbers.max() >= len(atomic_masses)):
            raise UserError(f"{where}: an atom has no chemical element")
        if _partly_occupied(atoms.info.get("occupancy")):
            raise UserError(
                f"{where}: sites are partly occupied; expected an ordered structure, in which "
                "each site holds one atom"
            )


def _says_elements(atoms: Atoms, file: Path, format_name: str) -> bool:
    """Whether a format of numbered types has elements, or masses to tell them by, in this file."""
    from ase.io.formats import open_with_compression

    if format_name == "lammps-data":
        # ASE goes by the masses, then by labels of the types that are all elements.
        return atoms.has("masses") or "type" not in atoms.arrays or _labelled_types(file)
    if format_name != "lammps-dump-text":
        return False
    with open_with_compression(str(file), "rt") as opened:
        columns = [line.split() for line in opened if line.startswith("ITEM: ATOMS")]
    return all({"element", "mass"} & set(names) for names in columns)


def _labelled_types(file: Path) -> bool:
    from ase.data import atomic_numbers

    lines = [line.split("#")[0].split() for line in file.read_text().splitlines()]
    starts = [n for n, words in enumerate(lines) if words == ["Atom", "Type", "Labels"]]
    if not starts:
        return False
    labels = []
    for words in lines[starts[0] + 2 :]:
        if len(words) != 2:
            break
        labels.append(words[1])
    return bool(labels) and all(label in atomic_numbers for label in labels)


def _partly_occupied(occupancy: Any) -> bool:
    if not isinstance(occupancy, dict):
        return False
    return any(
        isinstance(site, dict) and (len(site) > 1 or any(value < 1 for value in site.values()))
        for site in occupancy.values()
    )
