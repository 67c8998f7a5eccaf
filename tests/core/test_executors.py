"""Units of work: order, independence of the number of workers, and killed workers."""

import contextlib
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from executor_tests import ExecutorContract, children, running, until
from executor_units import (
    always_die,
    die_once,
    process_id,
    refuse,
    refuse_or_wait,
    square,
    wait_for_ever,
    wait_for_the_end_of_the_job,
)

from distill.config import ParallelConfig, parse_config
from distill.core.errors import UserError
from distill.core.executors import EXECUTORS, open_pool, run_units

# What has to be installed for an executor.
NEEDED = {"dask": "distributed", "parsl": "parsl"}


def run_while_starting_workers_are_killed(delays: list[float]) -> None:
    """For each delay, run units while the first worker is killed so long after it appeared."""
    for delay in delays:
        over = threading.Event()
        killer = threading.Thread(target=kill_the_first_worker, args=(delay, over))
        killer.start()
        results = run_units(square, range(4), config=ParallelConfig(workers=2), label="x")
        over.set()
        killer.join()
        assert results == [0, 1, 4, 9]


def kill_the_first_worker(delay: float, over: threading.Event) -> None:
    while not over.is_set():
        for process in psutil.Process().children():
            try:
                if "popen_loky_posix" not in str(process.cmdline()):
                    continue
                time.sleep(delay)
                process.kill()
            except psutil.NoSuchProcess:
                continue
            return


class TestEveryExecutor(ExecutorContract):
    @pytest.fixture(scope="class", params=EXECUTORS.names())
    def parallel(self, request):
        pytest.importorskip(NEEDED.get(request.param, "loky"))
        return ParallelConfig(backend=request.param, workers=2)

    @pytest.fixture(autouse=True)
    def killed_workers_are_others(self, parallel):
        self.in_process = parallel.backend == "serial"


@pytest.mark.parametrize("config", [{"backend": "serial"}, {"workers": 1}, {"workers": 2}])
def test_results_come_in_the_order_of_the_units(config):
    assert run_units(square, range(5), config=ParallelConfig(**config), label="x") == [
        0,
        1,
        4,
        9,
        16,
    ]


def test_unit_of_a_killed_worker_runs_again(tmp_path, capsys):
    units = [(str(tmp_path), n) for n in range(4)]
    assert run_units(die_once, units, config=ParallelConfig(workers=2), label="x") == [0, 1, 2, 3]
    assert "a worker process was killed" in capsys.readouterr().out


def test_unit_that_always_kills_its_worker_is_an_error():
    with pytest.raises(UserError, match="was killed 3 times"):
        run_units(always_die, [0, 1], config=ParallelConfig(workers=2), label="x")


def test_a_worker_killed_while_others_start_stops_nothing():
    """The pool of the standard library waits for ever after some of these."""
    command = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_executors as t\n"
        "t.run_while_starting_workers_are_killed([1e-3 * n for n in range(12)])"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", command, folder], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # On a busy machine units can be done before their killer comes.
    assert done.stdout.count("a worker process was killed") > 6


def test_a_unit_that_fails_ends_the_others_at_once(tmp_path):
    units = [(str(tmp_path), 1), (str(tmp_path), 0)]
    with pytest.raises(UserError, match="unit 1 is wrong"):
        run_units(refuse_or_wait, units, config=ParallelConfig(workers=2), label="x")
    assert not list(tmp_path.iterdir())


def test_workers_end_with_a_killed_driver(tmp_path):
    """Otherwise they would wait for ever for more work and keep their memory."""
    command = (
        "import sys; from executor_units import wait_for_ever\n"
        "from distill.core.executors import ParallelConfig, run_units\n"
        "config = ParallelConfig(workers=2)\n"
        "run_units(wait_for_ever, [sys.argv[1]] * 2, config=config, label='x')"
    )
    driver = subprocess.Popen([sys.executable, "-c", command, str(tmp_path)])
    assert until(lambda: len(list(tmp_path.iterdir())) == 2)
    driver.kill()
    driver.wait()
    assert until(lambda: not any(running(int(path.name)) for path in tmp_path.iterdir()))


def test_errors_of_a_unit_reach_the_caller():
    with pytest.raises(UserError, match="unit 1 is wrong"):
        run_units(refuse, [1, 1], config=ParallelConfig(workers=2), label="x")


def test_no_units_is_no_work():
    assert run_units(square, [], config=ParallelConfig(), label="x") == []


def test_unit_of_a_killed_dask_worker_runs_again(tmp_path):
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    units = [(str(tmp_path), n) for n in range(4)]
    config = ParallelConfig(backend="dask", workers=2)
    assert run_units(die_once, units, config=config, label="x") == [0, 1, 2, 3]
    assert (tmp_path / "died-1").exists()


