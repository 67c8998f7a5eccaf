"""Jobs of dask-jobqueue: asked for, watched, and asked for again when they have ended.

dask-jobqueue asks once: a job that ends (at its time limit, cancelled, with its node) is not
replaced where it has more than one process, and an error of the batch system goes to a log.
"""

from __future__ import annotations

import math
import subprocess
from typing import Any

from distill.core.errors import UserError
from distill.core.executors.executor import ATTEMPTS, JOB_ATTEMPTS, GaveUp
from distill.core.executors.patience import Patience
from distill.core.progress import format_duration, say

# Looks without any worker of a job that had some before the job counts as ended, where the batch
# system does not say so.
_LOOKS = 4
# Seconds without any worker, while no job can be asked for, after which the run ends.
_AWAY_S = 600.0


class BatchJobs:
    """The jobs of one cluster of dask-jobqueue.

    Parameters
    ----------
    cluster
        A started `JobQueueCluster`.
    look_s
        Seconds between two looks.
    hours
        Without any worker, after which the run ends.
    """

    gave_up = (
        f"a unit was started {JOB_ATTEMPTS} times, and its worker or its job ended each time: it "
        "may need more memory or time (walltime) than a job has; look into the files of the jobs"
    )

    def __init__(self, cluster: Any, look_s: float, hours: float) -> None:
        self._cluster, self._look_s = cluster, look_s
        self._patience = Patience(look_s, hours)
        self._wanted = 0
        # Names of all workers that ever came: one may come and go between two looks.
        self._came = _names_of_workers(cluster)
        self._unseen: dict[str, int] = {}  # looks since a worker of a job was there, by job
        self._numbers: dict[str, str] = {}  # of the batch system, by job
        self._ended = 0  # jobs since a unit was done
        self._away_s = 0.0

    def ask_for(self, workers: int) -> None:
        """Have jobs of at least so many workers asked for.

        Raises
        ------
        UserError
            If the batch system refuses them or does not answer.
        """
        each = self._cluster._dummy_job.worker_processes
        self._wanted = max(self._wanted, math.ceil(workers / each))
        if reason := self._submit():
            raise UserError(
                f"parallel: no job can be asked for: {reason}; look at parallel.options and "
                "whether the batch system answers, then run the same command again"
            )

    def look(self, *, progress: bool, units: int) -> None:
        """Replace jobs that have ended.

        Parameters
        ----------
        progress
            Whether a unit was done since the last look.
        units
            How many are left.

        Raises
        ------
        GaveUp
            If jobs end again and again without a unit done.
        UserError
            If no jobs can be had.
        """
        if progress:
            self._ended = 0
        there = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        ended = self._ended_jobs({str(name) for name in there})
        if ended:
            numbers = ", ".join(sorted(self._numbers[name] for name in ended))
            say(f"jobs that have ended: {numbers}; asking for others ({units} units left)")
            self._remove(ended)
            self._ended += len(ended)
            if self._ended > ATTEMPTS * self._wanted:
                raise GaveUp(
                    f"{self._ended} jobs have ended without a unit done, {units} units are left: "
                    "look into the files of the jobs; a unit may need more time (walltime) or "
                    "memory than a job has"
                )
        reason = self._submit()
        self._away_s = self._away_s + self._look_s if reason and not there else 0.0
        if self._away_s >= _AWAY_S:
            raise UserError(
                f"parallel: no job can be asked for since {format_duration(self._away_s)}: "
                f"{reason}; run the same command again when the batch system answers"
            )
        asked = sorted(str(job.job_id) for job in self._cluster.workers.values())
        waiting_for = f"the batch system ({reason})" if reason else f"jobs {', '.join(asked)}"
        self._patience.look(there=bool(there), waiting_for=waiting_for)

    def _submit(self) -> str | None:
        """Ask for the jobs that are missing; why it cannot be done, None where it can."""
        specifications = self._cluster.worker_spec
        missing = self._wanted - len(specifications)
        if missing <= 0:
            return None
        for _ in range(missing):
            specifications.update(self._cluster.new_worker_spec())
        reason = None
        try:
            self._cluster.sync(_settled, self._cluster)
        except (RuntimeError, ValueError, OSError) as error:
            # The command's own words are the last lines.
            reason = str(error).strip().splitlines()[-1]
        from distributed.core import Status

        unborn = [name for name, job in self._cluster.workers.items() if job.job_id is None]
        for name in unborn:
            # dask refuses to close a cluster one of whose jobs is about to start.
            self._cluster.workers[name].status = Status.failed
        self._remove(unborn)
        self._numbers |= {name: str(job.job_id) for name, job in self._cluster.workers.items()}
        return reason

    def _ended_jobs(self, workers: set[str]) -> list[str]:
        queued = self._queued()
        # dask itself lets go of a job some time after its worker is lost, and asks for no other.
        ended = [name for name in self._numbers if name not in self._cluster.workers]
        for name, job in self._cluster.workers.items():
            if _is_of(name, workers):
                self._unseen[name] = 0
            elif _is_of(name, self._came):
                self._unseen[name] = self._unseen.get(name, 0) + 1
            gone = queued is not None and str(job.job_id) not in queued
            if gone or self._unseen.get(name, 0) >= _LOOKS:
                ended.append(name)
        return ended

    def _queued(self) -> set[str] | None:
        """Numbers of the user's jobs that wait or run; None where nothing says so."""
        if not str(self._cluster.job_cls.cancel_command).startswith("scancel"):
            return None
        command = ["squeue", "--me", "--noheader", "--format=%A"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return set(done.stdout.split()) if done.returncode == 0 else None

    def _remove(self, names: list[str]) -> None:
        if names:
            self._cluster.sync(self._cluster.scale_down, names)
        for name in names:
            self._unseen.pop(name, None)
            self._numbers.pop(name, None)
            # The next job may have the name, and its workers have yet to come.
            self._came.difference_update([w for w in tuple(self._came) if _is_of(name, {w})])


def _is_of(job: object, workers: set[str]) -> bool:
    """Whether one of some workers is a job's."""
    return any(worker == str(job) or worker.startswith(f"{job}-") for worker in tuple(workers))


def _names_of_workers(cluster: Any) -> set[str]:
    """Names of all workers that come to a cluster's scheduler, from now on."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    names: set[str] = set()

    class Came(SchedulerPlugin):
        def add_worker(self, scheduler: Any, worker: str) -> None:
            names.add(str(scheduler.workers[worker].name))

    cluster.scheduler.add_plugin(Came())
    return names


async def _settled(cluster: Any) -> None:
    """Start what a cluster's specification names, and end what it does not; raises its errors."""
    await cluster
