"""Units of work that know where their result goes and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from distill.config import ParallelConfig
from distill.parallel import run_units


class Unit(Protocol):
    """A picklable piece of work that leaves its result in files."""

    @property
    def finished(self) -> bool:
        """Whether its files are there."""

    def run(self) -> None:
        """Do the work and write the files, the one that marks the end last."""


def run_waiting(units: Sequence[Unit], *, parallel: ParallelConfig, label: str) -> None:
    """Run the units whose files are not there, of any kinds together, in one set of workers."""
    waiting = [unit for unit in units if not unit.finished]
    run_units(perform, waiting, config=parallel, label=label)


def perform(unit: Unit) -> None:
    """Run one unit; a function of the module, so that any executor can send it to a worker."""
    unit.run()
