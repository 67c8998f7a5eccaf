"""The two ways a run ends other than well: a user's mistake, and checks that did not pass."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence


class UserError(Exception):
    """A mistake in the input, shown as one message without a traceback (exit code 2).

    The message names the file, field or structure, says what was expected and what was found,
    and how to mend it.
    """


class ChecksFailed(Exception):
    """The run finished, but a stated check on its result did not pass (exit code 1)."""


def left_the_program(error: SystemExit) -> str:
    """For the message on code of others that called `exit`: where, and what to do."""
    frames = traceback.extract_tb(error.__traceback__)
    # `exit` and `quit` are functions of Python's own.
    frame = [each for each in frames if "_sitebuiltins" not in each.filename][-1]
    return (
        f"{frame.filename}, line {frame.lineno} ({frame.name}), ended the program by itself (exit "
        f"code {error.code}), so the command is not finished; let that code raise an error instead"
    )


def words_of(error: BaseException) -> str:
    """What an exception of other people's code says, on one line; its own words may fail, too."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return "(it cannot be put into words)"


def nearest_name(name: str, known: Sequence[str]) -> str:
    """For the message on an unknown name: the one that was meant, or all there are."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
