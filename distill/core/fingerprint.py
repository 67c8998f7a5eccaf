"""What tells one computation from another: a hash over settings, files, structures and models."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel

from distill.core.input_files import InputFile, ModelFile, file_digest, map_files

# Hexadecimal digits: two of a thousand entries are called alike once in ten thousand lists.
_NAME_LENGTH = 8
_TOKENS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def fingerprint(value: Any) -> str:
    """SHA-256 of everything that a value says.

    Files count by their contents and not by their names, so that a project moved elsewhere is the
    same and a file replaced in its place is another. Sections of a config, dataclasses, structures
    and arrays count by their entries. An object that says nothing of itself, such as a calculator
    in memory, is like no other, in this process or a later one; one with a method `fingerprint`
    speaks for itself.

    Parameters
    ----------
    value
        Any of the above, nested in mappings and sequences.

    Raises
    ------
    UserError
        If a named file cannot be read.
    """
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """What `fingerprint` hashes, as JSON."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, InputFile):
        return map_files(value, _of_file)
    if isinstance(value, (str, Path)):
        return _of_file(value) if isinstance(value, Path) and value.is_file() else str(value)
    if isinstance(value, np.ndarray | np.generic):
        return _of_array(value)
    if isinstance(value, BaseModel):
        return plain(map_files(value, _of_file))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if callable(own := getattr(value, "fingerprint", None)):
        return own()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "arrays") and hasattr(value, "cell"):
        return _of_structure(value)
    return _TOKENS.setdefault(value, uuid.uuid4().hex)


def names_of(entries: Iterable[Any]) -> list[str]:
    """A short name for each entry of a list, that does not depend on its place in it.

    Those of equal entries, which are numbered, count them.
    """
    found: Counter[str] = Counter()
    names = []
    for entry in entries:
        name = fingerprint(entry)[:_NAME_LENGTH]
        names.append(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def model_identity(model: Any) -> Any:
    """A model as `fingerprint` sees it: a file by its contents.

    An import path counts by its name and, where it is the user's own code, by its module's file.
    """
    if isinstance(model, (str, os.PathLike)):
        name = ModelFile(os.fspath(model))
        if Path(name).is_file():
            return _of_file(name)
        return str(name) if name.names_a_file else map_files(name, _of_file)
    return plain(model)


def _of_file(name: str | os.PathLike[str]) -> dict[str, str]:
    return {"sha256": file_digest(name)}


def _of_array(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": array.dtype.str, "sha256": digest}


def _of_structure(atoms: Any) -> dict[str, Any]:
    """Atoms, cell, constraints, momenta and labels of a structure, without its calculator."""
    return {
        "arrays": {name: _of_array(array) for name, array in sorted(atoms.arrays.items())},
        "cell": _of_array(atoms.cell.array),
        "pbc": atoms.pbc.tolist(),
        "constraints": [plain(constraint.todict()) for constraint in atoms.constraints],
        "info": {str(key): _of_note(entry) for key, entry in atoms.info.items()},
    }


def _of_note(entry: Any) -> Any:
    """An entry of a structure's `info`, in full where it is an array; a program's object in words.

    Text of a long array leaves out its middle, and of any its last digits.
    """
    return _of_array(entry) if isinstance(entry, np.ndarray | np.generic) else str(entry)
