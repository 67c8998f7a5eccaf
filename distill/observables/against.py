"""Numbers of a model held against those of another, of an experiment, or of a publication."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from distill.core.errors import UserError
from distill.core.results import Interval
from distill.observables.base import STUDENT, TEACHER, Check, Question, within

# The question that a bound answers, and the model that it is on, by the prefix of its key.
LEVELS: dict[str, tuple[Question, str]] = {
    "": ("faithful", STUDENT),
    "teacher_": ("teacher", TEACHER),
    "purpose_": ("purpose", STUDENT),
}


@dataclass(frozen=True)
class Number:
    """A number of a source, such as a model, with its interval; None where it is exact."""

    source: str
    value: float
    interval: Interval | None = None


def difference(one: Number, other: Number) -> tuple[float, Interval | None]:
    """One minus the other with the interval of independent numbers; None where both are exact.

    The distances of the ends add in squares, those that widen the difference on either side (Zou &
    Donner, Stat. Med. 27, 1693 (2008)); between proportions with Wilson's intervals this is
    Newcombe's interval (Stat. Med. 17, 873 (1998)).
    """
    value = one.value - other.value
    if one.interval is None and other.interval is None:
        return value, None
    low, high = one.interval or (one.value, one.value)
    other_low, other_high = other.interval or (other.value, other.value)
    below = math.hypot(one.value - low, other_high - other.value)
    above = math.hypot(high - one.value, other.value - other_low)
    return value, (value - below, value + above)


def held_against(
    tolerance: str,
    what: str,
    one: Number,
    other: Number,
    bound: float,
    *,
    unit: str,
    question: Question,
    confidence: float,
    relative: bool = False,
) -> Check:
    """The check that a number is another's within a bound, the whole interval too.

    Parameters
    ----------
    tolerance, bound, unit, question, confidence
        Of `Check`.
    what
        The quantity in words.
    one, other
        The two numbers.
    relative
        Whether the bound is on the difference over the other number.
    """
    value, interval = difference(one, other)
    if relative:
        value /= other.value
        interval = interval and (interval[0] / other.value, interval[1] / other.value)
    comment = ""
    if interval and abs(value) <= bound < max(map(abs, interval)):
        comment = "the interval reaches beyond the bound: a longer computation narrows it"
    elif interval is None:
        comment = "neither number has an interval"
    return within(
        tolerance,
        f"{what}, {one.source} − {other.source}{', relative' if relative else ''}",
        value,
        interval,
        bound,
        unit,
        comment=comment,
        confidence=confidence,
        question=question,
    )


def refuse_without(tolerance: str, problem: str) -> NoReturn:
    """Refuse a bound on what there is nothing to hold against.

    Raises
    ------
    UserError
        Always.
    """
    raise UserError(
        f"compare.tolerances.{tolerance} is set, but {problem}, or remove the tolerance"
    )
