"""Units of work on a dask cluster: of this machine, or of jobs of a batch system."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

from pydantic import Field

from distill.core.config import Section
from distill.core.errors import UserError, nearest_name
from distill.core.executors.batch_jobs import BatchJobs
from distill.core.executors.executor import (
    ATTEMPTS,
    JOB_ATTEMPTS,
    Done,
    Executor,
    GaveUp,
    Result,
    Unit,
    WorkersLost,
)
from distill.core.executors.library_logs import logs_into
from distill.core.executors.one_thread import available_cores, run_alone
from distill.core.executors.patience import ClusterOptions

_LOCAL = "local"
# Seconds between two looks at the workers, and how many looks without a single worker, where there
# was one, mean that a cluster of other kinds than dask-jobqueue has lost them.
_LOOK_S, _LOOKS = 15.0, 3
_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.gc",
    "tornado",
    "tornado.application",
    "dask",
    "dask_jobqueue",
    "asyncio",
)


class DaskOptions(ClusterOptions):
    """Options of a dask cluster."""

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
        self._kind = _cluster_class(self.options.cluster)
        _check_options(self._kind, self.options)
        self._open = ExitStack()
        self._cluster: Any = None
        self._client: Any = None
        self._crew: Any = None

    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result."""
        from distributed import KilledWorker

        self._provide(min(self.workers or self._most_workers(), len(units)))
        # Not by the client's executor: that one ends in an error of its own where a worker is lost
        # between the end of its unit and the transfer of the result.
        mapped = self._client.map(partial(run_alone, function), list(units), pure=False)
        futures = dict(enumerate(mapped))
        del mapped  # a future that nobody holds lets its worker forget the result
        ended: SimpleQueue[int] = SimpleQueue()
        for index, future in futures.items():
            future.add_done_callback(partial(_note, ended, index))
        progress, next_look = False, time.monotonic() + _LOOK_S
        while futures:
            try:
                index = ended.get(timeout=max(next_look - time.monotonic(), 0.0))
                # A result that was lost with its worker is made again meanwhile.
                result = futures[index].result(timeout=_LOOK_S)
            except Empty:
                pass
            except KilledWorker:
                raise GaveUp(self._crew.gave_up) from None
            except TimeoutError:
                if futures[index].status == "error":
                    raise
                ended.put(index)
            else:
                del futures[index]
                progress = True
                yield index, result
            if time.monotonic() >= next_look:
                self._crew.look(progress=progress, units=len(futures))
                progress, next_look = False, time.monotonic() + _LOOK_S

    def _most_workers(self) -> int:
        return available_cores() if self.options.cluster == _LOCAL else 1

    def _provide(self, size: int) -> None:
        """Have a cluster with at least so many workers, or with as many asked for."""
        from dask.config import set as dask_options
        from distributed import Client

        if self._cluster is None:
            self._open.enter_context(logs_into(self.logs, "dask", *_LOGGERS))
            options = dict(self.options.model_extra or {})
            of_jobs = hasattr(self._kind, "job_cls")
            if of_jobs and self.logs is not None:
                options = {"log_directory": str(self.logs), "silence_logs": False, **options}
            attempts = JOB_ATTEMPTS if of_jobs else ATTEMPTS
            with dask_options({"distributed.scheduler.allowed-failures": attempts - 1}):
                cluster = self._started(size, options)
            self._cluster = self._open.enter_context(cluster)
            self._client = self._open.enter_context(Client(cluster))
            self._crew = (
                BatchJobs(cluster, _LOOK_S, self.options.queue_time) if of_jobs else _Crew(cluster)
            )
        self._crew.ask_for(size)

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
        self._cluster = self._client = self._crew = None
        self._open.close()


class _Crew:
    """The workers of a cluster that replaces them itself."""

    gave_up = ""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self._wanted = cluster, 0
        self._seen, self._looks = False, 0

    def ask_for(self, workers: int) -> None:
        """Have at least so many workers."""
        self._wanted = max(self._wanted, workers)
        self._cluster.scale(self._wanted)

    def look(self, *, progress: bool, units: int) -> None:
        """Ask for lost workers again; `WorkersLost` where the cluster does not give any."""
        there = bool(self._cluster.scheduler_info["workers"])
        self._seen = self._seen or there
        self._looks = 0 if progress or there or not self._seen else self._looks + 1
        if self._looks == _LOOKS:
            raise WorkersLost
        self._cluster.scale(self._wanted)


def _note(ended: SimpleQueue[int], index: int, _: Any) -> None:
    ended.put(index)


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
