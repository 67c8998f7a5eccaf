"""Tables: rows as CSV, and as text in columns."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.artifacts import atomic_path


def write_table_csv(path: str | os.PathLike[str], rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, their keys as the header; floats keep all digits.

    What is called an interval becomes the two columns `KEY_low` and `KEY_high`, a mapping a column
    for each of its keys.
    """
    flat = [_flat_row(row) for row in rows]
    header = list(dict.fromkeys(key for row in flat for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=header)
        writer.writeheader()
        writer.writerows(flat)


def _flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if "interval" in key:
            flat[f"{key}_low"], flat[f"{key}_high"] = value or (None, None)
        elif isinstance(value, Mapping):
            flat |= value
        else:
            flat[key] = value
    return flat


def aligned(rows: Sequence[tuple[str, list[str]]]) -> str:
    """Rows of a title and cells as text in columns, titles to the left and cells to the right."""
    widths = [max(len(title) for title, _ in rows)]
    widths += [max(len(cells[k]) for _, cells in rows) for k in range(len(rows[0][1]))]
    lines = [
        "  ".join(
            [title.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]
        )
        for title, cells in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
