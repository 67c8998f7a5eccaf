"""The file of `pair_style distill`: named arrays behind a header with their SHA-256.

    header   "DISTACE\\n", version, byte-order mark 0x01020304 (both uint32), size of the file,
             number of arrays (both uint64), SHA-256 of all that follows: 64 bytes
    array    name (24 bytes), type, number of lengths (both uint32), four lengths (uint64); then
             the numbers, padded to 64 bytes

`lammps/include/distill_ace_file.hpp` reads the same.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError

VERSION = 2
_MAGIC, _ORDER = b"DISTACE\n", 0x01020304
_HEADER, _ARRAY = struct.Struct("<8sIIQQ32s"), struct.Struct("<24sII4Q")
_TYPES = (np.dtype("<u1"), np.dtype("<i4"), np.dtype("<i8"), np.dtype("<f8"))
_LENGTHS = 4

Arrays = Mapping[str, NDArray[Any]]


def lammps_bytes(arrays: Arrays) -> bytes:
    """The contents of a file with these arrays, of int32, int64 or float64."""
    parts = []
    for name, array in arrays.items():
        kind = _TYPES.index(array.dtype.newbyteorder("<"))
        lengths = [*array.shape, *[0] * (_LENGTHS - array.ndim)]
        numbers = np.ascontiguousarray(array, _TYPES[kind]).tobytes()
        parts += [_ARRAY.pack(name.encode(), kind, array.ndim, *lengths), numbers]
        parts.append(bytes(-len(numbers) % 64))
    body = b"".join(parts)
    size = _HEADER.size + len(body)
    digest = hashlib.sha256(body).digest()
    return _HEADER.pack(_MAGIC, VERSION, _ORDER, size, len(arrays), digest) + body


def read_lammps_file(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """The arrays of a file.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another program or of another version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise UserError(f"{path} is no student for LAMMPS; 'distill export --to lammps' makes one")
    _, version, order, size, count, digest = _HEADER.unpack_from(data)
    if version != VERSION or order != _ORDER:
        raise UserError(
            f"{path} has version {version}, this program reads version {VERSION}; export the "
            "student again"
        )
    if size != len(data) or hashlib.sha256(data[_HEADER.size :]).digest() != digest:
        raise UserError(f"{path} is damaged: its checksum is not that of its contents")
    arrays: dict[str, NDArray[Any]] = {}
    at = _HEADER.size
    for _ in range(count):
        name, kind, n_lengths, *lengths = _ARRAY.unpack_from(data, at)
        shape, dtype = tuple(lengths[:n_lengths]), _TYPES[kind]
        at += _ARRAY.size
        array = np.frombuffer(data, dtype, math.prod(shape), at).reshape(shape)
        arrays[name.rstrip(b"\0").decode()] = array.astype(dtype.newbyteorder("="))
        at += -(-array.nbytes // 64) * 64
    return arrays