def kill_while_starting(folder: Path, times: int) -> ParallelConfig:
    """A dask cluster whose only worker is killed in each of its first starts."""
    preload = folder / "preload.py"
    preload.write_text(
        "import os, signal, pathlib\n"
        f"log = pathlib.Path({str(folder / 'starts')!r})\n"
        "with log.open('a') as handle:\n    handle.write('x')\n"
        f"if len(log.read_text()) <= {times}:\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return ParallelConfig(backend="dask", workers=1, options={"preload": [str(preload)]})


def test_a_dask_worker_killed_while_it_starts_is_started_again(tmp_path, capsys):
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    config = kill_while_starting(tmp_path, times=1)
    assert run_units(square, range(3), config=config, label="x") == [0, 1, 4]
    assert "a worker process was killed" in capsys.readouterr().out


def test_a_dask_worker_killed_in_every_start_is_an_error(tmp_path):
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    config = kill_while_starting(tmp_path, times=99)
    with pytest.raises(UserError, match="was killed 3 times with 2 units left"):
        run_units(square, range(2), config=config, label="x")
    assert (tmp_path / "starts").read_text() == "xxx"


def test_a_unit_that_always_kills_its_dask_worker_is_an_error():
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    config = ParallelConfig(backend="dask", workers=1)
    with pytest.raises(UserError, match="was killed 3 times with 1 units left"):
        run_units(always_die, [0], config=config, label="x")


def test_a_dask_worker_that_cannot_start_says_why(tmp_path):
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    preload = tmp_path / "preload.py"
    preload.write_text("import nowhere\n")
    config = ParallelConfig(backend="dask", workers=1, options={"preload": [str(preload)]})
    with pytest.raises(UserError, match=r"No module named 'nowhere'.*parallel\.options"):
        run_units(square, range(2), config=config, label="x")


def test_parsl_gives_the_same_results():
    pytest.importorskip("parsl", reason="the extra [parsl] is not installed")
    config = ParallelConfig(backend="parsl", workers=2)
    path = os.environ["PATH"]
    assert run_units(math.factorial, range(4), config=config, label="x") == [1, 1, 2, 6]
    assert os.environ["PATH"] == path


@pytest.mark.parametrize(
    ("backend", "options", "words"),
    [
        ("dask", {"cluster": "NoCluster"}, "is not a cluster class"),
        ("parsl", {"config": "nowhere:config"}, "expected 'module:name'"),
    ],
)
def test_wrong_cluster_options_are_explained(backend, options, words):
    pytest.importorskip("parsl" if backend == "parsl" else "dask_jobqueue")
    config = ParallelConfig(backend=backend, options=options)
    with pytest.raises(UserError, match=words):
        run_units(square, range(2), config=config, label="x")


def processes(config: ParallelConfig, units: int) -> set[int]:
    return set(run_units(process_id, range(units), config=config, label="x"))


def test_calls_inside_a_pool_share_its_workers():
    config = ParallelConfig(workers=2)
    with open_pool(config):
        shared = processes(config, 6) | processes(config, 6)
    apart = processes(config, 6), processes(config, 6)
    assert len(shared) == 2
    assert os.getpid() not in shared
    assert not apart[0] & apart[1]


def test_a_pool_serves_calls_of_its_own_config_only():
    config, other = ParallelConfig(workers=2), ParallelConfig(workers=3)
    with open_pool(config) as executor:
        first = processes(config, 6)
        with open_pool(ParallelConfig(workers=2)) as same:
            assert same is executor
        with open_pool(other) as another:
            assert another is not executor
        assert not processes(other, 6) & first
        assert processes(config, 6) <= first


@pytest.mark.parametrize(("backend", "name"), [("local", "popen_loky"), ("dask", "dask worker")])
def test_no_more_workers_are_asked_for_than_there_are_units(backend, name):
    pytest.importorskip(NEEDED.get(backend, "loky"))
    config = ParallelConfig(backend=backend, workers=3)

    def workers() -> int:
        return sum(name in line for line in children())

    with open_pool(config):
        run_units(square, range(2), config=config, label="x")
        assert workers() == 2
        run_units(square, range(6), config=config, label="x")
        assert until(lambda: workers() == 3)


def test_nothing_starts_in_a_pool_without_units():
    with open_pool(ParallelConfig(workers=2)):
        assert children() == []


def test_a_unit_that_workers_cannot_read_is_no_killed_worker(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def unit(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    from only_here import unit

    (tmp_path / "only_here.py").unlink()
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    with pytest.raises(UserError, match="No module named 'only_here'"):
        run_units(unit, range(2), config=ParallelConfig(workers=2), label="x")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"backend": "dsk"}, r"parallel\.backend: there is no executor 'dsk': did you mean 'dask'"),
        (
            {"options": {"cluster": "x"}},
            "unknown option 'cluster' of the executor local; it has",
        ),
        ({"backend": "serial", "options": {"a": 1}}, "unknown option 'a' of the executor serial"),
        ({"backend": "parsl", "options": {"config": 3}}, "option 'config' of the executor parsl"),
        ({"workers": 0}, r"parallel\.workers"),
    ],
)
def test_wrong_sections_are_refused_when_they_are_read(section, words):
    with pytest.raises(UserError, match=words):
        parse_config({"parallel": section}, "x.yaml")


