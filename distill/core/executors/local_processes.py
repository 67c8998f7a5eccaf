"""Units of work on processes of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future, as_completed
from typing import Any

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.executors.executor import Done, Executor, Result, Unit, WorkersLost
from distill.core.executors.in_process import run_here
from distill.core.executors.one_thread import THREAD_VARIABLES, available_cores, run_alone

# Workers that wait so long for another unit end, so that a fit or a training has their memory.
_IDLE_S = 60
# How loky says so.
_UNREADABLE = "task has failed to un-serialize"


class LocalProcesses(Executor):
    """Processes of loky, one a core if no number is given.

    The pool of the standard library can wait for ever when a worker is killed while others start.
    """

    def __init__(self, workers: int | None, options: Section) -> None:
        super().__init__(workers, options)
        self._pool: Any = None
        self._size = 0

    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result; a single worker would be this process."""
        needed = min(self.workers or available_cores(), len(units))
        if needed <= 1:
            yield from run_here(function, units)
            return
        try:
            pool = self._pool_of(needed)
            futures: dict[Future[Result], int] = {
                pool.submit(run_alone, function, unit): index for index, unit in enumerate(units)
            }
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenExecutor as error:
            if _UNREADABLE in str(error):
                reason = str(error.__cause__).strip(' \n"').splitlines()[-1]
                raise UserError(
                    f"a worker cannot read its unit of work ({reason}): what a unit is made of has "
                    "to be importable in other processes too"
                ) from None
            raise WorkersLost from None

    def _pool_of(self, size: int) -> Any:
        """A pool of at least so many processes, the present one if it has them."""
        from loky import ProcessPoolExecutor
        from loky.backend.context import LokyContext

        if self._size < size:
            self.close()
            self._pool = ProcessPoolExecutor(
                size,
                # joblib carries a loky of its own, which takes the same name among Python's
                # contexts.
                context=LokyContext(),
                timeout=_IDLE_S,
                env=dict.fromkeys(THREAD_VARIABLES, "1"),
                initializer=_end_with,
                initargs=(os.getpid(),),
            )
            self._size = size
        return self._pool

    def close(self, *, abandon: bool = False) -> None:
        """End the processes."""
        pool, self._pool, self._size = self._pool, None, 0
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=abandon)


def _end_with(driver: int) -> None:
    """End this worker when the process that started it is gone, which the pool does not do.

    A worker of a killed run would finish its unit, then wait for ever and keep its memory.
    """
    from threading import Thread

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1.0)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
