"""Error tables as people read them: rows for files, the layout of the published study, text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distill.core.quantities import MEV
from distill.core.tables import aligned
from distill.metrics.errors import Errors, ErrorTable, PartErrors


def table_rows(tables: Mapping[str, ErrorTable]) -> list[dict[str, Any]]:
    """Flat rows (comparison, config_type, quantity, unit, mae, rmse, interval, max, counts)."""
    rows = []
    for comparison, table in tables.items():
        for kind, part in {"all": table, **table.by_config_type}.items():
            for quantity, unit, errors in _quantities(part):
                low, high = errors.rmse_interval or (None, None)
                rows.append(
                    {
                        "comparison": comparison,
                        "config_type": kind,
                        "quantity": quantity,
                        "unit": unit,
                        "mae": errors.mae,
                        "rmse": errors.rmse,
                        "rmse_low": low,
                        "rmse_high": high,
                        "max": errors.max,
                        "count": errors.count,
                        "structures": errors.structures,
                    }
                )
    return rows


def study_rows(
    tables: Mapping[str, ErrorTable], times_ms: Mapping[str, tuple[float, float]] | None = None
) -> list[tuple[str, list[str]]]:
    """The layout of the published accuracy table, a column for each comparison.

    Parameters
    ----------
    tables
        Error tables by column title.
    times_ms
        Milliseconds of an energy call and of a forces call by column title.

    Returns
    -------
    list of (row title, cells)
        MAE / RMSE of energies (meV, and meV/atom), forces (meV/Å), forces on each element, and
        time E / time F (ms). A missing number is an em dash.
    """
    rows = [
        ("MAE / RMSE E [meV]", [_cell(t.energy) for t in tables.values()]),
        ("MAE / RMSE E [meV/atom]", [_cell(t.energy_per_atom) for t in tables.values()]),
        ("MAE / RMSE F [meV/Å]", [_cell(t.forces) for t in tables.values()]),
    ]
    for element in _elements(tables):
        cells = [_cell(t.forces_by_element.get(element)) for t in tables.values()]
        rows.append((f"{element} atoms MAE / RMSE F [meV/Å]", cells))
    if any(t.stress for t in tables.values()):
        cells = [_cell(t.stress, digits=3) for t in tables.values()]
        rows.append(("MAE / RMSE stress [meV/Å³]", cells))
    if times_ms:
        cells = [
            " / ".join(f"{t:.3g}" for t in times_ms[name]) if name in times_ms else "—"
            for name in tables
        ]
        rows.append(("time E / time F [ms]", cells))
    return rows


def interval_rows(tables: Mapping[str, ErrorTable]) -> list[dict[str, Any]]:
    """RMSEs with their 95 % intervals, a column for each comparison.

    Returns
    -------
    list of dict
        `title` and `cells`, as text: energies (meV/atom), forces and forces on each element
        (meV/Å), and force RMSE for each config type.
    """

    def cell(errors: Errors | None) -> str:
        if not errors:
            return "—"
        text = f"{MEV * errors.rmse:.1f}"
        if errors.rmse_interval:
            low, high = (MEV * end for end in errors.rmse_interval)
            text += f" ({low:.1f} to {high:.1f})"
        return text

    def row(title: str, errors: Iterable[Errors | None]) -> dict[str, Any]:
        return {"title": title, "cells": [cell(e) for e in errors]}

    parts = list(tables.values())
    kinds = sorted({kind for table in parts for kind in table.by_config_type})
    return [
        row("energy [meV/atom]", (t.energy_per_atom for t in parts)),
        row("forces [meV/Å]", (t.forces for t in parts)),
        *(
            row(f"forces on {element} [meV/Å]", [t.forces_by_element.get(element) for t in parts])
            for element in _elements(tables)
        ),
        *(
            row(
                f"forces, {kind} [meV/Å]",
                [part.forces if (part := t.by_config_type.get(kind)) else None for t in parts],
            )
            for kind in kinds
        ),
    ]


def study_table_text(
    tables: Mapping[str, ErrorTable], times_ms: Mapping[str, tuple[float, float]] | None = None
) -> str:
    """`study_rows` as aligned plain text, a header line first."""
    return aligned([("", list(tables)), *study_rows(tables, times_ms)])


def _quantities(part: PartErrors) -> Iterable[tuple[str, str, Errors]]:
    units = {"energy_per_atom": "eV/atom", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
    for name, unit in units.items():
        if errors := getattr(part, name):
            yield name, unit, errors
    for element, errors in part.forces_by_element.items():
        yield f"forces on {element}", "eV/Å", errors


def _elements(tables: Mapping[str, ErrorTable]) -> list[str]:
    """Elements with force errors, lightest first."""
    from ase.data import atomic_numbers

    symbols = {e for table in tables.values() for e in table.forces_by_element}
    return sorted(symbols, key=lambda symbol: int(atomic_numbers[symbol]))


def _cell(errors: Errors | None, digits: int = 1) -> str:
    if not errors:
        return "—"
    return f"{MEV * errors.mae:.{digits}f} / {MEV * errors.rmse:.{digits}f}"
