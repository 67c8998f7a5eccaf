"""What everything that touches torch shares: precision, repeatability, devices, pickled files."""

from __future__ import annotations

import contextlib
import io
import os
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from distill.core.artifacts import atomic_path, read_json
from distill.core.errors import UserError

# Entry of a pickled dictionary that says what kind of model its parts make.
MARK = "distill"
_MARK_WITHIN = 12


def import_mace() -> None:
    """Import mace-torch without its remarks on optional accelerators and deprecated calls."""
    allow_e3nn_constants()
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        import mace.calculators
        import mace.modules
        import mace.tools  # noqa: F401


def allow_e3nn_constants() -> None:
    """Let e3nn 0.4 read its own constants file, which torch's default refuses.

    Importing mace-torch sets the same variable, but only if it comes before e3nn.
    """
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings that mace-torch and e3nn give while building a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Make float32 or float64 torch's default inside the block."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    """Make torch sum in a fixed order inside the block, so that a run can be repeated exactly.

    Without it, sums over neighbours on several threads differ in the last digit from run to run.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Give torch so many threads inside the block; as many as it has if None."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str, option: str = "teacher.device") -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is a device.

    Parameters
    ----------
    name
        auto, cpu or cuda.
    option
        Where it was asked for, for the message.

    Raises
    ------
    UserError
        If CUDA is asked for and there is none.
    """
    if name == "cpu":
        return name
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError(
            f"{option}: 'cuda' was asked for but torch finds no CUDA device; use 'auto' or 'cpu'"
        )
    return "cuda" if available else "cpu"


def read_pickle(path: Path, *, device: str = "cpu") -> Any:
    """What `torch.save` wrote to a file. It is a pickle: loading it runs its code.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    import_mace()
    import torch

    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    try:
        _check_sums(path)
        with quiet():
            return torch.load(path, map_location=device, weights_only=False)
    except (Exception, SystemExit) as error:
        # Unpickling a damaged or foreign file raises almost anything.
        reason = _other_content(path) or f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not a readable MACE model: {reason}") from None


def _other_content(path: Path) -> str | None:
    """What lies there in place of a model, where it is one of the usual things."""
    with path.open("rb") as handle:
        opening = handle.read(64).lstrip().lower()
    if not opening:
        return "the file is empty"
    if opening.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself with: git lfs pull"
    if opening.startswith((b"<!doctype", b"<html")):
        return "it is a web page; download the file itself"
    if zipfile.is_zipfile(path):
        with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if all(name.endswith(".npy") for name in archive.namelist()):
                return "it holds arrays, as a student does; name a student .npz"
    return None


def write_pickle(content: Any, path: Path) -> None:
    """Write a model as `torch.save` does, atomically."""
    import torch

    # Saved to a file, the archive would carry the temporary name, and equal models would differ.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def marked_kind(path: Path) -> str | None:
    """The kind that a file of several parts names first; None for any other file.

    Nothing of the file is run: only the first instructions of its pickle are looked at.
    """
    if text_kind := _text_kind(path):
        return text_kind
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            with archive.open(name) as handle:
                steps = list(islice(pickletools.genops(handle), _MARK_WITHIN))
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return None
    words = [argument for code, argument, _ in steps if code.name == "BINUNICODE"]
    opens_a_dictionary = [code.name for code, *_ in steps[:2]] == ["PROTO", "EMPTY_DICT"]
    return str(words[1]) if opens_a_dictionary and words[:1] == [MARK] and words[1:] else None


def _text_kind(path: Path) -> str | None:
    """The kind that a model file of JSON names; None for any other file."""
    with suppress(OSError, UserError), path.open("rb") as handle:
        if handle.read(1) == b"{":
            content = read_json(path)
            return str(content[MARK]) if MARK in content else None
    return None


def _check_sums(path: Path) -> None:
    """Compare the checksums in an archive, which torch does not look at."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} does not match its contents")
