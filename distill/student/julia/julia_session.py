"""A conversation with Julia in a process of its own (`julia_worker`)."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.student.julia.julia_options import option
from distill.student.julia.julia_worker import PRINT_TO


class JuliaFailure(UserError):
    """Julia raised an error, or ended; one sentence, with the full trace in the log."""


# Processes that wait for the next session of the same settings; None outside `kept_warm`.
_waiting: list[tuple[list[str], dict[str, str], subprocess.Popen[bytes]]] | None = None


@contextlib.contextmanager
def kept_warm() -> Iterator[None]:
    """Within it a session that ended well leaves its Julia to the next, with all that it compiled.

    Also a decorator. Those that still wait at the end of the outermost one are ended.
    """
    global _waiting
    if _waiting is not None:
        yield
        return
    _waiting = []
    try:
        yield
    finally:
        left, _waiting = _waiting, None
        for _, _, process in left:
            _end(process)


class JuliaSession:
    """Starts Julia on entering, ends it on leaving; Ctrl-C and errors end it too.

    Parameters
    ----------
    log
        File that gets all that Julia prints, and the traces of its errors.
    threads
        Julia's threads; `PYTHON_JULIACALL_THREADS` if None, else all cores.
    keep_log
        Whether the log stays when Julia did not fail.
    """

    def __init__(
        self, *, log: str | os.PathLike[str], threads: int | None = None, keep_log: bool = True
    ) -> None:
        self.log = Path(log)
        self.threads = str(threads or option("juliacall", "threads") or available_cores())
        self._keep_log = keep_log
        self._failed = False
        self._is_calling = False
        self._process: subprocess.Popen[bytes] | None = None
        # Those that the process was started with: the environment may be another when it stops.
        self._settings: tuple[list[str], dict[str, str]] = [], {}

    def __enter__(self) -> JuliaSession:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process, or take one that waits; Julia itself starts with the first call."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._settings = settings = _command(), self._environment()
        for waiting in _waiting or ():
            if waiting[:2] == settings and _waiting is not None:
                _waiting.remove(waiting)
                self._process = waiting[2]
                self.log.write_bytes(b"")
                self.call(PRINT_TO, path=str(self.log))
                return
        with open(self.log, "wb") as log:
            # In a session of its own it does not get the terminal's Ctrl-C, which Julia would
            # answer by ending the process: the caller gets it, and leaving ends Julia.
            self._process = subprocess.Popen(
                settings[0],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=settings[1],
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the process, with whatever it is doing; within `kept_warm` an idle one waits."""
        process = self._process
        if process is None:
            return
        # One that is collected as garbage may have lost its channel before.
        is_open = process.stdin is not None and not process.stdin.closed
        if _waiting is not None and is_open and not (self._failed or self._is_calling):
            with contextlib.suppress(JuliaFailure):
                self.call(PRINT_TO, path=os.devnull)
                _waiting.append((*self._settings, process))
                process = None
        self._process = None
        if process is not None:
            _end(process)
        if not (self._keep_log or self._failed):
            self.log.unlink(missing_ok=True)

    def call(self, name: str, **arguments: Any) -> Any:
        """Result of a method of `julia_worker.Worker`.

        Raises
        ------
        JuliaFailure
            If Julia raised an error or ended.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise JuliaFailure("Julia is not running")
        self._is_calling = True
        try:
            pickle.dump((name, arguments), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            kind, value = pickle.load(process.stdout)
            self._is_calling = False
        except (EOFError, OSError, pickle.UnpicklingError):
            self._failed = True
            raise JuliaFailure(self._obituary(process)) from None
        if kind == "start":
            self._failed = True
            cause = self._last_error() or value
            raise JuliaFailure(f"Julia could not start: {cause} (full trace in {self.log})")
        if kind == "error":
            self._failed = True
            raise JuliaFailure(f"Julia, in {name}: {value} (full trace in {self.log})")
        return value

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment["PYTHON_JULIACALL_THREADS"] = self.threads
        # With several threads Julia's collector needs its signal handlers (PythonCall's manual).
        environment["PYTHON_JULIACALL_HANDLE_SIGNALS"] = "yes"
        return environment

    def _last_error(self) -> str | None:
        """What Julia itself last printed as an error, which names the cause of a failed start."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
        return errors[-1].removeprefix("ERROR: ").removeprefix("LoadError: ") if errors else None

    def _obituary(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        why = f"signal {-code}, most often for want of memory" if code < 0 else f"exit code {code}"
        return f"Julia ended unexpectedly ({why}); see {self.log}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _command() -> list[str]:
    return [sys.executable, *_julia_flags(), "-m", "distill.student.julia.julia_worker"]


def _julia_flags() -> list[str]:
    """The caller's `-X julia…` options, but for those that the session's environment sets."""
    return [
        f"-X{name}={value}"
        for name, value in sys._xoptions.items()
        if name.startswith("julia")
        and name not in ("juliacall-threads", "juliacall-handle-signals")
    ]
