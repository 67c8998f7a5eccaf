"""Runs of the command line in forks of one process that has imported everything.

Each request is a line on stdin: the arguments of `distill`, a folder, and a signal with the number
of the change below this folder (a file opened for writing, renamed or removed, a folder made) at
which the fork sends it to its group; number 0 sends none. The answer is a line with the exit code,
negative for a signal, and the number of changes seen.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path

_IMPORTED = (
    "ase.io",
    "mace.calculators",
    "mace.modules",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "torch",
    "distill.cli.app",
    "distill.compare.compare_stage",
    "distill.models.mace.adapter",
    "distill.report.report",
    "distill.sampling.sampling_stage",
    "distill.student.engine",
    "distill.teacher.teacher_stage",
)
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


class _Changes:
    """Counts changes of a folder, and sends this process's group a signal at one of them."""

    def __init__(self, folder: str, number: int, sign: int) -> None:
        self.folder, self.number, self.sign = folder, number, sign
        self.count = 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, (str, bytes, os.PathLike)) and self.folder in os.fsdecode(path):
            self.count += 1
            if self.count == self.number:
                os.killpg(os.getpid(), self.sign)


def _run(request: dict, answers: int) -> None:
    from distill.cli.app import exit_code

    os.setsid()
    # What a run starts may change or read the pipe that the requests come through.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    changes = _Changes(request["folder"], request["number"], request["signal"])
    sys.addaudithook(changes)
    try:
        code = exit_code(request["arguments"])
    except KeyboardInterrupt:
        code = 130
    os.write(answers, str(changes.count).encode())
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    """Answer requests until there are no more."""
    with redirect_stdout(sys.stderr):
        for name in _IMPORTED:
            importlib.import_module(name)
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _run(json.loads(line), writing)
            finally:
                os._exit(99)
        os.close(writing)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        count = os.read(reading, 100).decode()
        os.close(reading)
        print(json.dumps({"code": code, "changes": int(count or 0)}), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(Path(__file__).parent))
    main()
