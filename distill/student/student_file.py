"""The student file: reading and writing of `.npz` in the schema of `ace-jax`, version 1.

`ace-jax` opens these files as they are (`ace_jax.load`); what it does not know has names that
begin with `distill_`, and a version of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.student.basis.basis import Basis
from distill.student.basis_arrays import (
    SCHEMA_VERSION,
    Description,
    basis_to_arrays,
    check_kinds,
    checked_basis,
    in_one_line,
    lengths_of,
)
from distill.student.file_entries import (
    CHECKSUM,
    DESCRIPTION,
    LARGEST_ORDER,
    OWN_JSON,
    Arrays,
    check_shapes,
    check_values,
    entries_of,
)
from distill.student.npz import NpzReader, open_npz
from distill.student.training_record import TrainingRecord

# Of what ace-jax does not know. Version 1 had no number, no checksum and no typed record,
# version 2 no error model.
OWN_VERSION = 3
_LARGEST_JSON = 2**26
_CHECKED = {entry.name for entry in entries_of(range(1, LARGEST_ORDER + 1))} - {CHECKSUM}


@dataclass(frozen=True)
class StudentFile:
    """The contents of a student file, checked.

    Attributes
    ----------
    basis
        The basis.
    arrays
        All arrays of the table in `file_entries` that the file has.
    provenance
        Where the student comes from.
    training
        What is known of its training.
    """

    basis: Basis
    arrays: dict[str, NDArray[Any]]
    provenance: dict[str, Any]
    training: TrainingRecord


def read_student_file(path: str | os.PathLike[str]) -> StudentFile:
    """Read a student file and check all of it.

    Raises
    ------
    UserError
        If the file is missing, damaged, cut short, of another program or of an unknown version.
    """
    if not Path(path).is_file():
        raise UserError(f"cannot read {path}: there is no such file")
    try:
        with open_npz(path) as file:
            return _read(file, str(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a student file, or is damaged ({in_one_line(error)}); expected the "
            ".npz that a fit writes"
        ) from None


def write_student_file(
    path: str | os.PathLike[str],
    basis: Basis,
    arrays: Arrays,
    provenance: Mapping[str, Any],
    training: TrainingRecord,
) -> None:
    """Write a student file, compressed and all at once.

    Parameters
    ----------
    path
        The file.
    basis
        The basis.
    arrays
        Further entries of the table in `file_entries`, such as the coefficients.
    provenance
        JSON values and NumPy numbers.
    training
        What is known of the training.
    """
    of_basis, description = basis_to_arrays(basis)
    own = {
        "version": OWN_VERSION,
        "provenance": dict(provenance),
        "training": training.model_dump(mode="json", exclude_none=True),
    }
    write_arrays(path, {**of_basis, **arrays, OWN_JSON: _to_bytes(own)}, description)


def write_arrays(path: str | os.PathLike[str], arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Write the arrays and the description of a student file, with their checksum."""
    contents = {**arrays, DESCRIPTION: _to_bytes(meta)}
    contents[CHECKSUM] = _checksum(contents)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **contents)  # type: ignore[arg-type]


def _read(file: NpzReader, origin: str) -> StudentFile:
    if DESCRIPTION not in file.headers:
        raise UserError(f"{origin} is not a student file: it has no entry '{DESCRIPTION}'")
    meta = _json_of(file, DESCRIPTION)
    _check_version(origin, "schema version", meta.get("schema_version"), SCHEMA_VERSION)
    own = _json_of(file, OWN_JSON) if OWN_JSON in file.headers else {"version": OWN_VERSION}
    _check_version(origin, "version", own.get("version", 1), OWN_VERSION)
    check_kinds(meta)
    description = Description.model_validate(meta)
    entries = list(entries_of(description.aa_orders))
    lengths = check_shapes(file.headers, entries, lengths_of(description))
    names = [entry.name for entry in entries if entry.name in file.headers]
    arrays = {name: file.read(name) for name in names}
    _check_checksum(arrays, own)
    basis = checked_basis(arrays, description, lengths)
    check_values(arrays, entries, lengths)
    if own.get("version", 1) < 2:
        own = _upgrade_v1(own)
    provenance = own.get("provenance", {"source": description.source})
    if not isinstance(provenance, dict):
        raise ValueError("its provenance is not a mapping")
    training = TrainingRecord.model_validate(_present(own.get("training", {})))
    return StudentFile(basis, arrays, provenance, training)


def _upgrade_v1(own: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept of the training whatever there was to say."""
    training = own.get("training", {})
    if not isinstance(training, dict):
        raise ValueError("its training record is not a mapping")
    return {**own, "training": TrainingRecord.upgrade(training), "version": 2}


def _check_version(origin: str, what: str, found: Any, known: int) -> None:
    if not isinstance(found, int) or found < 1:
        raise ValueError(f"its {what} is {found!r}")
    if found > known:
        raise UserError(
            f"{origin} has {what} {found}; this program reads up to {known}. It comes from a newer "
            "program: update this one"
        )


def _check_checksum(arrays: Arrays, own: Mapping[str, Any]) -> None:
    """Files of version 1 and of other programs have none."""
    if CHECKSUM not in arrays:
        if OWN_JSON in arrays and own.get("version", 1) > 1:
            raise ValueError("its checksum is missing")
        return
    if (arrays[CHECKSUM] != _checksum(arrays)).any():
        raise ValueError("its checksum is not that of its contents")


def _checksum(arrays: Arrays) -> NDArray[np.uint8]:
    """SHA-256 over names, types, shapes and numbers of all that is read."""
    digest = hashlib.sha256()
    for name in sorted(_CHECKED.intersection(arrays)):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _json_of(file: NpzReader, name: str) -> dict[str, Any]:
    header = file.headers[name]
    if header.dtype != np.uint8 or len(header.shape) != 1 or header.shape[0] > _LARGEST_JSON:
        raise ValueError(f"{name} holds {header.dtype} of shape {header.shape}, expected bytes")
    try:
        found = json.loads(bytes(file.read(name)), parse_constant=_finite, parse_float=_finite)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{name} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not a mapping")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"found {text}, expected finite numbers")
    return value


def _to_bytes(data: Mapping[str, Any]) -> NDArray[np.uint8]:
    text = json.dumps(data, default=lambda value: value.tolist(), allow_nan=False)
    return np.frombuffer(text.encode(), np.uint8)


def _present(training: Any) -> Any:
    """A training record in the present layout; one that is none is left to its validation."""
    version = training.get("version") if isinstance(training, Mapping) else None
    if isinstance(version, int) and version < TrainingRecord.VERSION:
        return TrainingRecord.upgrade(training)
    return training
