"""Files that a user names, in a config or in a call: where they are, and what is in them."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from distill.core.artifacts import sha256
from distill.core.errors import UserError

BUNDLED_PREFIX = "bundled:"
# Code below these is of packages, not of the user's.
_INSTALLED = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))
BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "data" / "bundled"


class InputFile(str):
    """Type of a config's option that names a file to read; `bundled:NAME` is one of the package."""

    __slots__ = ()

    @property
    def names_a_file(self) -> bool:
        """Whether it is a path or a bundled name, rather than the name of something built in."""
        return not self.startswith("preset:")

    @property
    def source(self) -> InputFile | None:
        """File of what a name that is none of a file stands for, if it is the user's own."""
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls._checked, handler(str))

    @classmethod
    def _checked(cls, name: str) -> InputFile:
        if not name or "\0" in name:
            raise ValueError("expected the name of a file")
        return cls(name)


class ModelFile(InputFile):
    """Type of an option that names a model file or an import path, `package.module:Class`."""

    __slots__ = ()

    @property
    def source(self) -> InputFile | None:
        """The user's own code behind an import path; None for that of an installed package."""
        module = self.partition(":")[0].split(".")
        with suppress(ImportError, ValueError):
            found = find_spec(module[0])
            places = found and (found.submodule_search_locations or [str(found.origin)[:-3]])
            for place in places or ():
                stem = os.path.join(place, *module[1:])
                for file in (f"{stem}.py", os.path.join(stem, "__init__.py")):
                    if os.path.isfile(file) and not any(part in file for part in _INSTALLED):
                        return InputFile(file)
        return None

    @property
    def names_a_file(self) -> bool:
        """Whether it is no import path."""
        return ":" not in self or self.startswith(BUNDLED_PREFIX)


class FoundationFile(InputFile):
    """Type of an option that names a foundation model, or the file of one."""

    __slots__ = ()

    @property
    def names_a_file(self) -> bool:
        """Whether it is a path rather than a name such as `medium-mpa-0`."""
        return "/" in self or self.endswith(".model")


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


def resolve_file(name: str | os.PathLike[str]) -> Path:
    """Path of a file given by path or as `bundled:NAME`.

    Raises
    ------
    UserError
        If there is no such file or no such bundled name.
    """
    text = os.fspath(name)
    if text.startswith(BUNDLED_PREFIX):
        return bundled_data(text.removeprefix(BUNDLED_PREFIX))
    path = Path(text)
    if not path.is_file():
        kind = "does not exist"
        if path.exists():
            kind = f"is a {'folder' if path.is_dir() else 'pipe or device'}, expected a file"
        raise UserError(f"{path} {kind}")
    return path


def named_files(section: Any, place: str = "") -> Iterator[tuple[str, InputFile]]:
    """Every file that a section of a config names, with its place such as `md.0.structure`."""
    if isinstance(section, InputFile):
        if section.names_a_file:
            yield place, section
    else:
        for key, value in _parts(section):
            yield from named_files(value, f"{place}.{key}" if place else key)


def with_absolute_files(section: Any, folder: Path) -> Any:
    """A copy of a section in which file names relative to a folder are absolute."""
    if isinstance(section, InputFile):
        if not section.names_a_file or section.startswith(BUNDLED_PREFIX):
            return section
        return type(section)((folder / section).resolve())
    if isinstance(section, BaseModel):
        changed = {key: with_absolute_files(value, folder) for key, value in _parts(section)}
        return section.model_copy(update=changed)
    if isinstance(section, dict):
        return {key: with_absolute_files(value, folder) for key, value in section.items()}
    if isinstance(section, (list, tuple)):
        return type(section)(with_absolute_files(value, folder) for value in section)
    return section


def file_digest(name: str | os.PathLike[str]) -> str:
    """SHA-256 of a named file; it is not read again while its size and times stay.

    Raises
    ------
    UserError
        As `resolve_file`, or if the file cannot be read.
    """
    path = resolve_file(name)
    return _digest(path, file_stamp(path))


def file_stamp(path: Path) -> tuple[int, int, int]:
    """Size, time of change and place of a file, one of which is another when the file is.

    What is kept of a file in memory is kept by its name and this.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=256)
def _digest(path: Path, stamp: tuple[int, int, int]) -> str:
    return sha256(path)


def map_files(section: Any, change: Callable[[InputFile], Any]) -> Any:
    """A section as plain values, each named file replaced by what a function makes of it.

    Options that a section calls `unkeyed`, because they change no result, are left out. Text in
    those that it says `may_name_files` counts as a file where there is one of this name.
    """
    if isinstance(section, InputFile):
        if section.names_a_file:
            return change(section)
        source = section.source
        return str(section) if source is None else {"name": str(section), "code": change(source)}
    if isinstance(section, (BaseModel, dict)):
        unkeyed, loose = (
            getattr(section, name, ()) if isinstance(section, BaseModel) else ()
            for name in ("unkeyed", "may_name_files")
        )
        parts = ((key, value) for key, value in _parts(section) if key not in unkeyed)
        return {
            key: map_files(_with_files(value) if key in loose else value, change)
            for key, value in parts
        }
    if isinstance(section, (list, tuple)):
        return [map_files(value, change) for value in section]
    return section


def _with_files(value: Any) -> Any:
    if isinstance(value, str):
        if os.path.isfile(value):
            return InputFile(value)
        words = value.split()
        found = [InputFile(word) if os.path.isfile(word) else word for word in words]
        return found if any(isinstance(word, InputFile) for word in found) else value
    if isinstance(value, dict):
        return {key: _with_files(entry) for key, entry in value.items()}
    return [_with_files(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _parts(section: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(section, BaseModel):
        yield from ((name, getattr(section, name)) for name in type(section).model_fields)
    elif isinstance(section, dict):
        yield from ((str(key), value) for key, value in section.items())
    elif isinstance(section, (list, tuple)):
        yield from ((str(index), value) for index, value in enumerate(section))
