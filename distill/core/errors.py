"""The two ways a run ends other than well: a user's mistake, and checks that did not pass."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """A mistake in the input, shown as one message without a traceback (exit code 2).

    The message names the file, field or structure, says what was expected and what was found,
    and how to mend it.
    """


class ChecksFailed(Exception):
    """The run finished, but a stated check on its result did not pass (exit code 1)."""


def nearest_name(name: str, known: Sequence[str]) -> str:
    """For the message on an unknown name: the one that was meant, or all there are."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
