"""Units of work that leave their results in files, and the folder that they leave them in.

"Done" is said in one way: by a unit's record, written last, which holds the fingerprint of all that
the unit was made from and the SHA-256 of the files that it left. A record of other settings, inputs
or models, or files that are no longer those of the record, are not taken for the unit's results:
the unit is made again. What other settings had made is kept aside meanwhile, and comes back with
them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import TypedDict

from distill.core.artifacts import read_json, sha256, write_json
from distill.core.config import is_plain_name
from distill.core.errors import UserError
from distill.core.executors import ParallelConfig, run_units
from distill.core.fingerprint import fingerprint, model_identity
from distill.core.progress import say

# Of finished units that others took the place of, in the folder where they were.
KEPT_NAME = ".kept"
_PARTS_SUFFIX = ".parts"


@dataclass(frozen=True)
class Unit(ABC):
    """A picklable piece of work.

    Attributes
    ----------
    folder
        Where its files go.
    name
        Of its record, `folder/NAME.json`; unlike those of the folder's other units.
    """

    folder: Path
    name: str

    # Fields that say where and how, and not what: they leave the result as it is.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"folder", "name"})

    @abstractmethod
    def work(self) -> Any:
        """Do the work and write `files()`; return its numbers, JSON-serialisable."""

    def files(self) -> list[Path]:
        """Files that it leaves beside its record; they lie in its folder."""
        return []

    def settings(self) -> dict[str, Any]:
        """All that its result depends on: its fields, unless a kind of unit knows better."""
        return {
            field.name: model_identity(value) if field.name == "model" else value
            for field in fields(self)
            if field.name not in self.unkeyed and (value := getattr(self, field.name)) is not None
        }

    @cached_property
    def key(self) -> str:
        """Fingerprint of its kind and settings."""
        return fingerprint({"unit": type(self).__name__, **self.settings()})

    @property
    def record(self) -> Path:
        """File that is there when the unit is done."""
        return self.folder / f"{self.name}.json"

    @property
    def parts(self) -> Path:
        """Folder for what a long unit leaves on its way, to go on from after a kill.

        It is of these settings alone, and goes when the unit is done.
        """
        return self.folder / f"{self.name}.{self.key[:16]}{_PARTS_SUFFIX}"

    @property
    def finished(self) -> bool:
        """Whether it is done: with these settings, and with its files as they were left.

        Results of these settings that those of others took the place of are brought back.
        """
        return self.fault() is None or self._brought_back()

    def fault(self) -> str | None:
        """Why what lies there is not this unit's result, in a few words; None where it is."""
        # Read here, where its files are, and carried to whichever process does the work.
        key = self.key
        if not self.record.exists():
            return "it was not done"
        try:
            record = record_of(self.folder, self.name)
        except UserError:
            return "its record is damaged"
        if record["key"] != key:
            return "it was made with other settings or models"
        for name, digest in record["files"].items():
            path = self.folder / name
            if not path.is_file():
                return f"{name} is missing"
            if sha256(path) != digest:
                return f"{name} was changed"
        if set(record["files"]) != {path.name for path in self.files()}:
            return "its record names other files"
        return None

    def run(self) -> None:
        """Do the work and write the record, whatever is there; that of other settings is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._set_aside()
        self.record.unlink(missing_ok=True)
        numbers = self.work()
        left = {path.name: sha256(path) for path in self.files()}
        write_json(self.record, {"key": self.key, "files": left, "numbers": numbers})
        if self.parts.exists():
            shutil.rmtree(self.parts)

    def _set_aside(self) -> None:
        """Make way where the results of other settings are, and keep those."""
        with suppress(UserError):
            key = record_of(self.folder, self.name)["key"]
            if key != self.key:
                _move_unit(self.record, self.folder / KEPT_NAME / key[:32])

    def _brought_back(self) -> bool:
        kept = self.folder / KEPT_NAME / self.key[:32] / self.record.name
        if not kept.is_file():
            return False
        self._set_aside()
        _move_unit(kept, self.folder)
        return self.fault() is None

    def numbers(self) -> Any:
        """The numbers of the finished unit."""
        return record_of(self.folder, self.name)["numbers"]


class _Record(TypedDict):
    """What says that a unit is done."""

    key: str
    files: dict[str, str]
    numbers: Any


@dataclass(frozen=True)
class WorkFolder:
    """A folder of units of work, the seed of their random streams, and where they run.

    Attributes
    ----------
    path
        Folder; made when something is written.
    seed
        Of the workflow; every unit derives its own streams from it.
    parallel
        Where the units run; in this process by default.
    """

    path: Path
    seed: int = 1
    parallel: ParallelConfig = field(default_factory=lambda: ParallelConfig(backend="serial"))

    def sub(self, name: str) -> WorkFolder:
        """The same in a folder inside."""
        return replace(self, path=self.path / name)

    def run(self, units: Sequence[Unit], label: str) -> None:
        """Run the units that are not finished, of any kinds together, in one set of workers."""
        run_waiting(units, parallel=self.parallel, label=label)

    def run_chains(self, chains: Sequence[Sequence[Unit]], label: str) -> None:
        """The same for units that begin where the one before in their chain ends."""
        run_chains(chains, parallel=self.parallel, label=label)


def record_of(folder: Path, name: str) -> dict[str, Any]:
    """The record of a finished unit: its `key`, `files` and `numbers`.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    path = folder / f"{name}.json"
    try:
        record: dict[str, Any] = read_json(path, _Record)
    except UserError as error:
        raise UserError(f"{path} is no record of finished work; remove it ({error})") from None
    if not all(map(is_plain_name, record["files"])):
        raise UserError(f"{path} names files that are not beside it; remove it")
    return record


