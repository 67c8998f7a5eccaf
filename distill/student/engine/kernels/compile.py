"""How the kernels are compiled, and where their machine code is kept.

Numba takes kept machine code for good as long as the file of the function itself is unchanged,
though other functions, named tuples and constants are compiled into it. So it is kept here in a
folder named by a hash of all that can be: every file of this package (whose modules import nothing
else of distill), and the versions of the compiler. A change anywhere in them compiles anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba

from distill._version import __version__
from distill.core.progress import say
from distill.core.user_cache import user_cache_folder

_config: Any = numba.config
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# Machine code of other sources is removed when nothing has used it for so long.
UNUSED_DAYS = 30
_NAME = re.compile(r"[0-9a-f]{32}")


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel when it is first called; it runs without the interpreter's lock."""
    return _compile(function)


def inlined(function: Kernel) -> Kernel:
    """Compile a function into its callers: one that is called is passed lane vectors in memory."""
    return _compile(function, forceinline=True)


def source_hash(folder: Path) -> str:
    """What tells the machine code of a folder of kernels from that of another."""
    versions = (__name__, __version__, numba.__version__, llvmlite.__version__)
    digest = hashlib.sha256(" ".join(versions).encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def remove_unused(parent: Path) -> None:
    """Remove machine code that nothing has used for `UNUSED_DAYS`."""
    oldest = time.time() - UNUSED_DAYS * 86400
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(folder.name) and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)


def _cache_folder() -> Path | None:
    """A folder for this version's machine code that can be written to, or None."""
    name = source_hash(Path(__file__).parent)
    for parent in _places():
        folder = parent / name
        try:
            new = not folder.is_dir()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            # Its time says when it was last used.
            os.utime(folder)
            if new:
                remove_unused(parent)
        except OSError:
            continue
        return folder
    say(
        "the student's kernels are compiled anew in every process, because no cache folder can be "
        "written to: set NUMBA_CACHE_DIR to one that can"
    )
    return None


def _places() -> Iterator[Path]:
    """Numba's folder if there is one, else the user's."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR) / "distill" / "kernels"
        return
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield user_cache_folder() / "kernels"


_FOLDER = _cache_folder()


def _compile(function: Kernel, **options: Any) -> Kernel:
    """Numba chooses where machine code is kept when a function is decorated."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = "" if _FOLDER is None else str(_FOLDER)
    try:
        kept = _FOLDER is not None
        kernel: Kernel = numba.njit(cache=kept, nogil=True, error_model="numpy", **options)(
            function
        )
        return kernel
    finally:
        _config.CACHE_DIR = before
