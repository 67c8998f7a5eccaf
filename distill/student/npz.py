"""Reading `.npz` files whose bytes may be damaged."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """All arrays of a file, read whole.

    Raises
    ------
    ValueError
        If the file is not an `.npz`, is cut short or has flipped bits.
    OSError
        If it cannot be opened.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with opened as file:
            return {name: file[name] for name in file.files}
    except (
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        SyntaxError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(str(error)) from None
