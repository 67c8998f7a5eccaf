"""Drivers in processes of their own, and how tests wait for them and kill what they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def start_driver(
    out: Path, train: Path, *, what: str = "teacher", backend: str = "local"
) -> subprocess.Popen:
    """The stage on two workers, `what` being `teacher` or `driven`."""
    return subprocess.Popen(
        [sys.executable, HERE / "drive_stage.py", out, train, "2", what, backend],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_files(folder: Path, pattern: str, count: int) -> None:
    """Wait until a folder holds so many files of a pattern."""
    for _ in range(6000):
        if len(list(folder.glob(pattern))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} of {pattern}")


def kill_driver(driver: subprocess.Popen) -> None:
    """Kill a driver and its workers at once."""
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


def kill_a_worker(driver: subprocess.Popen) -> None:
    """Kill the first worker that a driver starts."""
    for _ in range(6000):
        workers = _workers(driver.pid)
        if workers:
            os.kill(workers[0], signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError("no worker started")


def _workers(pid: int) -> list[int]:
    import psutil

    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            # loky's workers; dask's, which give themselves a title once they run.
            if any(
                name in str(process.cmdline())
                for name in ("popen_loky_posix", "spawn_main", "dask worker")
            ):
                found.append(process.pid)
        except psutil.Error:  # ended since the list was made
            continue
    return found