def keep_units(source: Path, target: Path) -> None:
    """Move what units of work left below one folder, and nothing else, to another.

    Finished ones say in their records what they are of, and parts of unfinished ones in their
    folder's name, so they serve whoever asks for the same.
    """
    for path in kept_with_units(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)


def kept_with_units(folder: Path) -> list[Path]:
    """The files of units of work below a folder, each record after the files that it names."""
    found: dict[Path, None] = {}
    for kept in [*folder.rglob(f"*{_PARTS_SUFFIX}"), *folder.rglob(KEPT_NAME)]:
        # Records in there come with all others.
        inside = sorted(kept.rglob("*"))
        found.update(dict.fromkeys(p for p in inside if p.is_file() and p.suffix != ".json"))
    for record in sorted(folder.rglob("*.json")):
        with suppress(UserError):
            files = record_of(record.parent, record.stem)["files"]
            beside = [record.parent / name for name in files]
            found.update(dict.fromkeys(path for path in beside if path.is_file()))
            found[record] = None
    return list(found)


def _move_unit(record: Path, folder: Path) -> None:
    """Move the files of a finished unit to another folder, its record last."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [record.with_name(name) for name in record_of(record.parent, record.stem)["files"]]
    for path in [*(path for path in files if path.is_file()), record]:
        os.replace(path, folder / path.name)


def run_waiting(units: Sequence[Unit], *, parallel: ParallelConfig, label: str) -> None:
    """Run the units that are not finished, in one set of workers; say which are made again."""
    run_chains([[unit] for unit in units], parallel=parallel, label=label)


def run_chains(chains: Sequence[Sequence[Unit]], *, parallel: ParallelConfig, label: str) -> None:
    """The same for units that begin where the one before in their chain ends."""
    total = sum(map(len, chains))
    waiting = []
    for chain in chains:
        unfinished = [unit for unit in chain if not unit.finished]
        for unit in unfinished:
            if unit.record.exists():
                say(f"{label}: {unit.name} is made again: {unit.fault()}")
        if unfinished:
            waiting.append(unfinished)
    if done := total - sum(map(len, waiting)):
        say(f"{label}: {done} of {total} are done already")
    run_units(perform, waiting, config=parallel, label=label)


def perform(chain: Sequence[Unit]) -> None:
    """Run units in turn; a function of the module, so that any executor can send it to a worker.

    Raises
    ------
    UserError
        What the unit raises, with its name.
    """
    for unit in chain:
        try:
            # The first may have been done by a worker that was killed at a later one.
            if not unit.finished:
                unit.run()
        except UserError as error:
            raise UserError(f"{unit.name}: {error}") from None


@contextmanager
def work_folder(folder: str | os.PathLike[str] | None, seed: int) -> Iterator[WorkFolder]:
    """A folder for units of work: the one given, or a scratch folder."""
    if folder is not None:
        yield WorkFolder(Path(folder), seed)
        return
    with tempfile.TemporaryDirectory(prefix="distill-") as scratch:
        yield WorkFolder(Path(scratch), seed)
