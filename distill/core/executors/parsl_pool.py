"""Units of work on workers of parsl: of this machine, or where a configuration of yours says."""

from __future__ import annotations

import inspect
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import Field

from distill.core.config import Section
from distill.core.errors import UserError, nearest_name
from distill.core.executors.executor import (
    ATTEMPTS,
    JOB_ATTEMPTS,
    Done,
    Executor,
    GaveUp,
    Result,
    Unit,
)
from distill.core.executors.library_logs import logs_into
from distill.core.executors.one_thread import available_cores, run_alone
from distill.core.executors.patience import ClusterOptions, Patience

# Seconds between two looks at the workers.
_LOOK_S = 15.0
_GAVE_UP = (
    "the job of a unit ended each time that the unit was started: it may need more time (walltime) "
    "than a job has; look into the files of the jobs"
)
# parsl's own default.
_RUN_DIR = "runinfo"


class ParslOptions(ClusterOptions):
    """Options of parsl."""

    config: str | None = Field(
        None,
        description="'module:name' of a parsl.Config or of a function that makes one; without it "
        "all other options go to the parsl.Config of a pool on this machine",
    )


class ParslPool(Executor):
    """Workers of parsl, which starts units of killed workers again itself."""

    Options = ParslOptions
    options: ParslOptions

    def __init__(self, workers: int | None, options: Section) -> None:
        super().__init__(workers, options)
        try:
            import parsl
        except ImportError:
            raise UserError(
                "parallel.backend is parsl: install it with the extra [parsl]"
            ) from None
        self._check_options(parsl.Config)
        self._open = ExitStack()
        self._kernel: Any = None
        self._size = 0

    def _check_options(self, kind: Any) -> None:
        if self.options.config is not None:
            _named_config(self.options.config)
        known = set(inspect.signature(kind.__init__).parameters) - {"self", "executors"}
        if self.options.config is not None:
            known = set()
        for name in self.options.model_extra or {}:
            if name not in known:
                why = nearest_name(name, sorted(known)) if known else "options.config says it all"
                raise UserError(f"parallel.options.{name}: unknown option of parsl; {why}")

    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result."""
        from parsl.concurrent import ParslPoolExecutor
        from parsl.errors import ParslError
        from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

        self._provide(min(self.workers or available_cores(), len(units)))
        pool = ParslPoolExecutor(dfk=self._kernel)
        futures: dict[Future[Result], int] = {}
        starts = dict.fromkeys(range(len(units)), 0)

        def start(index: int) -> None:
            starts[index] += 1
            futures[pool.submit(run_alone, function, units[index])] = index

        for index in starts:
            start(index)
        patience = Patience(_LOOK_S, self.options.queue_time)
        ended = self._ended_blocks()
        while futures:
            done, _ = wait(futures, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                index = futures.pop(future)
                try:
                    yield index, future.result()
                except ManagerLost:
                    # With its job; parsl itself has started it again as often as it was told.
                    if starts[index] == JOB_ATTEMPTS // ATTEMPTS:
                        raise GaveUp(_GAVE_UP) from None
                    start(index)
                except WorkerLost:
                    raise GaveUp from None
                except ParslError as error:
                    # The last of its lines names what went wrong last.
                    reason = str(error).strip().splitlines()[-1].strip()
                    raise UserError(
                        f"parallel: parsl has no workers: {reason}; see whether the batch system "
                        "answers, then run the same command again"
                    ) from None
            if done:
                ended = self._ended_blocks()
                continue
            fruitless = len(self._ended_blocks() - ended)
            if fruitless > ATTEMPTS * sum(e.provider.max_blocks for e in self._with_blocks()):
                raise GaveUp(
                    f"{fruitless} jobs have ended without a unit done, {len(futures)} units are "
                    "left: look into the files of the jobs; a unit may need more time (walltime) "
                    "or memory than a job has"
                )
            patience.look(there=self._has_workers(), waiting_for="the jobs of parsl")

    def _has_workers(self) -> bool:
        """Whether workers are there; true where that cannot be known."""
        executors = self._kernel.executors.values()
        asked = [executor for executor in executors if hasattr(executor, "connected_managers")]
        return not asked or any(executor.connected_managers() for executor in asked)

    def _with_blocks(self) -> list[Any]:
        """parsl's executors whose workers come in blocks, each a job."""
        executors = self._kernel.executors.values()
        return [e for e in executors if getattr(e, "provider", None) is not None]

    def _ended_blocks(self) -> set[tuple[str, str]]:
        """Labels and numbers of all blocks that have ended by themselves."""
        return {
            (executor.label, block)
            for executor in self._with_blocks()
            for block, status in tuple(executor.status_facade.items())
            if status.terminal and status.status_name != "SCALED_IN"
        }

    def _provide(self, size: int) -> None:
        """Have parsl running; a pool on this machine with at least so many workers."""
        import parsl
        from parsl.jobs.error_handlers import simple_error_handler

        if self._kernel is not None and (self.options.config or self._size >= size):
            return
        self.close()
        # parsl starts its helpers by name; they lie beside the interpreter, active environment or
        # not.
        self._open.callback(os.environ.__setitem__, "PATH", os.environ.get("PATH", os.defpath))
        beside = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        self._open.enter_context(logs_into(self.logs, "parsl", "parsl"))
        folder = self.logs or Path(self._open.enter_context(TemporaryDirectory(prefix="parsl-")))
        config = _named_config(self.options.config) if self.options.config else self._local(size)
        if config.run_dir == _RUN_DIR:
            config.run_dir = str(folder / "parsl")
        # Its own log would say it a second time, every task in many lines.
        config.initialize_logging = False
        for executor in config.executors:
            if getattr(executor, "block_error_handler", None) is simple_error_handler:
                executor.block_error_handler = _end_where_all_fail
        self._kernel = parsl.load(config)
        self._size = size

    def _local(self, size: int) -> Any:
        import parsl
        from parsl.executors import HighThroughputExecutor

        options = {"retries": ATTEMPTS - 1, **(self.options.model_extra or {})}
        return parsl.Config(
            executors=[HighThroughputExecutor(max_workers_per_node=size)], **options
        )

    def close(self, *, abandon: bool = False) -> None:
        """End the workers, and the jobs that they are in."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.cleanup()
        self._open.close()


def _end_where_all_fail(executor: Any, status: dict[str, Any]) -> None:
    """parsl's own handler of blocks, which alone ends a run with the first node that is lost."""
    from parsl.jobs.error_handlers import simple_error_handler

    if len(status) >= ATTEMPTS:
        simple_error_handler(executor, status)


def _named_config(name: str) -> Any:
    """A parsl.Config by import path, made anew each time: parsl can start one only once.

    Raises
    ------
    UserError
        If there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = runpy.run_module(module, run_name=module)[attribute]
        return found() if callable(found) else found
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise UserError(
            f"parallel.options.config: expected 'module:name' of a parsl Config, found '{name}': "
            f"{error}"
        ) from None
