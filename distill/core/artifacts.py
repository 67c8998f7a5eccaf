"""Files that survive a kill: atomic writes, hashes, JSON, and the manifest beside each artifact."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from distill.core.errors import UserError

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
# A temporary file is .STEM.MARK.partial.SUFFIX, its mark at random.
_MARK_LENGTH = 16
_PARTIAL = re.compile(rf"\..*\.[0-9a-f]{{{_MARK_LENGTH}}}\.partial(\.[^.]*)?")
_PACKAGES = (
    "distill",
    "numpy",
    "scipy",
    "ase",
    "torch",
    "mace-torch",
    "symmetrix-xl",
    "numba",
    "vesin",
    "juliacall",
)


class _Input(TypedDict):
    """A file that a stage was made from."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    path: str
    sha256: str


class _Manifest(TypedDict):
    """What every manifest has, of any version."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    stage: str
    inputs: dict[str, _Input]
    outputs: dict[str, str]
    finished: str
    wall_time_s: float


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as a hexadecimal string.

    Raises
    ------
    UserError
        If the file does not exist or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return digest.hexdigest()


def hash_of(data: Any) -> str:
    """SHA-256 of a JSON-serialisable value with sorted keys."""
    text = json.dumps(data, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary file is there, empty, and its name keeps the suffix of `path`, so writers that
    look at it work. A failed block removes it and leaves an older `path` as it was. Where `path` is
    a link, the file that it leads to is replaced and the link stays.

    Raises
    ------
    UserError
        If the folder cannot be made, the file cannot be written, or `path` is something else than a
        file. Errors of the block that name other files pass unchanged.
    """
    target = Path(os.path.realpath(path))
    mark = secrets.token_hex(_MARK_LENGTH // 2)
    temporary = target.with_name(f".{target.stem}.{mark}.partial{target.suffix}")
    with _writing(path):
        if target.exists() and not target.is_file():
            kind = "folder" if target.is_dir() else "device"
            raise UserError(f"cannot write {path}: it is a {kind}, expected the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        # No one else's file is opened, and the process's umask decides who may read it.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.utime(temporary, (0, 0))
    try:
        with _writing(path, temporary):
            yield temporary
        with _writing(path):
            if temporary.stat().st_mtime_ns == 0:
                raise OSError("nothing was written")
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: str | os.PathLike[str], file: Path | None = None) -> Iterator[None]:
    """Say which path cannot be written; with `file`, only errors of writing that file count."""
    try:
        yield
    except OSError as error:
        # Where the disk is full, or a device fails, the error names no file.
        nameless = type(error) is OSError and error.filename is None
        if file is not None and not nameless and str(error.filename) != str(file):
            raise
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. "
            "Free some space or choose another folder, then run the same command again; "
            "what was finished is kept."
        ) from error


def is_partial(path: Path) -> bool:
    """Whether a file is the unfinished one of a writer, killed or at work."""
    return bool(_PARTIAL.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def remove_partial_files(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left below `folder`; only for a folder that nobody is writing."""
    for leftover in Path(folder).rglob(".*.partial*"):
        if is_partial(leftover):
            leftover.unlink(missing_ok=True)


def refuse_to_overwrite(
    output: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None
) -> None:
    """Refuse to write onto a file that is read, whatever links lead to either.

    Parameters
    ----------
    output
        A file to write, or a folder whose contents are.
    inputs
        Files that are read. Names of what is no file, such as an import path, and None count for
        nothing.

    Raises
    ------
    UserError
        If an input is `output` or lies in it.
    """
    written = Path(os.path.realpath(output))
    for name in inputs:
        if name is None or not os.path.exists(name):
            continue
        read = Path(os.path.realpath(name))
        # Hard links, and names that differ in case alone on some disks, are one file.
        same = written.exists() and written.samefile(read)
        if same or written in read.parents:
            place = "an input" if same else f"where the input {name} lies"
            raise UserError(f"{output} is {place} of this command: choose another output")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write JSON atomically; NumPy scalars and arrays and paths become plain values."""
    write_text(path, json.dumps(data, indent=2, default=_plain) + "\n")


def read_json(path: str | os.PathLike[str], kind: Any = Any) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path
        The file.
    kind
        What it has to hold: a type as pydantic takes it, such as `dict[str, str]`, a `TypedDict`
        or a model, of which an object is made.

    Raises
    ------
    UserError
        If the file is missing, is not JSON, or holds something else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: expected JSON, found {error}") from None
    try:
        return _reader(kind).validate_python(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise UserError(f"{path} is damaged: {place and f'{place}: '}{fault['msg']}") from None


@lru_cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_manifest(
    folder: str | os.PathLike[str],
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str | os.PathLike[str]],
    outputs: list[str],
    seed: int,
    wall_time: float,
) -> dict[str, Any]:
    """Write `folder/manifest.json`: what made the folder's files, from what, with which versions.

    Parameters
    ----------
    folder
        The stage's output folder, directly in the run folder.
    stage
        Name of the stage.
    config
        The stage's full configuration, JSON-serialisable.
    inputs
        Input files by role; their names, as `name_in_run`, and SHA-256 are recorded.
    outputs
        File names inside `folder`; their SHA-256 are recorded.
    seed
        The run's seed.
    wall_time
        Seconds spent.
    """
    folder = Path(folder)
    manifest = {
        "version": MANIFEST_VERSION,
        "stage": stage,
        "config": dict(config),
        "config_hash": hash_of(config),
        "inputs": {
            role: {"path": name_in_run(path, folder.parent), "sha256": sha256(path)}
            for role, path in inputs.items()
        },
        "outputs": {name: sha256(folder / name) for name in outputs},
        "seed": seed,
        "versions": package_versions(),
        "host": platform.node(),
        "machine": platform.machine(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "wall_time_s": round(wall_time, 3),
    }
    write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The manifest of a folder, or None where there is none yet.

    Raises
    ------
    UserError
        If it is damaged.
    """
    path = Path(folder) / MANIFEST_NAME
    if not path.exists():
        return None
    manifest = read_json(path, _Manifest)
    return manifest if "version" in manifest else _upgrade_v0(manifest, Path(folder).parent)


def name_in_run(path: str | os.PathLike[str], run_folder: str | os.PathLike[str]) -> str:
    """A file's name in a run's records: from the run folder on inside it, absolute elsewhere."""
    absolute, run = Path(os.path.abspath(path)), Path(os.path.abspath(run_folder))
    return (absolute.relative_to(run) if absolute.is_relative_to(run) else absolute).as_posix()


def _upgrade_v0(manifest: dict[str, Any], run_folder: Path) -> dict[str, Any]:
    """A manifest without a version: its inputs are named from where the run was started."""
    marker = f"/{run_folder.resolve().name}/"

    def renamed(path: str) -> str:
        # The data stage reads no file of the run, the others read those of its stages' folders.
        _, found, name = f"/{path}".rpartition(marker)
        return name if found and "/" in name and manifest["stage"] != "data" else path

    inputs = {role: {**e, "path": renamed(e["path"])} for role, e in manifest["inputs"].items()}
    return {**manifest, "version": MANIFEST_VERSION, "inputs": inputs}


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"not JSON-serialisable: {type(value).__name__}")
