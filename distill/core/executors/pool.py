"""Independent units of work behind one function, and one set of workers for a whole run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from distill.core.errors import UserError
from distill.core.executors.executor import (
    ATTEMPTS,
    Executor,
    GaveUp,
    Result,
    Unit,
    WorkersLost,
    start_executor,
)
from distill.core.executors.one_thread import run_alone
from distill.core.executors.parallel_config import ParallelConfig
from distill.core.executors.time_limit import run_limited
from distill.core.progress import progress, say

_OPEN: ContextVar[tuple[ParallelConfig, Executor] | None] = ContextVar("pool", default=None)


@contextmanager
def open_pool(config: ParallelConfig, logs: Path | None = None) -> Iterator[Executor]:
    """One executor for every `run_units` with this config inside the block, closed at its end.

    Workers start when the first units need them, so that a block without any starts none.

    Parameters
    ----------
    config
        Which executor.
    logs
        Folder for what its library and its jobs say; made when there is something.

    Raises
    ------
    UserError
        If the executor is not installed, or its options cannot work.
    """
    there = _OPEN.get()
    if there is not None and there[0] == config:
        yield there[1]
        return
    executor = start_executor(config.backend, config.workers, config.options)
    executor.logs = logs
    token = _OPEN.set((config, executor))
    try:
        yield executor
    except BaseException:
        executor.close(abandon=True)
        raise
    else:
        executor.close()
    finally:
        _OPEN.reset(token)


def run_units(
    function: Callable[[Unit], Result],
    units: Sequence[Unit],
    *,
    config: ParallelConfig,
    label: str,
) -> list[Result]:
    """Apply `function` to every unit and return the results in the order of the units.

    Units are independent: the order in which they run and the number of workers do not matter.
    A unit whose worker was killed runs again, three times at most; so does a local cluster of dask
    whose worker was killed while it started. Resuming is the caller's: a unit writes its own file,
    and units whose file is there are not passed in.

    Parameters
    ----------
    function
        Picklable function of one unit; it runs with one thread.
    units
        Picklable values.
    config
        Which executor and how many workers; those of `open_pool` with the same config, or others
        that end with this call.
    label
        Shown with the progress.

    Raises
    ------
    UserError
        If a worker is killed three times on the same unit, a unit takes longer than
        `config.timeout`, or the executor is not installed or does not start.
    """
    if not units:
        return []
    if config.timeout is not None:
        function = partial(run_limited, config.timeout, partial(run_alone, function))
    results: dict[int, Result] = {}
    with (
        open_pool(config) as executor,
        closing(_completed(function, units, results, executor)) as events,
    ):
        for _ in progress(events, label, total=len(units), unit="units"):
            pass
    return [results[index] for index in range(len(units))]


def _completed(
    function: Callable[[Unit], Result],
    units: Sequence[Unit],
    results: dict[int, Result],
    executor: Executor,
) -> Generator[int, None, None]:
    """Fill `results`, yielding an index for each finished unit; start lost workers again."""
    fruitless = 0
    while waiting := [index for index in range(len(units)) if index not in results]:
        done_before = len(results)
        try:
            with closing(executor.map(function, [units[index] for index in waiting])) as done:
                for place, result in done:
                    results[waiting[place]] = result
                    yield waiting[place]
        except (WorkersLost, GaveUp) as error:
            executor.close(abandon=True)
            fruitless = 0 if len(results) > done_before else fruitless + 1
            left = len(units) - len(results)
            if fruitless == ATTEMPTS or isinstance(error, GaveUp):
                said = str(error) if isinstance(error, GaveUp) else ""
                raise UserError(
                    said
                    or f"a worker process was killed {ATTEMPTS} times with {left} units left; the "
                    "machine may be out of memory: lower parallel.workers, then run again"
                ) from None
            say(f"a worker process was killed; starting its unit again ({left} units left)")
        except BaseException:
            executor.close(abandon=True)
            raise
