"""What is said while a run goes on."""

import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest

from distill.core import progress as words
from distill.core.progress import progress


@pytest.fixture
def impatient(monkeypatch):
    """Say so after a hundredth of a second; the lines, and an event for the third of them."""
    lines, third = [], threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if sum("nothing new" in line for line in lines) >= 3:
            third.set()

    monkeypatch.setattr(words, "SILENT_S", 0.01)
    monkeypatch.setattr(words, "say", say)
    return lines, third


def test_something_that_hangs_gives_a_sign_of_life(impatient):
    lines, third = impatient
    steps = progress(iter([1, 2]), "labels", total=2)
    next(steps)
    assert third.wait(60)
    assert all(line.startswith("labels: 1/2, nothing new for") for line in lines)
    assert list(steps) == [2]


def test_the_signs_become_rarer(impatient):
    lines, third = impatient
    list(progress((third.wait(60) for _ in range(1)), "x", total=1))
    shown = [float(line.split()[-2]) for line in lines if "nothing new" in line]
    assert all(b == pytest.approx(2 * a, abs=0.011) for a, b in pairwise(shown))


def test_no_thread_is_left_by_what_ended_or_was_given_up(impatient):
    before = threading.active_count()
    list(progress(range(3), "x"))
    half = progress(range(3), "x")
    next(half)
    half.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.endswith("(watch)"):
            thread.join(60)
    assert threading.active_count() <= before


def test_the_time_left_is_not_told_by_an_item_that_compiles(monkeypatch):
    """The first of six takes 100 s, the others 20 s each."""
    lines, now = [], [0.0]
    monkeypatch.setattr(words, "say", lines.append)
    monkeypatch.setattr(words, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for item in progress(range(6), "fit", unit="blocks"):
        now[0] += 20.0 if item else 100.0
    assert lines == [
        "fit: 1/6",
        "fit: 2/6, 0.05 blocks/s, 1 min 20 s left",
        "fit: 3/6, 0.05 blocks/s, 1 min 00 s left",
        "fit: 4/6, 0.05 blocks/s, 40 s left",
        "fit: 5/6, 0.05 blocks/s, 20 s left",
        "fit: 6 done in 3 min 20 s",
    ]
