"""Units of work: order, independence of the number of workers, and killed workers."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from distill.config import ParallelConfig
from distill.core.errors import UserError
from distill.core.executors import run_units


def square(x: int) -> int:
    return x * x


def die_once(unit: tuple[str, int]) -> int:
    marker = Path(unit[0]) / f"died-{unit[1]}"
    if unit[1] == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return unit[1]


def always_die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


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


def wait_for_ever(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def refuse(x: int) -> int:
    raise UserError(f"unit {x} is wrong")


def refuse_or_wait(x: int) -> int:
    if x == 0:
        time.sleep(600)
    return refuse(x)


@pytest.mark.parametrize("config", [{"backend": "serial"}, {"workers": 1}, {"workers": 2}])
def test_results_come_in_the_order_of_the_units(config):
    assert run_units(square, range(5), config=ParallelConfig(**config), label="x") == [
        0,
        1,
        4,
        9,
        16,
    ]


@pytest.mark.parametrize("backend", ["serial", "local", "dask", "parsl"])
def test_units_run_with_one_thread_and_the_caller_keeps_its_own(backend):
    if backend in ("dask", "parsl"):
        pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    before = os.environ.get("OMP_NUM_THREADS")
    config = ParallelConfig(backend=backend, workers=2)
    assert run_units(os.getenv, ["OMP_NUM_THREADS"] * 2, config=config, label="x") == ["1"] * 2
    assert os.environ.get("OMP_NUM_THREADS") == before


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


def test_a_unit_that_fails_ends_the_others_at_once():
    start = time.monotonic()
    with pytest.raises(UserError, match="unit 1 is wrong"):
        run_units(refuse_or_wait, [1, 0], config=ParallelConfig(workers=2), label="x")
    assert time.monotonic() - start < 60


def test_workers_end_with_a_killed_driver(tmp_path):
    """Otherwise they would wait for ever for more work and keep their memory."""
    command = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_executors as t\n"
        "config = t.ParallelConfig(workers=2)\n"
        "t.run_units(t.wait_for_ever, [sys.argv[2]] * 2, config=config, label='x')"
    )
    folder = str(Path(__file__).parent)
    driver = subprocess.Popen([sys.executable, "-c", command, folder, str(tmp_path)])
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    driver.kill()
    driver.wait()
    until(lambda: not any(running(int(path.name)) for path in tmp_path.iterdir()))


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        # An orphan that nobody reaps stays as a zombie.
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
    assert run_units(math.factorial, range(4), config=config, label="x") == [1, 1, 2, 6]


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
