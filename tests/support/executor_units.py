"""Functions of one unit, in a module that every worker can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from distill.core.errors import UserError


def square(x: int) -> int:
    return x * x


def process_id(_: object) -> int:
    time.sleep(0.2)
    return os.getpid()


def die_once(unit: tuple[str, int]) -> int:
    """Kill the worker at unit 1, the first time."""
    marker = Path(unit[0]) / f"died-{unit[1]}"
    if unit[1] == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return unit[1]


def always_die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def refuse(x: int) -> int:
    raise UserError(f"unit {x} is wrong")


def refuse_odd(x: int) -> int:
    return refuse(x) if x % 2 else x


def refuse_or_wait(unit: tuple[str, int]) -> int:
    """Refuse unit 1; let any other leave a file after ten minutes."""
    folder, number = unit
    if number == 1:
        return refuse(number)
    time.sleep(600)
    (Path(folder) / "done").touch()
    return number


def wait_for_the_end_of_the_job(unit: tuple[str, int]) -> int:
    """Until the job was killed, then answer."""
    folder = Path(unit[0])
    (folder / "begun").touch()
    while not (folder / "ended").exists():
        time.sleep(0.1)
    return unit[1]
