"""Independent units of work on local processes, dask or parsl, behind one function."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from distill.core.config import ParallelConfig
from distill.core.errors import UserError
from distill.core.progress import progress, say

Unit = TypeVar("Unit")
Result = TypeVar("Result")
ATTEMPTS = 3
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class _KilledTooOften(BrokenExecutor):
    """An executor that restarts workers itself has given up."""


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    whose worker was killed while it started. Resuming is the caller's: a
    unit writes its own file, and units whose file is there are not passed in.

    Parameters
    ----------
    function
        Picklable function of one unit; it runs with one thread.
    units
        Picklable values.
    config
        Which executor and how many workers.
    label
        Shown with the progress.

    Raises
    ------
    UserError
        If a worker is killed three times on the same unit, or the executor is not installed or
        does not start.
    """
    if not units:
        return []
    if config.backend == "serial" or (config.backend == "local" and _workers(config, units) == 1):
        with _single_thread():
            return [function(unit) for unit in progress(units, label, unit="units")]
    results: dict[int, Result] = {}
    events = _completed(function, units, results, config)
    for _ in progress(events, label, total=len(units), unit="units"):
        pass
    return [results[index] for index in range(len(units))]


def _completed(
    function: Callable[[Unit], Result],
    units: Sequence[Unit],
    results: dict[int, Result],
    config: ParallelConfig,
) -> Iterator[int]:
    """Fill `results`, yielding an index for each finished unit; restart a broken executor."""
    for attempt in range(1, ATTEMPTS + 1):
        waiting = [index for index in range(len(units)) if index not in results]
        try:
            with _executor(config, len(waiting)) as executor:
                futures: dict[Future[Result], int] = {
                    executor.submit(_alone, function, units[index]): index for index in waiting
                }
                for future in as_completed(futures):
                    index = futures[future]
                    results[index] = future.result()
                    yield index
            return
        except BrokenExecutor as error:
            left = len(units) - len(results)
            if attempt == ATTEMPTS or isinstance(error, _KilledTooOften):
                raise UserError(
                    f"a worker process was killed {ATTEMPTS} times with {left} units left; the "
                    "machine may be out of memory: lower parallel.workers, then run again"
                ) from None
            say(f"a worker process was killed; starting its unit again ({left} units left)")


def _alone(function: Callable[[Unit], Result], unit: Unit) -> Result:
    """One unit in a worker; schedulers start workers in environments of their own."""
    with _single_thread():
        return function(unit)


@contextmanager
def _executor(config: ParallelConfig, n_units: int) -> Iterator[Executor]:
    if config.backend == "local":
        with _local(min(_workers(config, range(n_units)), n_units)) as executor:
            yield executor
    elif config.backend == "dask":
        with _dask(config) as executor:
            yield executor
    else:
        with _parsl(config) as executor:
            yield executor


def _workers(config: ParallelConfig, units: Sequence[Any]) -> int:
    return min(config.workers or available_cores(), len(units))


@contextmanager
def _local(workers: int) -> Iterator[Executor]:
    """Local processes of loky; an error, as Ctrl-C, ends the units that are running.

    The pool of the standard library can wait for ever when a worker is killed while others start.
    """
    from loky import ProcessPoolExecutor
    from loky.backend.context import LokyContext

    executor = ProcessPoolExecutor(
        workers,
        # joblib carries a loky of its own, which takes the same name among Python's contexts.
        context=LokyContext(),
        env=dict.fromkeys(THREAD_VARIABLES, "1"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    finished = False
    try:
        yield executor
        finished = True
    finally:
        executor.shutdown(wait=True, kill_workers=not finished)


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


@contextmanager
def _single_thread() -> Iterator[None]:
    """Run with one thread, as workers do: sums over threads would round differently."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with _thread_variables(), threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


@contextmanager
def _thread_variables() -> Iterator[None]:
    """Set the variables that numerical libraries read when they load."""
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _dask(config: ParallelConfig) -> Iterator[Executor]:
    try:
        from dask.config import set as dask_options
        from distributed import Client, KilledWorker
    except ImportError:
        raise UserError("parallel.backend is dask: install it with the extra [dask]") from None
    options = dict(config.options)
    name = options.pop("cluster", "local")
    try:
        with (
            dask_options({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}),
            _dask_cluster(name, config.workers, options) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
    except KilledWorker as error:
        raise _KilledTooOften(str(error)) from None


def _dask_cluster(name: str, workers: int | None, options: dict[str, Any]) -> Any:
    """A local cluster, or one of a class of dask-jobqueue."""
    if name == "local":
        return _dask_local(workers or available_cores(), options)
    import dask_jobqueue

    if not hasattr(dask_jobqueue, name):
        raise UserError(
            f"parallel.options.cluster: '{name}' is not a cluster class of dask_jobqueue; "
            "expected local, SLURMCluster, PBSCluster, ..."
        )
    cluster = getattr(dask_jobqueue, name)(**options)
    cluster.scale(workers or 1)
    return cluster


def _dask_local(workers: int, options: dict[str, Any]) -> Any:
    """A local cluster of dask, all of its workers started.

    Raises
    ------
    BrokenExecutor
        If a worker was killed meanwhile.
    UserError
        If it cannot start for another reason.
    """
    from distributed import LocalCluster

    try:
        return LocalCluster(n_workers=workers, threads_per_worker=1, **options)
    except RuntimeError as error:
        # dask wraps what went wrong; behind the end of a process it has nothing but its own words.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, RuntimeError):
            raise BrokenExecutor(str(cause)) from None
        raise UserError(
            f"parallel: dask's local cluster does not start: {type(cause).__name__}: {cause}; "
            "look at parallel.options"
        ) from None


@contextmanager
def _parsl(config: ParallelConfig) -> Iterator[Executor]:
    try:
        import parsl
        from parsl.concurrent import ParslPoolExecutor
    except ImportError:
        raise UserError("parallel.backend is parsl: install it with the extra [parsl]") from None
    # parsl starts its helpers by name; they lie beside the interpreter, active environment or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    options = dict(config.options)
    name = options.pop("config", None)
    if name is None:
        from parsl.executors import HighThroughputExecutor

        workers = config.workers or available_cores()
        options = {
            "retries": ATTEMPTS - 1,
            "run_dir": tempfile.mkdtemp(prefix="parsl-"),
            "initialize_logging": False,
            **options,
        }
        parsl_config = parsl.Config(
            executors=[HighThroughputExecutor(max_workers_per_node=workers)], **options
        )
    else:
        import importlib

        module, _, attribute = str(name).partition(":")
        try:
            parsl_config = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"parallel.options.config: expected 'module:name' of a parsl Config, found "
                f"'{name}': {error}"
            ) from None
    with ParslPoolExecutor(parsl_config) as executor:
        yield executor
