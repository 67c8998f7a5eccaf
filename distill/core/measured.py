"""A number with its interval, as the public functions return it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill.core.number_text import interval_text, number_text
from distill.core.results import Interval


@dataclass(frozen=True)
class Measured:
    """A number with its interval.

    Attributes
    ----------
    value
        In `unit`.
    interval
        Both ends; None for a number without sampling error.
    unit
        Empty for a pure number.
    details
        The full result that it is from.
    confidence
        Of the interval.
    """

    value: float
    interval: Interval | None
    unit: str
    details: Any
    confidence: float = 0.95

    def __repr__(self) -> str:
        text = f"{number_text(self.value, 4)} {self.unit}".rstrip()
        return f"{text} ({interval_text(self.interval, 4)})" if self.interval else text
