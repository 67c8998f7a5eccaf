"""Units of work one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.core.executors.executor import Done, Executor, Result, Unit
from distill.core.executors.one_thread import one_thread


class InProcess(Executor):
    """This process."""

    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result, in their order."""
        yield from run_here(function, units)

    def close(self, *, abandon: bool = False) -> None:
        """There is nothing to end."""


def run_here(function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
    """Units one after the other in this process, with one thread."""
    with one_thread():
        for index, unit in enumerate(units):
            yield index, function(unit)
