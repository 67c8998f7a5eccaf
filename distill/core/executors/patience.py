"""How long a run waits for the workers of a cluster, and what it says meanwhile."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.progress import format_duration, say

# Seconds without any worker after which the run says what it waits for; each time twice as long.
_SILENT_S = 300.0
_HOUR_S = 3600.0


class ClusterOptions(Section):
    """Options of every cluster; the others go to its library."""

    model_config = ConfigDict(extra="allow")

    queue_time: float = Field(
        168.0,
        gt=0,
        allow_inf_nan=False,
        description="hours without any worker after which the run ends",
    )


class Patience:
    """Counts the time without workers.

    Parameters
    ----------
    look_s
        Seconds between two looks.
    hours
        Without any worker, after which the run ends.
    """

    def __init__(self, look_s: float, hours: float) -> None:
        self._look_s, self._limit_s = look_s, hours * _HOUR_S
        self._silent_s, self._next_word_s = 0.0, _SILENT_S

    def look(self, *, there: bool, waiting_for: str) -> None:
        """Say now and then that there are no workers.

        Parameters
        ----------
        there
            Whether there is a worker.
        waiting_for
            What the run waits for, in a few words.

        Raises
        ------
        UserError
            After the last hour.
        """
        if there:
            self._silent_s, self._next_word_s = 0.0, _SILENT_S
            return
        self._silent_s += self._look_s
        lasted = f"no worker for {format_duration(self._silent_s)}, waiting for {waiting_for}"
        if self._silent_s >= self._limit_s:
            raise UserError(
                f"parallel: {lasted}; parallel.options.queue_time is over. See what the jobs "
                "wait for, then run the same command again"
            )
        if self._silent_s >= self._next_word_s:
            self._next_word_s *= 2
            say(lasted)
