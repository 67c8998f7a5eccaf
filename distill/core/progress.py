"""What people read while a run goes on: lines, and progress with rate and time left.

Progress is a bar on a terminal and plain lines in a log.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
LOG_INTERVAL_S = 15.0
# Seconds without anything new after which a line says so; each time twice as long.
SILENT_S = 60.0
_LISTED = 10


def say(message: str) -> None:
    """Print one line at once, so that logs and pipes show it as it happens."""
    print(message, flush=True)


def argument(path: str | os.PathLike[str]) -> str:
    """A path in a command that is shown, as a shell takes it for this path and nothing else."""
    text = os.fspath(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def progress(
    iterable: Iterable[T], label: str, total: int | None = None, unit: str = "it"
) -> Iterator[T]:
    """Yield from `iterable` while showing how far it is.

    On a terminal this is a `rich` bar; elsewhere a plain line every 15 s and one at the end. Both
    say the rate and the time left, lines from the second item on. Where nothing comes for a minute,
    a line says so, then after two, four, ... minutes, so that something that hangs is told from
    something that ended.

    Parameters
    ----------
    iterable
        What to go through.
    label
        What is being done, in a few words.
    total
        Number of items; taken from `len(iterable)` where it has one.
    unit
        Name of one item, for the rate.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    done = 0
    with _sign_of_life(lambda: (done, f"{label}: {done}/{total or '?'}")):
        shown = _bar if sys.stdout.isatty() else _lines
        for done, item in enumerate(shown(iterable, label, total, unit), 1):  # noqa: B007
            yield item


def _bar(iterable: Iterable[T], label: str, total: int | None, unit: str) -> Iterator[T]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(label, total=total, rate="")
        start = time.monotonic()
        for done, item in enumerate(iterable, 1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:.3g} {unit}/s")


def _lines(iterable: Iterable[T], label: str, total: int | None, unit: str) -> Iterator[T]:
    start = first = last = time.monotonic()
    done = 0
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done == 1:
            first = now
        if now - last >= LOG_INTERVAL_S and done != total:
            last = now
            shown = f"{label}: {done}/{total or '?'}"
            # The first item may compile code, and says nothing of the others.
            if done > 1 and now > first:
                rate = (done - 1) / (now - first)
                left = f", {format_duration((total - done) / rate)} left" if total else ""
                shown += f", {rate:.3g} {unit}/s{left}"
            say(shown)
    say(f"{label}: {done} done in {format_duration(time.monotonic() - start)}")


@contextmanager
def _sign_of_life(state: Callable[[], tuple[int, str]]) -> Iterator[None]:
    """Meanwhile, say in a thread of its own when the count of `state` stays as it is."""
    over = threading.Event()

    def watch() -> None:
        seen, silent, next_word = 0, 0.0, SILENT_S
        while not over.wait(SILENT_S):
            count, where = state()
            if count != seen:
                seen, silent, next_word = count, 0.0, SILENT_S
                continue
            silent += SILENT_S
            if silent >= next_word:
                next_word *= 2
                say(f"{where}, nothing new for {format_duration(silent)}")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def listed(items: Sequence[object]) -> str:
    """The first ten items in a sentence, and how many more there are."""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(map(str, items[:_LISTED])) + more


def format_duration(seconds: float) -> str:
    """A duration in the largest two units that matter, e.g. `3 min 20 s`."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
