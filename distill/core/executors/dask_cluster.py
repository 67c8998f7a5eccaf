"""Units of work on a dask cluster: of this machine, or of jobs of a batch system."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, Field

from distill.core.config import Section
from distill.core.errors import UserError, nearest_name
from distill.core.executors.executor import (
    ATTEMPTS,
    Done,
    Executor,
    GaveUp,
    Result,
    Unit,
    WorkersLost,
)
from distill.core.executors.one_thread import available_cores, run_alone

_LOCAL = "local"
# Seconds between two looks at the workers while no unit ends, and how many looks without a single
# worker mean that all jobs have ended, at their time limit say. Before the first worker came there
# is no limit: jobs may queue for days.
_LOOK_S, _LOOKS = 15.0, 3


class DaskOptions(Section):
    """Options of a dask cluster."""

    model_config = ConfigDict(extra="allow")

    cluster: str = Field(
        _LOCAL,
        description="local, a class of dask_jobqueue, or 'module:Class' of another; all other "
        "options go to it",
    )


class DaskCluster(Executor):
    """Workers of dask, which starts units of killed workers again itself."""

    Options = DaskOptions
    options: DaskOptions

    def __init__(self, workers: int | None, options: Section) -> None:
        super().__init__(workers, options)
        try:
            import distributed  # noqa: F401 - told apart from its parts, which are asked for later
        except ImportError:
            raise UserError("parallel.backend is dask: install it with the extra [dask]") from None
        # Its own words at every connection would drown those of the run.
        logging.getLogger("distributed").setLevel(logging.WARNING)
        self._kind = _cluster_class(self.options.cluster)
        _check_options(self._kind, self.options)
        self._open = ExitStack()
        self._cluster: Any = None
        self._client: Any = None
        self._size = 0

    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result."""
        from distributed import KilledWorker

        size = min(self.workers or self._most_workers(), len(units))
        self._provide(size)
        pool = self._client.get_executor()
        futures: dict[Future[Result], int] = {
            pool.submit(run_alone, function, unit): index for index, unit in enumerate(units)
        }
        left, looks, seen = set(futures), 0, False
        while left:
            done, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    yield futures[future], future.result()
                except KilledWorker:
                    raise GaveUp from None
            there = bool(self._cluster.scheduler_info["workers"])
            seen = seen or there
            looks = 0 if done or there or not seen else looks + 1
            if looks == _LOOKS:
                raise WorkersLost
            if not done:
                self._ask_for(size)

    def _most_workers(self) -> int:
        return available_cores() if self.options.cluster == _LOCAL else 1

    def _provide(self, size: int) -> None:
        """Have a cluster with at least so many workers, or with as many asked for."""
        from dask.config import set as dask_options
        from distributed import Client

        if self._cluster is None:
            options = self.options.model_extra or {}
            with dask_options({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}):
                cluster = self._started(size, options)
            self._cluster = self._open.enter_context(cluster)
            self._client = self._open.enter_context(Client(cluster))
        self._ask_for(size)

    def _ask_for(self, size: int) -> None:
        """Ask for at least so many workers, those of jobs that have ended included."""
        self._size = max(self._size, size)
        self._cluster.scale(self._size)

    def _started(self, size: int, options: dict[str, Any]) -> Any:
        """A cluster; a local one with all of its workers.

        Raises
        ------
        WorkersLost
            If a worker was killed meanwhile.
        UserError
            If it cannot start for another reason.
        """
        try:
            if self.options.cluster == _LOCAL:
                return self._kind(n_workers=size, threads_per_worker=1, **options)
            return self._kind(**options)
        except Exception as error:
            # dask wraps what went wrong; behind the end of a process it has nothing but its own
            # words.
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if isinstance(error, RuntimeError) and isinstance(cause, RuntimeError):
                raise WorkersLost(str(cause)) from None
            raise UserError(
                f"parallel: the {self.options.cluster} cluster of dask does not start: "
                f"{type(cause).__name__}: {cause}; look at parallel.options"
            ) from None

    def close(self, *, abandon: bool = False) -> None:
        """End the workers, and the jobs that they are in."""
        self._cluster, self._client, self._size = None, None, 0
        self._open.close()


def _cluster_class(name: str) -> Any:
    if name == _LOCAL:
        from distributed import LocalCluster

        return LocalCluster
    module, _, attribute = name.rpartition(":")
    try:
        return getattr(import_module(module or "dask_jobqueue"), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"parallel.options.cluster: '{name}' is not a cluster class of dask_jobqueue ({error});"
            " expected local, SLURMCluster, PBSCluster, ..., or 'module:Class' of another"
        ) from None


def _check_options(kind: Any, options: DaskOptions) -> None:
    """Refuse options that nothing of the cluster takes, before any job is asked for."""
    known = set(type(options).model_fields)
    for part in _takers(kind):
        for taker in inspect.getmro(part):
            known |= set(inspect.signature(taker.__init__).parameters)  # type: ignore[misc]
    names = sorted(known - {"self", "args", "kwargs"})
    for name in options.model_extra or {}:
        if name not in known:
            raise UserError(
                f"parallel.options.{name}: unknown option of the {options.cluster} cluster of "
                f"dask; {nearest_name(name, names)}"
            )


def _takers(kind: Any) -> list[Any]:
    """Classes whose arguments a cluster's options are: its own and those of its workers."""
    if (job := getattr(kind, "job_cls", None)) is not None:
        return [kind, job]
    from distributed import Nanny, Worker

    return [kind, Nanny, Worker]
