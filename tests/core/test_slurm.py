"""The executors on a SLURM cluster of one node, with the settings that the docs show."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager

import pytest
import yaml
from executor_tests import until
from executor_units import square, wait_for_the_end_of_the_job
from helpers import ROOT
from slurm_cluster import OneNode, why_not

from distill.core.errors import UserError
from distill.core.executors import ParallelConfig, dask_cluster, open_pool, parsl_pool, run_units

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=f"no SLURM: {why_not()}"),
]
CLUSTERS = ROOT / "configs" / "clusters"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    node = OneNode(tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in node.environment.items():
            patch.setenv(name, value)
        yield node
    node.end()


@pytest.fixture
def place(slurm, tmp_path, monkeypatch):
    """A folder with a virtual environment to work in, as on a login node; no job is left in it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_cluster, "_LOOK_S", 1.0)
    yield tmp_path
    if not until(lambda: not slurm.jobs(), 20):
        jobs = slurm.jobs()
        slurm.cancel()
        pytest.fail(f"jobs are left: {jobs}")


def dask_example(**options) -> ParallelConfig:
    """The example, with smaller jobs."""
    pytest.importorskip("dask_jobqueue", reason="the extra [dask] is not installed")
    section = yaml.safe_load((CLUSTERS / "dask_slurm.yaml").read_text())["parallel"]
    section["workers"] = 2
    section["options"] |= {"cores": 1, "processes": 1, "memory": "1GB"} | options
    return ParallelConfig.model_validate(section)


def parsl_example(folder, monkeypatch, changes=()) -> ParallelConfig:
    """The example, with smaller jobs whose end is noticed soon; `changes` of its text by text."""
    pytest.importorskip("parsl", reason="the extra [parsl] is not installed")
    monkeypatch.setattr("parsl.providers.SlurmProvider.status_polling_interval", 1)
    monkeypatch.setattr(parsl_pool, "_LOOK_S", 1.0)
    section = yaml.safe_load((CLUSTERS / "parsl_slurm.yaml").read_text())["parallel"]
    text = (CLUSTERS / "site_slurm.py").read_text()
    for name in ("max_workers_per_node", "cores_per_node"):
        assert f"{name}=16" in text
        text = text.replace(f"{name}=16", f"{name}=1")
    # A lost job is noticed after two minutes otherwise.
    label = 'label="nodes",'
    soon = {label: f"{label} heartbeat_period=1, heartbeat_threshold=5,"}
    soon["retries=2"] = "retries=2, strategy_period=1"
    for old, new in (soon | dict(changes)).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "site_slurm.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return ParallelConfig.model_validate(section | {"workers": 2})


@contextmanager
def once_begun(folder, act, *, ends=True):
    """Meanwhile, do something as soon as the first unit has begun, and let the units end."""

    def watch() -> None:
        while not (folder / "begun").exists() and not over.wait(0.1):
            pass
        try:
            if not over.is_set():
                act()
        except BaseException as error:
            failed.append(error)
        finally:
            if ends:
                (folder / "ended").touch()

    failed: list[BaseException] = []
    over = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]


def cancel(slurm, job: str) -> None:
    slurm.cancel(job)
    slurm.wait_for_the_end_of(job)


def end_the_time_of_all(slurm) -> list[str]:
    """Have the time limit of all jobs that run pass; their numbers."""
    jobs = slurm.jobs("running")
    for job in jobs:
        slurm.run("scontrol", "update", f"JobId={job}", "EndTime=now")
        slurm.wait_for_the_end_of(job)
    return jobs


def lose(slurm) -> list[str]:
    """Lose the node for a while; the numbers of the jobs that ran on it."""
    jobs = slurm.jobs("running")
    slurm.lose_the_node()
    assert until(lambda: not slurm.jobs("running,completing"), 30)
    slurm.find_the_node()
    return jobs


def test_dask_runs_the_example_and_replaces_cancelled_jobs(slurm, place, capfd):
    """Two calls in one pool; a job with two processes, which dask-jobqueue would not replace."""
    config = dask_example(cores=2, processes=2)
    units = [(str(place), n) for n in range(3)]
    with open_pool(config, place / "logs"):
        assert run_units(square, range(5), config=config, label="x") == [0, 1, 4, 9, 16]
        [first] = slurm.jobs()
        with once_begun(place, lambda: cancel(slurm, first)):
            results = run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
        assert results == [0, 1, 2]
        assert slurm.jobs() and first not in slurm.jobs()
    shown = capfd.readouterr()
    assert f"jobs that have ended: {first}; asking for others" in shown.out
    for name in ("distributed", "tornado", "Traceback"):
        assert name not in shown.out + shown.err
    assert {path.name for path in place.iterdir()} == {".venv", "begun", "ended", "logs"}
    assert (place / "logs" / "dask.log").exists()
    assert list((place / "logs").glob(f"*{first}.out"))


def test_dask_goes_on_in_new_jobs_when_their_time_is_over(slurm, place, capfd):
    """The normal end of the jobs of a long run."""
    config = dask_example()
    units = [(str(place), n) for n in range(4)]
    over: list[str] = []
    with (
        open_pool(config, place / "logs"),
        once_begun(place, lambda: over.extend(end_the_time_of_all(slurm))),
    ):
        results = run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
        assert over and not set(over) & set(slurm.jobs())
    assert results == [0, 1, 2, 3]
    shown = capfd.readouterr().out
    assert "jobs that have ended: " in shown and all(job in shown for job in over)


