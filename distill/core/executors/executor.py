"""What an executor is: the interface of every place where units of work run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from distill.core.config import Section
from distill.core.registry import Registry

Unit = TypeVar("Unit")
Result = TypeVar("Result")
# Places and results of units, as they are done.
Done: TypeAlias = Generator[tuple[int, Result], None, None]

EXECUTORS: Registry[type[Executor]] = Registry(
    "executor",
    "distill.executors",
    {
        "serial": "distill.core.executors.in_process:InProcess",
        "local": "distill.core.executors.local_processes:LocalProcesses",
        "dask": "distill.core.executors.dask_cluster:DaskCluster",
        "parsl": "distill.core.executors.parsl_pool:ParslPool",
    },
)
# How often a unit is started whose worker is killed each time.
ATTEMPTS = 3
# The same where its worker's job ends each time, as all jobs do at their time limit: a unit that is
# half as long as a job meets its end every other time.
JOB_ATTEMPTS = 9


class WorkersLost(Exception):
    """Workers were killed, and the executor with them: it has to be started again."""


class GaveUp(Exception):
    """An executor that starts units of killed workers again itself has done so often enough.

    Its text, if any, says what happened and what to do.
    """


class NoOptions(Section):
    """No options."""


class Executor(ABC):
    """Workers that run independent units, each unit with one thread.

    Making one checks its options; workers start with the first `map` that needs them, as many as it
    has units at most, and stay for those that follow.

    Parameters
    ----------
    workers
        How many; as many as the executor thinks best if None.
    options
        Of its `Options`.

    Attributes
    ----------
    logs
        Folder for what its library and its jobs say; None where there is no run folder.
    """

    Options: ClassVar[type[Section]] = NoOptions
    logs: Path | None = None

    def __init__(self, workers: int | None, options: Section) -> None:
        self.workers, self.options = workers, options

    @abstractmethod
    def map(self, function: Callable[[Unit], Result], units: Sequence[Unit]) -> Done[Result]:
        """Each unit's place and result, as they are done; what a unit raises is raised.

        Raises
        ------
        WorkersLost, GaveUp
            If workers were killed.
        """

    @abstractmethod
    def close(self, *, abandon: bool = False) -> None:
        """End all workers, with `abandon` amid their units; a later `map` starts new ones."""


def start_executor(backend: str, workers: int | None, options: dict[str, Any]) -> Executor:
    """An executor by name, with its options checked.

    Raises
    ------
    UserError
        If it is unknown, not installed, or its options cannot work.
    """
    member = EXECUTORS.load(backend)
    return member(workers, member.Options.model_validate(options))
