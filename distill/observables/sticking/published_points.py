"""Experimental or published sticking probabilities, read from a CSV file."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.core.errors import UserError
from distill.observables.sticking.result import ConditionSticking, PublishedPoint

REQUIRED = ("energy", "probability")
OPTIONAL = ("low", "high", "facet", "temperature", "v", "j", "source")
# Relative: published energies have few digits.
_SAME_ENERGY = 1e-3
_NUMBERS = ("energy", "probability", "low", "high", "temperature", "v", "j")


def read_points(path: str | os.PathLike[str]) -> list[PublishedPoint]:
    """Sticking probabilities from a CSV file with a header line.

    Parameters
    ----------
    path
        Columns `energy` (collision energy, eV) and `probability`; and where known `low` and `high`
        (the interval's ends), `facet`, `temperature` (of the surface, K), `v`, `j` (state of the
        molecule) and `source` (label of the legend). Lines that start with # are passed over; an
        empty cell is the same as no column.

    Returns
    -------
    list of PublishedPoint
        One for each line.

    Raises
    ------
    UserError
        Naming the file, line and column: a missing or unknown column, a value that is no number,
        a probability outside 0 to 1, an interval that does not hold its value.
    """
    file = Path(path)
    try:
        lines = [
            (number, line)
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the published points {file}: {error}") from None
    if not lines:
        raise UserError(f"{file} is empty: expected a header line with {_columns()}")
    reader = csv.reader(line for _, line in lines)
    header = [cell.strip().lower() for cell in next(reader)]
    _check_header(file, header)
    points = [
        _point(f"{file}, line {number}", header, cells)
        for (number, _), cells in zip(lines[1:], reader, strict=True)
    ]
    if not points:
        raise UserError(f"{file} has a header line, but no points below it")
    return points


def published_at(
    points: Sequence[PublishedPoint], condition: ConditionSticking
) -> list[PublishedPoint]:
    """What each source says of a condition, at its normal energy.

    Between two points of a source both the probability and the ends of its interval lie on a
    straight line, where both points have one; outside of its points a source says nothing.
    """
    by_source: dict[str, list[PublishedPoint]] = {}
    for point in points:
        if point.belongs(condition):
            by_source.setdefault(point.source, []).append(point)
    energy = condition.normal_energy
    found = []
    for own in by_source.values():
        ordered = sorted(own, key=lambda point: point.energy)
        energies = [point.energy for point in ordered]
        slack = _SAME_ENERGY * energy
        if not energies[0] - slack <= energy <= energies[-1] + slack:
            continue
        near = [point for point in ordered if abs(point.energy - energy) <= slack]
        if near:
            found += near
            continue
        above = next(index for index, other in enumerate(energies) if other > energy)
        found.append(_between(ordered[above - 1], ordered[above], energy))
    return found


def _between(first: PublishedPoint, second: PublishedPoint, energy: float) -> PublishedPoint:
    share = (energy - first.energy) / (second.energy - first.energy)

    def mean(one: float, other: float) -> float:
        return (1 - share) * one + share * other

    interval = None
    if first.interval and second.interval:
        low, high = (mean(a, b) for a, b in zip(first.interval, second.interval, strict=True))
        interval = low, high
    probability = mean(first.probability, second.probability)
    update = {"energy": energy, "probability": probability, "interval": interval}
    return first.model_copy(update=update)


def _columns() -> str:
    return f"the columns {', '.join(REQUIRED)} and, where known, {', '.join(OPTIONAL)}"


def _check_header(file: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    repeated = sorted({name for name in header if header.count(name) > 1})
    for names, problem in ((missing, "lacks"), (unknown, "has unknown"), (repeated, "repeats")):
        if names:
            raise UserError(
                f"{file} {problem} column{'s' if len(names) > 1 else ''} {', '.join(names)}: "
                f"expected {_columns()}"
            )
    if ("low" in header) != ("high" in header):
        raise UserError(f"{file}: low and high belong together, expected both columns or none")


def _point(place: str, header: list[str], cells: list[str]) -> PublishedPoint:
    if len(cells) != len(header):
        raise UserError(f"{place}: expected {len(header)} cells, found {len(cells)}")
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    values: dict[str, Any] = {name: row.get(name) for name in REQUIRED + OPTIONAL}
    for name in _NUMBERS:
        if values[name] is not None:
            values[name] = _number(place, name, values[name])
    for name in REQUIRED:
        if values[name] is None:
            raise UserError(f"{place}: {name} is empty, expected a number")
    low, high = values.pop("low"), values.pop("high")
    if (low is None) != (high is None):
        raise UserError(f"{place}: low and high belong together, give both or none")
    value = values["probability"]
    if not 0 <= value <= 1:
        raise UserError(f"{place}: probability is {value:g}, expected 0 to 1")
    if low is not None and not low <= value <= high:
        raise UserError(f"{place}: probability {value:g} is not within {low:g} to {high:g}")
    source = values.pop("source") or Path(place.rpartition(", line")[0]).stem
    interval = None if low is None else (low, high)
    return PublishedPoint(**values, source=source, interval=interval)


def _number(place: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{place}: {name} is '{text}', expected a number")
    return value
