"""Units of work that know where their result goes and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from distill.core.artifacts import read_json
from distill.core.config import ParallelConfig
from distill.core.executors import run_units


class Unit(Protocol):
    """A picklable piece of work that leaves its result in files."""

    @property
    def finished(self) -> bool:
        """Whether its files are there."""

    def run(self) -> None:
        """Do the work and write the files, the one that marks the end last."""


class Summarised:
    """What units share that leave their numbers in `folder/NAME.json`, written last."""

    name: str
    folder: Path

    @property
    def summary_path(self) -> Path:
        """File that is there when the unit is done."""
        return self.folder / f"{self.name}.json"

    @property
    def finished(self) -> bool:
        """Whether the unit is done."""
        return self.summary_path.exists()

    def summary(self) -> dict[str, Any]:
        """The numbers of the finished unit."""
        return read_json(self.summary_path)


def run_waiting(units: Sequence[Unit], *, parallel: ParallelConfig, label: str) -> None:
    """Run the units whose files are not there, of any kinds together, in one set of workers."""
    waiting = [unit for unit in units if not unit.finished]
    run_units(perform, waiting, config=parallel, label=label)


def perform(unit: Unit) -> None:
    """Run one unit; a function of the module, so that any executor can send it to a worker."""
    unit.run()
