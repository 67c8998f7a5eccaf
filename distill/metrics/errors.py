"""Errors of one set of labels against another, with intervals, and their layout as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.number_text import number_text
from distill.core.quantities import MEV
from distill.core.tables import aligned
from distill.data.structures import (
    config_type,
    reference_energy,
    reference_forces,
    reference_stress,
)
from distill.metrics.statistics import percentile_interval

if TYPE_CHECKING:
    from ase import Atoms

RESAMPLES = 1000
CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 4_000_000

Table = dict[str, Any]


class _Residuals:
    """Residuals of one quantity, kept as sums over each structure: all that the errors need."""

    def __init__(self, residuals: Sequence[np.ndarray | None]) -> None:
        flat = [np.zeros(0) if r is None else np.ravel(r) for r in residuals]
        self.count = np.array([len(r) for r in flat], dtype=float)
        self.squared = np.array([float(r @ r) for r in flat])
        self.absolute = np.array([float(np.abs(r).sum()) for r in flat])
        self.largest = np.array([float(np.abs(r).max()) if len(r) else 0.0 for r in flat])
        self.signed = np.array([float(r.sum()) for r in flat])

    def errors(self, members: np.ndarray, draws: np.ndarray) -> Table | None:
        """Errors over some of the structures, or None where none of them has the quantity.

        `draws` (n_resamples, n_members): how often a resample holds each member.
        """
        count, squared = self.count[members], self.squared[members]
        total = count.sum()
        if total == 0:
            return None
        return {
            "mae": float(self.absolute[members].sum() / total),
            "rmse": float(math.sqrt(squared.sum() / total)),
            "rmse_interval": _rmse_interval(draws @ squared, draws @ count),
            "max": float(self.largest[members].max()),
            "mean": float(self.signed[members].sum() / total),
            "count": int(total),
            "structures": int((count > 0).sum()),
        }


def error_table(reference: list[Atoms], predicted: list[Atoms], *, seed: int = 0) -> Table:
    """Errors of predicted labels against reference labels.

    Parameters
    ----------
    reference, predicted
        The same structures in the same order, with labels under the REF_ keys: energy in eV,
        forces (n_atoms, 3) in eV/Å, stress in eV/Å³. A label that either side lacks is left out.
    seed
        Of the bootstrap.

    Returns
    -------
    dict
        JSON-plain. `energy_per_atom` [eV/atom], `energy` [eV], `forces` [eV/Å, over components]
        and `stress` [eV/Å³, over components] each hold `mae`, `rmse`, `rmse_interval` (95 %,
        percentile bootstrap over structures, Efron & Tibshirani 1993, ch. 13; None where fewer
        than two structures carry it), `max`, `mean` (signed, predicted minus reference), `count`
        and `structures`, or are None. `forces_by_element` maps a symbol to the same, and
        `by_config_type` a config type to `structures`, `energy_per_atom`, `energy`, `forces`,
        `forces_by_element` and `stress`. `structures` and `atoms` count what was compared.

    Raises
    ------
    UserError
        If the two lists do not hold the same structures.
    """
    _check_pairs(reference, predicted)
    energies = [
        _difference(reference_energy(r), reference_energy(p)) for r, p in _zip(reference, predicted)
    ]
    forces = [
        _difference(reference_forces(r), reference_forces(p)) for r, p in _zip(reference, predicted)
    ]
    stresses = [
        _difference(reference_stress(r), reference_stress(p)) for r, p in _zip(reference, predicted)
    ]
    symbols = [np.array(atoms.get_chemical_symbols()) for atoms in reference]
    per_atom = [
        None if e is None else e / len(atoms) for e, atoms in zip(energies, reference, strict=True)
    ]
    quantities = {
        "energy_per_atom": _Residuals(per_atom),
        "energy": _Residuals(energies),
        "forces": _Residuals(forces),
        "stress": _Residuals(stresses),
    }
    elements = {
        element: _Residuals(
            [None if f is None else f[s == element] for f, s in zip(forces, symbols, strict=True)]
        )
        for element in sorted({str(s) for names in symbols for s in names})
    }

    def table_of(members: np.ndarray) -> Table:
        draws = _bootstrap_counts(len(members), seed)
        by_element = {name: r.errors(members, draws) for name, r in elements.items()}
        return {
            "structures": len(members),
            "atoms": int(sum(len(reference[i]) for i in members)),
            **{name: r.errors(members, draws) for name, r in quantities.items()},
            "forces_by_element": {name: e for name, e in by_element.items() if e is not None},
        }

    types = np.array([config_type(a) for a in reference])
    return {
        **table_of(np.arange(len(reference))),
        "by_config_type": {
            str(name): table_of(np.flatnonzero(types == name)) for name in sorted(set(types))
        },
        "confidence": CONFIDENCE,
    }


def error_budget(reference: list[Atoms], teacher: list[Atoms], student: list[Atoms]) -> Table:
    """How much of the student's error against the reference each step brings.

    The residuals add up, (student − reference) = (teacher − reference) + (student − teacher), so
    the mean squares add up too, with twice the covariance of the two steps.

    Parameters
    ----------
    reference, teacher, student
        The same structures in the same order, with the labels of each level under the REF_ keys.

    Returns
    -------
    dict
        The tables `reference_teacher`, `teacher_student` and `reference_student` of
        `error_table`, and `force_error_correlation`: the correlation of the force errors of the
        two steps (0: independent; below 0: they partly cancel), None without forces.

    Raises
    ------
    UserError
        If the three lists do not hold the same structures.
    """
    tables = {
        "reference_teacher": error_table(reference, teacher),
        "teacher_student": error_table(teacher, student),
        "reference_student": error_table(reference, student),
    }
    first, second, both = (t["forces"] for t in tables.values())
    correlation = None
    if first and second and both and first["rmse"] > 0 and second["rmse"] > 0:
        covariance = (both["rmse"] ** 2 - first["rmse"] ** 2 - second["rmse"] ** 2) / 2
        correlation = covariance / (first["rmse"] * second["rmse"])
    return {**tables, "force_error_correlation": correlation}


def table_rows(tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """Flat rows (comparison, config_type, quantity, unit, mae, rmse, interval, max, counts)."""
    rows = []
    for comparison, table in tables.items():
        for kind, part in {"all": table, **table["by_config_type"]}.items():
            for quantity, unit, errors in _quantities(part):
                low, high = errors["rmse_interval"] or (None, None)
                rows.append(
                    {
                        "comparison": comparison,
                        "config_type": kind,
                        "quantity": quantity,
                        "unit": unit,
                        "mae": errors["mae"],
                        "rmse": errors["rmse"],
                        "rmse_low": low,
                        "rmse_high": high,
                        "max": errors["max"],
                        "count": errors["count"],
                        "structures": errors["structures"],
                    }
                )
    return rows


def study_rows(
    tables: Mapping[str, Table], times_ms: Mapping[str, tuple[float, float]] | None = None
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
        ("MAE / RMSE E [meV]", [_cell(t["energy"]) for t in tables.values()]),
        ("MAE / RMSE E [meV/atom]", [_cell(t["energy_per_atom"]) for t in tables.values()]),
        ("MAE / RMSE F [meV/Å]", [_cell(t["forces"]) for t in tables.values()]),
    ]
    for element in _elements(tables):
        cells = [_cell(t["forces_by_element"].get(element)) for t in tables.values()]
        rows.append((f"{element} atoms MAE / RMSE F [meV/Å]", cells))
    if any(t["stress"] for t in tables.values()):
        cells = [_cell(t["stress"], digits=3) for t in tables.values()]
        rows.append(("MAE / RMSE stress [meV/Å³]", cells))
    if times_ms:
        cells = [
            " / ".join(f"{t:.3g}" for t in times_ms[name]) if name in times_ms else "—"
            for name in tables
        ]
        rows.append(("time E / time F [ms]", cells))
    return rows


def interval_rows(tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """RMSEs with their 95 % intervals, a column for each comparison.

    Returns
    -------
    list of dict
        `title` and `cells`, as text: energies (meV/atom), forces and forces on each element
        (meV/Å), and force RMSE for each config type.
    """

    def cell(errors: Table | None) -> str:
        if not errors:
            return "—"
        text = f"{MEV * errors['rmse']:.1f}"
        if errors["rmse_interval"]:
            low, high = (MEV * end for end in errors["rmse_interval"])
            text += f" ({low:.1f} to {high:.1f})"
        return text

    def row(title: str, errors: Iterable[Table | None]) -> dict[str, Any]:
        return {"title": title, "cells": [cell(e) for e in errors]}

    parts = list(tables.values())
    kinds = sorted({kind for table in parts for kind in table["by_config_type"]})
    return [
        row("energy [meV/atom]", (t["energy_per_atom"] for t in parts)),
        row("forces [meV/Å]", (t["forces"] for t in parts)),
        *(
            row(
                f"forces on {element} [meV/Å]", [t["forces_by_element"].get(element) for t in parts]
            )
            for element in _elements(tables)
        ),
        *(
            row(
                f"forces, {kind} [meV/Å]",
                [t["by_config_type"].get(kind, {}).get("forces") for t in parts],
            )
            for kind in kinds
        ),
    ]


def study_table_text(
    tables: Mapping[str, Table], times_ms: Mapping[str, tuple[float, float]] | None = None
) -> str:
    """`study_rows` as aligned plain text, a header line first."""
    return aligned([("", list(tables)), *study_rows(tables, times_ms)])


def extrapolation_text(errors: Mapping[str, Any]) -> str:
    """How many test structures the student was not trained for, and its force error on the others.

    Parameters
    ----------
    errors
        What the compare stage writes to `errors.json`. Without grades the text is empty.
    """
    found = errors.get("extrapolation")
    if not found:
        return ""
    beyond = found["beyond_training"]
    text = f"{beyond} of {found['structures']} test structures outside the training data"
    if not beyond:
        return text
    text += f" (largest extrapolation grade {number_text(found['largest_grade'])})"
    tables = found["teacher_student_within"], errors["test"]["teacher_student"]
    within, everywhere = ((table or {}).get("forces") for table in tables)
    if not (within and everywhere):
        return text
    return (
        f"{text}; force RMSE against the teacher {number_text(MEV * within['rmse'])} meV/Å on the "
        f"others, {number_text(MEV * everywhere['rmse'])} on all"
    )


def _zip(reference: list[Atoms], predicted: list[Atoms]) -> Iterable[tuple[Atoms, Atoms]]:
    return zip(reference, predicted, strict=True)


def _difference(reference: Any, predicted: Any) -> np.ndarray | None:
    if reference is None or predicted is None:
        return None
    return np.asarray(predicted, dtype=float) - np.asarray(reference, dtype=float)


def _check_pairs(reference: list[Atoms], predicted: list[Atoms]) -> None:
    if not reference:
        raise UserError("there is nothing to compare: the list of structures is empty")
    if len(reference) != len(predicted):
        raise UserError(
            f"expected a prediction for each of the {len(reference)} structures, "
            f"found {len(predicted)}: predict the same file again"
        )
    for index, (one, other) in enumerate(_zip(reference, predicted)):
        if not np.array_equal(one.numbers, other.numbers):
            raise UserError(
                f"structure {index} is {one.get_chemical_formula()} in the reference and "
                f"{other.get_chemical_formula()} in the prediction: "
                "both must hold the same structures in the same order"
            )


def _bootstrap_counts(members: int, seed: int) -> np.ndarray:
    """How often each resample holds each structure (n_resamples, members); none for one member."""
    if members < 2:
        return np.zeros((0, members))
    rng = np.random.default_rng(seed)
    batch = max(1, _DRAWS_AT_ONCE // members)
    chances = np.full(members, 1.0 / members)
    parts = [
        rng.multinomial(members, chances, size=min(batch, RESAMPLES - start)).astype(float)
        for start in range(0, RESAMPLES, batch)
    ]
    return np.concatenate(parts)


def _rmse_interval(squared: np.ndarray, count: np.ndarray) -> list[float] | None:
    valid = count > 0
    if not valid.any():
        return None
    return list(percentile_interval(np.sqrt(squared[valid] / count[valid]), CONFIDENCE))


def _quantities(part: Table) -> Iterable[tuple[str, str, Table]]:
    units = {"energy_per_atom": "eV/atom", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
    for name, unit in units.items():
        if part[name]:
            yield name, unit, part[name]
    for element, errors in part["forces_by_element"].items():
        yield f"forces on {element}", "eV/Å", errors


def _elements(tables: Mapping[str, Table]) -> list[str]:
    """Elements with force errors, lightest first."""
    from ase.data import atomic_numbers

    symbols = {e for table in tables.values() for e in table["forces_by_element"]}
    return sorted(symbols, key=lambda symbol: int(atomic_numbers[symbol]))


def _cell(errors: Table | None, digits: int = 1) -> str:
    if not errors:
        return "—"
    return f"{MEV * errors['mae']:.{digits}f} / {MEV * errors['rmse']:.{digits}f}"
