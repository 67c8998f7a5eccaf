"""Foundation models by name, by path, or the bundled one; named ones are downloaded once.

Model files are pickles: loading one runs its code. Only the file that the user named is loaded,
its SHA-256 is recorded, and a download is checked against its published identity where there is
one, else against what the first download recorded.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill.core.artifacts import read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.progress import progress, say

BUNDLED = "bundled"
_OFF_PREFIX = "off-"
_BLOCK = 1 << 20
_TIMEOUT_S = 60.0
# Git blob identities of the published files (`git hash-object FILE`).
_GIT_BLOBS = {
    "small": "d489f0db55cb855bf7c41a517e58d45e5c7a49a6",
    "medium-mpa-0": "962c5918bb24895b4579e29b52d6f4f60673f70f",
}


@dataclass(frozen=True)
class Foundation:
    """A foundation model's file.

    Attributes
    ----------
    name
        As the user gave it.
    path
        The model file; None for the bundled model, which is rebuilt from tensors.
    sha256
        Of the file, or of the bundled tensors.
    """

    name: str
    path: Path | None
    sha256: str


def foundation_urls() -> dict[str, str]:
    """Download addresses of the foundation models that mace-torch knows, by name.

    The names are mace-torch's own (`mace/calculators/foundations_models.py`); the MACE-OFF models,
    whose names clash with the others', are `off-small`, `off-medium` and `off-large`.
    """
    from distill.models.mace.torch_tools import import_mace

    import_mace()
    from mace.calculators.foundations_models import mace_mp_urls, mace_off_urls

    return {**mace_mp_urls, **{f"{_OFF_PREFIX}{name}": url for name, url in mace_off_urls.items()}}


def cache_folder() -> Path:
    """Where downloads are kept: DISTILL_CACHE, else distill in the user's cache folder."""
    if folder := os.environ.get("DISTILL_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "distill"


def find_foundation(name: str) -> Foundation:
    """The model file of a foundation model, downloaded if it is not there yet.

    Parameters
    ----------
    name
        `bundled`, a name known to mace-torch, or the path of a model file.

    Raises
    ------
    UserError
        If the name is unknown, the path does not exist, the download fails, or a cached file has
        changed since it was downloaded.
    """
    if name == BUNDLED:
        from distill.models.mace.bundled_foundation import TENSORS_NAME, bundled_foundation_path

        return Foundation(name, None, sha256(bundled_foundation_path() / TENSORS_NAME))
    path = Path(name).expanduser()
    if path.is_file():
        return Foundation(name, path, sha256(path))
    urls = foundation_urls()
    if name not in urls:
        kind = "is a folder" if path.is_dir() else "is neither a file nor a known name"
        raise UserError(
            f"teacher.foundation: '{name}' {kind}; expected 'bundled', the path of a MACE model "
            f"file, or one of {', '.join(urls)}"
        )
    url = urls[name]
    target = cache_folder() / url.rsplit("/", 1)[-1]
    if target.exists():
        _check_unchanged(target)
    else:
        say(f"downloading foundation model '{name}' from {url} to {target}")
        try:
            download(url, target, git_blob=_GIT_BLOBS.get(name))
        except UserError as error:
            raise UserError(
                f"{error}\nTo go on without network, put the file {target.name} into "
                f"{target.parent}, or set teacher.foundation to its path, or to 'bundled'"
            ) from None
    return Foundation(name, target, sha256(target))


def download(url: str, target: Path, *, git_blob: str | None = None) -> None:
    """Download a file once, with progress; an interrupted download goes on where it stopped.

    Bytes collect in `<target>.partial`; only a complete and checked file gets its final name. Its
    size and SHA-256 are recorded in `<target>.json`.

    Parameters
    ----------
    url
        Address; a server that honours HTTP range requests allows resuming.
    target
        Final file.
    git_blob
        Identity of the content as `git hash-object` gives it, if known.

    Raises
    ------
    UserError
        If the server cannot be reached or refuses, the file is incomplete or not the expected one,
        or it cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        size = _fetch(url, partial)
    except urllib.error.HTTPError as error:
        raise UserError(
            f"cannot download {url}: the server says {error.code} {error.reason}"
        ) from None
    except urllib.error.URLError as error:
        raise UserError(f"cannot download {url}: no connection ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"the download of {url} to {partial} stopped: {error}; run the same command again to "
            "go on from there"
        ) from None
    found = partial.stat().st_size
    if size is not None and found > size:
        partial.unlink()
        raise UserError(
            f"{partial} was longer than the file at {url} ({found} against {size} bytes) and was "
            "removed; run the same command again"
        )
    if size is not None and found < size:
        raise UserError(
            f"the download of {url} is incomplete: expected {size} bytes, found {found}; run the "
            "same command again to go on from there"
        )
    if git_blob is not None and git_blob_id(partial) != git_blob:
        partial.unlink()
        raise UserError(
            f"the file at {url} is not the published model: expected git blob {git_blob}; "
            "it was removed"
        )
    write_json(
        _record(target),
        {"url": url, "bytes": found, "sha256": sha256(partial), "git_blob": git_blob},
    )
    os.replace(partial, target)


def git_blob_id(path: Path) -> str:
    """Identity of a file's content as `git hash-object` gives it (SHA-1 over a header and it)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fetch(url: str, partial: Path) -> int | None:
    """Append to `partial` what is missing of a file; its full size in bytes, if the server says."""
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Nothing is left to send: the partial file is complete, or longer than the real one.
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if total.isdigit() else None
    with response:
        if start and response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        size = start + int(length) if length else None
        with partial.open("ab" if start else "wb") as handle:
            blocks = None if size is None else -(-(size - start) // _BLOCK)
            for block in progress(_blocks(response), "download", blocks, unit="MiB"):
                handle.write(block)
    return size


def _blocks(response: object) -> Iterator[bytes]:
    while block := response.read(_BLOCK):  # type: ignore[attr-defined]
        yield block


def _record(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _check_unchanged(target: Path) -> None:
    """Refuse a cached file that differs from its download; one put there by hand is taken."""
    if not _record(target).exists():
        return
    expected = read_json(_record(target))["sha256"]
    found = sha256(target)
    if found != expected:
        raise UserError(
            f"{target} has changed since it was downloaded: expected SHA-256 {expected}, found "
            f"{found}; remove it to download it again"
        )
