"""Foundation models by name, by path, or the bundled one; named ones are downloaded once.

Model files are pickles: loading one runs its code. Only the file that the user named is loaded,
its SHA-256 is recorded, and a download is checked against its published identity where there is
one, else against what the first download recorded. Cache, hash check and retries are those of
pooch (https://www.fatiando.org/pooch); it cannot go on with half a file, the downloader here can.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from distill.core.artifacts import read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.progress import progress, say
from distill.core.user_cache import user_cache_folder

if TYPE_CHECKING:
    import requests

BUNDLED = "bundled"
# Further tries of a download that stops, each after a wait of a second more.
RETRIES = 3
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
    return Path(os.environ.get("DISTILL_CACHE") or user_cache_folder())


def present_foundation(name: str) -> bool:
    """Whether a foundation model can be opened without a download."""
    if name == BUNDLED or Path(name).expanduser().is_file():
        return True
    url = foundation_urls().get(name)
    return url is not None and _cached(url).exists()


def _cached(url: str) -> Path:
    """Where the file of a foundation model is kept."""
    return cache_folder() / url.rsplit("/", 1)[-1]


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
    target = _cached(url)
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
    size and SHA-256 are recorded in `<target>.json`, and a later download must give the same.

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
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    known = _recorded(target) if _record(target).exists() else None
    store = pooch.create(
        target.parent,
        base_url="",
        registry={target.name: known},
        urls={target.name: url},
        retry_if_failed=RETRIES,
    )
    try:
        store.fetch(target.name, downloader=_Resuming(target, known, git_blob))
    except _Stopped as error:
        raise UserError(f"{error}; run the same command again to go on from there") from None
    except requests.ConnectionError as error:
        raise UserError(f"cannot download {url}: no connection ({error})") from None
    except OSError as error:
        raise UserError(f"cannot write {target}: {error}") from None


class _Stopped(ValueError):
    """A download that stopped before its end; pooch tries again after a `ValueError`."""


class _Resuming:
    """A downloader for pooch that keeps what it has of a file, and asks for the rest.

    Parameters
    ----------
    target
        Final file; bytes collect beside it.
    known, git_blob
        SHA-256 and git blob id of the content, if known.
    """

    def __init__(self, target: Path, known: str | None, git_blob: str | None) -> None:
        self.target, self.known, self.git_blob = target, known, git_blob
        self.partial = target.with_name(target.name + ".partial")

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Leave the whole file at `output_file`.

        Raises
        ------
        _Stopped
            If there is less of it than there should be; what there is stays.
        UserError
            If there is more, or it is not the expected file; it is removed.
        """
        size = self._append(url)
        found = self.partial.stat().st_size
        if size is not None and found < size:
            raise _Stopped(f"the download of {url} is incomplete: {found} of {size} bytes")
        if size is not None and found > size:
            self.partial.unlink()
            raise UserError(
                f"{self.partial} was longer than the file at {url} ({found} against {size} bytes) "
                "and was removed; run the same command again"
            )
        if self.git_blob is not None and git_blob_id(self.partial) != self.git_blob:
            self.partial.unlink()
            raise UserError(
                f"the file at {url} is not the published model: expected git blob "
                f"{self.git_blob}; it was removed"
            )
        digest = sha256(self.partial)
        if self.known is not None and digest != self.known:
            self.partial.unlink()
            raise UserError(
                f"the file at {url} is not the one that was downloaded before: expected SHA-256 "
                f"{self.known}, found {digest}; if the new one is wanted, remove "
                f"{_record(self.target)}"
            )
        about = {"url": url, "bytes": found, "sha256": digest, "git_blob": self.git_blob}
        write_json(_record(self.target), about)
        os.replace(self.partial, output_file)

    def _append(self, url: str) -> int | None:
        """Fetch what is missing of the file; its full size in bytes, if the server says."""
        import requests

        start = self.partial.stat().st_size if self.partial.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                # Nothing is left to send: the partial file is complete, or too long.
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                return int(total) if total.isdigit() else None
            if not response.ok:
                raise UserError(
                    f"cannot download {url}: the server says {response.status_code} "
                    f"{response.reason}"
                )
            if start and response.status_code != requests.codes.partial_content:
                start = 0
            length = response.headers.get("Content-Length")
            size = start + int(length) if length else None
            blocks = None if size is None else -(-(size - start) // _BLOCK)
            with self.partial.open("ab" if start else "wb") as handle:
                try:
                    for block in progress(_blocks(response), "download", blocks, unit="MiB"):
                        handle.write(block)
                except requests.RequestException as error:
                    raise _Stopped(f"the download of {url} stopped: {error}") from None
        return size


def git_blob_id(path: Path) -> str:
    """Identity of a file's content as `git hash-object` gives it (SHA-1 over a header and it)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _blocks(response: requests.Response) -> Iterator[bytes]:
    yield from response.iter_content(_BLOCK)


def _record(target: Path) -> Path:
    return target.with_name(target.name + ".json")


class _Record(TypedDict):
    """What is read of the note beside a download."""

    sha256: str


def _recorded(target: Path) -> str:
    """SHA-256 of a download, as it was noted."""
    found: str = read_json(_record(target), _Record)["sha256"]
    return found


def _check_unchanged(target: Path) -> None:
    """Refuse a cached file that differs from its download; one put there by hand is taken."""
    if not _record(target).exists():
        return
    expected = _recorded(target)
    found = sha256(target)
    if found != expected:
        raise UserError(
            f"{target} has changed since it was downloaded: expected SHA-256 {expected}, found "
            f"{found}; remove it to download it again"
        )
