"""A limit on the time of one unit of work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context

from distill.core.errors import UserError
from distill.core.executors.executor import Result, Unit
from distill.core.progress import format_duration


def run_limited(seconds: float, function: Callable[[Unit], Result], unit: Unit) -> Result:
    """One unit, waited for as long as is allowed.

    A unit that is over its time goes on in its thread, since nothing can stop it from inside: the
    error ends the run, and with it the worker.

    Raises
    ------
    UserError
        If the time is over.
    """
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function(unit))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        name = getattr(unit, "name", None) or repr(unit)
        raise UserError(
            f"unit {name:.80} takes longer than parallel.timeout ({format_duration(seconds)}): its "
            "calculator may hang; mend it or raise the limit, then run the same command again"
        )
    if errors:
        raise errors[0]
    return outcome[0]
