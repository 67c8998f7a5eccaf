"""Reading `.npz` files whose bytes may be damaged, or written to do damage.

What an entry holds is known from the file's directory and the entry's header before anything of it
is unpacked, so that a file cannot ask for more memory than it is worth.
"""

from __future__ import annotations

import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# Of all entries together, unpacked; the largest students there are have a tenth of it.
LARGEST_BYTES = 4 * 2**30
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What zipfile, zlib and NumPy raise at bytes that are not what they expect.
_DAMAGE = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Header:
    """What an array is.

    Attributes
    ----------
    dtype, shape
        Of the array.
    columns_first
        Whether its first index runs fastest.
    start
        Where its numbers begin, bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    columns_first: bool
    start: int


class NpzReader:
    """An open `.npz` file; `headers` has an entry for each of its arrays."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        members = file.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two entries have one name")
        size = sum(member.file_size for member in members)
        if size > LARGEST_BYTES:
            raise ValueError(f"its entries are {size / 2**30:.3g} GB unpacked")
        self.headers = {
            member.filename.removesuffix(".npy"): self._header(member) for member in members
        }

    def read(self, name: str) -> NDArray[Any]:
        """An array.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        header = self.headers[name]
        with _damage_is_value_error():
            numbers = bytearray(self._file.read(f"{name}.npy"))[header.start :]
            array = np.frombuffer(numbers, header.dtype)
        return array.reshape(header.shape, order="F" if header.columns_first else "C")

    def _header(self, member: zipfile.ZipInfo) -> Header:
        name = member.filename
        with self._file.open(member) as stream:
            header = _read_header(stream)
        length = header.start + header.dtype.itemsize * math.prod(header.shape)
        if member.file_size != length:
            raise ValueError(f"{name} has {member.file_size} bytes, its header says {length}")
        return header


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[NpzReader]:
    """Open a file and read the headers of all its arrays.

    Raises
    ------
    ValueError
        If the file is not an `.npz`, or its directory or a header is damaged.
    OSError
        If it cannot be opened.
    """
    with _damage_is_value_error():
        file = zipfile.ZipFile(path)
    with file:
        with _damage_is_value_error():
            reader = NpzReader(file)
        yield reader


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """All arrays of a file.

    Raises
    ------
    ValueError
        If the file is not an `.npz`, is cut short or has flipped bits.
    OSError
        If it cannot be opened.
    """
    with open_npz(path) as file:
        return {name: file.read(name) for name in file.headers}


def _read_header(stream: IO[bytes]) -> Header:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array has format {version}, which is not known")
    shape, columns_first, dtype = _HEADERS[version](stream)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("an array has no numbers, or a negative length")
    return Header(dtype, shape, columns_first, stream.tell())


@contextmanager
def _damage_is_value_error() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from None
