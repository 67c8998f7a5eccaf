"""The table of an observable's numbers at the teacher's level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.core.number_text import interval_text, number_text
from distill.observables.teacher_level import TeacherNumber

# Teacher and student differ little.
_DIGITS = 6


def teacher_level_rows(numbers: Sequence[TeacherNumber]) -> list[dict[str, Any]]:
    """Rows of a table; points of curves, of which there are many, are in the CSV file alone."""
    return [
        {
            "title": ", ".join([number.quantity, *(str(part) for part in number.place.values())]),
            "cells": [
                f"{number_text(number.value, _DIGITS)} {number.unit}".strip(),
                interval_text(number.interval, _DIGITS),
                number_text(number.student, _DIGITS),
                number.form,
                number.calls,
                number.comment or "—",
            ],
        }
        for number in numbers
        if "r" not in number.place
    ]
