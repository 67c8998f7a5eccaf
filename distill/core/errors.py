"""The two ways a run ends other than well: a user's mistake, and checks that did not pass."""


class UserError(Exception):
    """A mistake in the input, shown as one message without a traceback (exit code 2).

    The message names the file, field or structure, says what was expected and what was found,
    and how to mend it.
    """


class ChecksFailed(Exception):
    """The run finished, but a stated check on its result did not pass (exit code 1)."""