@pytest.mark.parametrize(
    ("backend", "options", "words"),
    [
        ("dask", {"clster": "local"}, r"parallel\.options\.clster: .*did you mean 'cluster'"),
        ("dask", {"cluster": "SLURMCluster", "quue": "a"}, "did you mean 'queue'"),
        ("parsl", {"retrys": 1}, "did you mean 'retries'"),
        ("parsl", {"config": "site_of_mine:config", "retries": 1}, "config says it all"),
    ],
)
def test_misspelt_options_are_refused_before_anything_starts(backend, options, words, parsl_site):
    pytest.importorskip(NEEDED[backend])
    with (
        pytest.raises(UserError, match=words),
        open_pool(ParallelConfig(backend=backend, options=options)),
    ):
        pass


@pytest.fixture
def parsl_site(tmp_path, monkeypatch):
    """A module with a parsl configuration, and with a function that makes one."""
    (tmp_path / "site_of_mine.py").write_text(
        "from parsl.config import Config\n"
        "from parsl.executors import HighThroughputExecutor\n"
        "def made():\n"
        "    return Config(executors=[HighThroughputExecutor(max_workers_per_node=2)],\n"
        f"        run_dir={str(tmp_path / 'runs')!r}, initialize_logging=False)\n"
        "config = made()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("backend", ["serial", "local"])
def test_a_unit_over_its_time_ends_the_run_and_its_worker(backend, tmp_path):
    config = ParallelConfig(backend=backend, workers=2, timeout=0.5)
    units = [str(tmp_path)] * 2
    with pytest.raises(UserError, match=r"takes longer than parallel\.timeout \(0\.5 s\)"):
        run_units(wait_for_ever, units, config=config, label="x")
    hung = {int(path.name) for path in tmp_path.iterdir()} - {os.getpid()}
    assert until(lambda: not any(map(running, hung)))


def test_units_within_their_time_answer_as_without_a_limit():
    config = ParallelConfig(workers=2, timeout=600)
    assert run_units(square, range(4), config=config, label="x") == [0, 1, 4, 9]
    with pytest.raises(UserError, match="unit 1 is wrong"):
        run_units(refuse, [1, 1], config=config, label="x")
    serial = ParallelConfig(backend="serial", timeout=600)
    assert run_units(os.getenv, ["OMP_NUM_THREADS"], config=serial, label="x") == ["1"]


@pytest.mark.parametrize("name", ["config", "made"])
def test_a_parsl_configuration_starts_as_often_as_it_is_needed(name, parsl_site):
    """A Config object can be started once, so that a second pool ended in an error of parsl."""
    pytest.importorskip("parsl", reason="the extra [parsl] is not installed")
    config = ParallelConfig(backend="parsl", options={"config": f"site_of_mine:{name}"})
    for _ in range(2):
        assert run_units(square, range(3), config=config, label="x") == [0, 1, 4]


@pytest.mark.parametrize(("look_s", "lost_s"), [(0.5, 15), (3.0, 15), (3.0, 1)])
def test_jobs_that_end_are_asked_for_again(look_s, lost_s, tmp_path, monkeypatch, capsys):
    """As all do at their time limit, between two looks too: nobody waits for what is gone.

    dask forgets a job `lost_s` seconds after its worker was lost.
    """
    pytest.importorskip("dask_jobqueue", reason="the extra [dask] is not installed")
    import dask

    from distill.core.executors import dask_cluster

    monkeypatch.setattr(dask_cluster, "_LOOK_S", look_s)
    options = {"cluster": "dask_jobqueue.local:LocalCluster", "cores": 1, "memory": "1GB"}
    config = ParallelConfig(backend="dask", options=options)
    over = threading.Event()
    killer = threading.Thread(target=end_the_job, args=(tmp_path, over))
    killer.start()
    units = [(str(tmp_path), n) for n in range(3)]
    with dask.config.set({"distributed.deploy.lost-worker-timeout": f"{lost_s}s"}):
        assert run_units(wait_for_the_end_of_the_job, units, config=config, label="x") == [0, 1, 2]
    over.set()
    killer.join()
    assert "jobs that have ended" in capsys.readouterr().out


def end_the_job(folder: Path, over: threading.Event) -> None:
    """Kill the job, nanny and worker, when its first unit has begun."""
    while not (folder / "begun").exists() and not over.wait(0.1):
        pass
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "dask" in " ".join(process.cmdline()):
                process.kill()
    (folder / "ended").touch()
