"""A conversation with Julia in a process of its own (`julia_worker`)."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.student.julia.julia_options import option


class JuliaFailure(UserError):
    """Julia raised an error, or ended; one sentence, with the full trace in the log."""


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
        self._process: subprocess.Popen[bytes] | None = None

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
        """Start the process; Julia itself starts with the first call."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            # In a session of its own it does not get the terminal's Ctrl-C, which Julia would
            # answer by ending the process: the caller gets it, and leaving ends Julia.
            self._process = subprocess.Popen(
                [sys.executable, *_julia_flags(), "-m", "distill.student.julia.julia_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the process at once, with whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
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
        try:
            pickle.dump((name, arguments), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            kind, value = pickle.load(process.stdout)
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


def _julia_flags() -> list[str]:
    """The caller's `-X julia…` options, but for those that the session's environment sets."""
    return [
        f"-X{name}={value}"
        for name, value in sys._xoptions.items()
        if name.startswith("julia")
        and name not in ("juliacall-threads", "juliacall-handle-signals")
    ]
