"""Times of a force call, for estimates before a run."""

from __future__ import annotations

from distill.observables.base import STUDENT, TEACHER

# Seconds a call and atom on one core: a MACE of the MP-small architecture in float64, and a student
# of the published basis (benchmarks/results/engine.md: 593 and 0.52 ms for 56 atoms).
_SECONDS = {TEACHER: 0.593 / 56, STUDENT: 0.52e-3 / 56}


def core_hours(role: str, calls: float, atoms: float, seconds: float | None = None) -> float:
    """Hours of one core for calls on systems of so many atoms; other models count as teachers.

    Seconds are those of a teacher's call and atom where they were measured.
    """
    if role not in _SECONDS or role == TEACHER:
        return calls * atoms * (seconds or _SECONDS[TEACHER]) / 3600
    return calls * atoms * _SECONDS[role] / 3600


def published_share(seconds: float) -> float:
    """A measured call and atom of a teacher over that of a MACE of the published size."""
    return seconds / _SECONDS[TEACHER]


def amount(number: float) -> str:
    """A large number in words of three digits."""
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if number >= size:
            return f"{number / size:.3g}{word}"
    return f"{number:,.0f}"


def work_text(
    role: str, what: str, calls: float, atoms: float, seconds: float | None = None
) -> str:
    """`1,000 trajectories of the teacher, 1.7 million force calls, about 300 core-hours`."""
    hours = core_hours(role, calls, atoms, seconds)
    return f"{what} of the {role}, {amount(calls)} force calls, about {hours:.2g} core-hours"