def test_dask_goes_on_when_the_node_of_its_jobs_is_lost(slurm, place, capfd):
    """SLURM puts its jobs back into the queue, where they have no workers."""
    config = dask_example()
    units = [(str(place), n) for n in range(2)]
    lost: list[str] = []
    with open_pool(config, place / "logs"), once_begun(place, lambda: lost.extend(lose(slurm))):
        results = run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
    assert results == [0, 1]
    assert lost


def test_dask_says_that_the_scheduler_is_away(slurm, place, capfd):
    config = dask_example()
    slurm.controller_goes_away()
    try:
        with pytest.raises(UserError, match="no job can be asked for: sbatch: error"):
            run_units(square, range(2), config=config, label="x")
    finally:
        slurm.controller_comes_back()
    assert "Traceback" not in capfd.readouterr().err


def test_dask_ends_where_no_job_ever_starts(slurm, place):
    """Cancelled jobs are replaced; jobs that wait for ever are waited for as long as was said."""
    slurm.run("scontrol", "update", "PartitionName=compute", "State=DOWN")
    config = dask_example(queue_time=4 / 3600)
    try:
        with pytest.raises(UserError, match=r"no worker for .* waiting for jobs"):
            run_units(square, range(2), config=config, label="x")
    finally:
        slurm.run("scontrol", "update", "PartitionName=compute", "State=UP")


def test_dask_says_why_a_job_is_refused(slurm, place):
    config = dask_example(queue="nowhere")
    with pytest.raises(UserError, match=r"no job can be asked for: sbatch: error: .*partition"):
        run_units(square, range(2), config=config, label="x")


def test_jobs_that_end_again_and_again_end_the_run(slurm, place):
    """As where the environment of the jobs is broken."""
    config = dask_example(job_script_prologue=["exit 1"])
    with pytest.raises(UserError, match="jobs have ended without a unit done, 2 units are left"):
        run_units(square, range(2), config=config, label="x")


def test_parsl_runs_the_example_and_survives_the_time_limit(slurm, place, monkeypatch, capfd):
    config = parsl_example(place, monkeypatch)
    units = [(str(place), n) for n in range(2)]
    over: list[str] = []
    with open_pool(config, place / "logs"):
        assert run_units(square, range(3), config=config, label="x") == [0, 1, 4]
        with once_begun(place, lambda: over.extend(end_the_time_of_all(slurm))):
            results = run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
        assert results == [0, 1]
        assert over and not set(over) & set(slurm.jobs())
    shown = capfd.readouterr()
    assert "parsl" not in shown.out + shown.err
    assert not (place / "runinfo").exists()
    assert list((place / "logs" / "parsl").rglob("*.sh"))


def test_parsl_goes_on_when_the_node_of_its_jobs_is_lost(slurm, place, monkeypatch):
    config = parsl_example(place, monkeypatch)
    units = [(str(place), n) for n in range(2)]
    lost: list[str] = []
    with open_pool(config, place / "logs"), once_begun(place, lambda: lost.extend(lose(slurm))):
        results = run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
    assert results == [0, 1]
    assert lost


def test_parsl_ends_where_no_further_job_starts(slurm, place, monkeypatch):
    """The jobs before had workers; the time is counted since these ended."""
    config = parsl_example(place, monkeypatch)
    units = [(str(place), n) for n in range(2)]

    def no_more_jobs() -> None:
        slurm.run("scontrol", "update", "PartitionName=compute", "State=DOWN")
        end_the_time_of_all(slurm)

    with open_pool(config, place / "logs") as pool:
        assert run_units(square, [2], config=config, label="x") == [4]
        pool.options = pool.options.model_copy(update={"queue_time": 8 / 3600})
        try:
            with (
                pytest.raises(UserError, match=r"no worker for .* waiting for the jobs of parsl"),
                once_begun(place, no_more_jobs, ends=False),
            ):
                run_units(wait_for_the_end_of_the_job, units, config=config, label="x")
        finally:
            slurm.run("scontrol", "update", "PartitionName=compute", "State=UP")


def test_parsl_ends_where_jobs_end_again_and_again(slurm, place, monkeypatch):
    """As where the environment of the jobs breaks amid a run."""
    init = 'worker_init="'
    changes = {init: f"{init}test ! -e broken || exit 1; ", "max_blocks=4": "max_blocks=1"}
    config = parsl_example(place, monkeypatch, changes)
    units = [(str(place), n) for n in range(2)]

    def break_it() -> None:
        (place / "broken").touch()
        end_the_time_of_all(slurm)

    with (
        pytest.raises(UserError, match="jobs have ended without a unit done, 2 units are left"),
        open_pool(config, place / "logs"),
        once_begun(place, break_it),
    ):
        run_units(wait_for_the_end_of_the_job, units, config=config, label="x")


def test_parsl_says_that_the_scheduler_is_away(slurm, place, monkeypatch, capfd):
    config = parsl_example(place, monkeypatch)
    slurm.controller_goes_away()
    try:
        with pytest.raises(UserError, match=r"parsl has no workers: .*sbatch: error"):
            run_units(square, range(2), config=config, label="x")
    finally:
        slurm.controller_comes_back()
    assert "Traceback" not in capfd.readouterr().err
    assert os.listdir(place)
