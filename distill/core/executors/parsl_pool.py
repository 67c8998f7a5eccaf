"""Units of work on workers of parsl: of this machine, or where a configuration of yours says."""

from __future__ import annotations

import inspect
import logging
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from distill.core.config import Section
from distill.core.errors import UserError, nearest_name
from distill.core.executors.executor import ATTEMPTS, Done, Executor, GaveUp, Result, Unit
from distill.core.executors.one_thread import available_cores, run_alone


class ParslOptions(Section):
    """Options of parsl."""

    model_config = ConfigDict(extra="allow")

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
        # Its own words at every task would drown those of the run.
        logging.getLogger("parsl").setLevel(logging.WARNING)
        self._check_options(parsl.Config)
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
        futures: dict[Future[Result], int] = {
            pool.submit(run_alone, function, unit): index for index, unit in enumerate(units)
        }
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except (ManagerLost, WorkerLost):
                raise GaveUp from None
            except ParslError as error:
                raise UserError(f"parallel: parsl has no workers: {error}") from None

    def _provide(self, size: int) -> None:
        """Have parsl running; a pool on this machine with at least so many workers."""
        import parsl

        if self._kernel is not None and (self.options.config or self._size >= size):
            return
        self.close()
        # parsl starts its helpers by name; they lie beside the interpreter, active environment or
        # not.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])
        self._kernel = parsl.load(
            _named_config(self.options.config) if self.options.config else self._local(size)
        )
        self._size = size

    def _local(self, size: int) -> Any:
        import parsl
        from parsl.executors import HighThroughputExecutor

        options = {
            "retries": ATTEMPTS - 1,
            "run_dir": tempfile.mkdtemp(prefix="parsl-"),
            "initialize_logging": False,
            **(self.options.model_extra or {}),
        }
        return parsl.Config(
            executors=[HighThroughputExecutor(max_workers_per_node=size)], **options
        )

    def close(self, *, abandon: bool = False) -> None:
        """End the workers, and the jobs that they are in."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.cleanup()


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
