"""The process in which Julia runs: reads requests from its standard input, answers on its output.

Julia is kept out of the calling process because it must know its threads before it starts, takes
over the signals (with more than one thread it has to, and Ctrl-C would then kill Python), does
not bear torch having been imported before it, and gives its memory back only when it ends.

Requests are pickled pairs (name of a method of `Worker`, keyword arguments); answers are pickled
pairs (`"result"`, or `"error"`, or `"start"` where Julia did not start; value or one sentence).
Traces, and what Julia prints, go to the standard error output. The request `print_to` gives the
process to another session.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def julia_package() -> Path:
    """Folder of the Julia package: inside an installed distill, beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "julia"
    return installed if installed.is_dir() else package.parent / "julia"


PACKAGE_FOLDER = julia_package()
# The request of a process that is handed on: what it prints goes to another file.
PRINT_TO = "print_to"
_LONGEST_SENTENCE = 500
_NESTED = "nested task error:"


class Worker:
    """Julia's side of a session: one model and, while it is fitted, one regression."""

    def __init__(self) -> None:
        import juliacall

        main = juliacall.Main
        # A project of the user's own need not contain DistillACE, only what it depends on.
        main.push_b(main.Base.LOAD_PATH, str(PACKAGE_FOLDER))
        main.seval("import DistillACE")
        self.module = main.DistillACE
        self.model: Any = None
        self.problem: Any = None

    def versions(self) -> dict[str, Any]:
        """See `DistillACE.versions`."""
        return _plain(self.module.versions())

    def build_model(self, **arguments: Any) -> dict[str, Any]:
        """Make a model; returns `DistillACE.describe`."""
        self.model = self.module.build_model(**arguments)
        return self.describe()

    def least_squares(self, **arguments: Any) -> dict[str, Any]:
        """Prepare the regression; returns `DistillACE.shape`."""
        self.problem = self.module.least_squares(self.model, **arguments)
        return _plain(self.module.shape(self.problem))

    def factored_least_squares(self, **arguments: Any) -> dict[str, Any]:
        """Prepare the regression of rows assembled elsewhere; returns `DistillACE.shape`."""
        self.problem = self.module.factored_least_squares(self.model, **arguments)
        return _plain(self.module.shape(self.problem))

    def assemble(self, first: int, last: int) -> None:
        """Fill the rows of structures first to last, counted from 1, both included."""
        self.module.assemble_b(self.problem, first, last)

    def weighted_rows(self) -> np.ndarray:
        """See `DistillACE.weighted_rows`."""
        return _plain(self.module.weighted_rows(self.problem))

    def solve(self, **arguments: Any) -> dict[str, Any]:
        """See `DistillACE.solve!`."""
        report = _plain(self.module.solve_b(self.problem, **arguments))
        self.problem = None
        return report

    def describe(self) -> dict[str, Any]:
        """See `DistillACE.describe`."""
        return _plain(self.module.describe(self.model))

    def set_parameters(self, **arguments: Any) -> None:
        """See `DistillACE.set_parameters!`."""
        self.module.set_parameters_b(self.model, **arguments)

    def export_arrays(self) -> dict[str, Any]:
        """See `DistillACE.export_arrays`."""
        return _plain(self.module.export_arrays(self.model))

    def evaluate(self, **arguments: Any) -> dict[str, Any]:
        """See `DistillACE.evaluate`."""
        return _plain(self.module.evaluate(self.model, **arguments))

    def energies(self, **arguments: Any) -> np.ndarray:
        """See `DistillACE.energies`."""
        return _plain(self.module.energies(self.model, **arguments))

    def time_calls(self, **arguments: Any) -> np.ndarray:
        """See `DistillACE.time_calls`."""
        return _plain(self.module.time_calls(self.model, **arguments))

    def save(self, path: str) -> None:
        """See `DistillACE.save`."""
        self.module.save(self.model, path)

    def load(self, path: str) -> dict[str, Any]:
        """Read a saved model; returns `DistillACE.describe`."""
        self.model = self.module.load(path)
        return self.describe()


def _plain(value: Any) -> Any:
    """A Julia value as plain Python: dictionaries, NumPy arrays of their own, numbers, text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in value}
    return np.array(value)


def _sentence(error: BaseException) -> str:
    """The line of an error that says what went wrong, without the stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # An error on one of Julia's threads is reported inside that of the loop.
    nested = [line.partition(_NESTED)[2].strip() for line in lines if _NESTED in line]
    return (nested + lines + [type(error).__name__])[0][:_LONGEST_SENTENCE]


def _private_channels() -> tuple[BinaryIO, BinaryIO]:
    """The standard input and output as channels that Julia does not know.

    Julia makes the pipes among its standard streams non-blocking and prints to them, so they are
    replaced: input by the null device, output by the error output.
    """
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return requests, answers


def serve() -> None:
    """Answer requests until the input ends."""
    requests, answers = _private_channels()
    worker = None
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        if name == PRINT_TO:
            _print_to(arguments["path"])
            if worker:
                worker.model = worker.problem = None
            _answer(answers, ("result", None))
            continue
        # Until there is a worker, what fails is the start of Julia.
        failure = "error" if worker else "start"
        try:
            worker = worker or Worker()
            failure = "error"
            answer = ("result", getattr(worker, name)(**arguments))
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            answer = (failure, _sentence(error))
        _answer(answers, answer)


def _answer(answers: BinaryIO, answer: tuple[str, Any]) -> None:
    pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()


def _print_to(path: str) -> None:
    """Send the standard output and the error output to a file, from here on."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


if __name__ == "__main__":
    serve()
