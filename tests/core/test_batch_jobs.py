"""Jobs of dask-jobqueue on a cluster that gives the same name to one after the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


class OneName:
    """What `BatchJobs` asks of a cluster; every job of it is called `job-0`."""

    _dummy_job = SimpleNamespace(worker_processes=1)
    job_cls = SimpleNamespace(cancel_command="none")

    def __init__(self) -> None:
        self.worker_spec: dict[str, Any] = {}
        self.workers: dict[str, Any] = {}
        self.scheduler_info: dict[str, Any] = {"workers": {}}
        self.scheduler = SimpleNamespace(add_plugin=self._plugged, workers={})
        self.submitted = 0

    def _plugged(self, plugin: Any) -> None:
        self._plugin = plugin

    def new_worker_spec(self) -> dict[str, Any]:
        return {"job-0": {}}

    def sync(self, function: Any, *arguments: Any) -> None:
        if function == self.scale_down:
            function(*arguments)
            return
        for name in self.worker_spec.keys() - self.workers.keys():
            self.submitted += 1
            self.workers[name] = SimpleNamespace(job_id=self.submitted)

    def scale_down(self, names: list[str]) -> None:
        for name in names:
            self.worker_spec.pop(name, None)
            self.workers.pop(name, None)

    def a_worker_comes(self) -> None:
        worker = SimpleNamespace(name="job-0-0")
        self.scheduler.workers["address"] = worker
        self.scheduler_info["workers"]["address"] = {"name": worker.name}
        self._plugin.add_worker(self.scheduler, "address")

    def the_worker_goes(self) -> None:
        self.scheduler_info["workers"].clear()


def test_a_job_that_waits_has_not_ended_because_the_one_before_had_its_name():
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    from distill.core.executors.batch_jobs import BatchJobs

    cluster = OneName()
    jobs = BatchJobs(cluster, look_s=1.0, hours=1.0)
    jobs.ask_for(1)
    cluster.a_worker_comes()
    jobs.look(progress=True, units=3)
    cluster.the_worker_goes()
    for _ in range(6):
        jobs.look(progress=False, units=3)
    assert cluster.submitted == 2
    for _ in range(50):
        jobs.look(progress=False, units=3)
    assert cluster.submitted == 2
    cluster.a_worker_comes()
    jobs.look(progress=False, units=3)
    cluster.the_worker_goes()
    for _ in range(6):
        jobs.look(progress=False, units=3)
    assert cluster.submitted == 3
