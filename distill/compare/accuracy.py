"""The accuracy table for any models and data, and the error budget along a chain of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.results import Result
from distill.data.structures import read_structures, reference_stress
from distill.metrics.error_texts import interval_rows, table_rows
from distill.metrics.errors import ErrorBudget, ErrorTable, error_budget, error_table
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.cached_calculators import ModelSpec


class Accuracy(Result):
    """Errors of models on data sets.

    Attributes
    ----------
    tables
        By `MODEL, DATA`, or `MODEL` alone where there is one data set.
    budget
        By data set, along the first two models; empty unless asked for.
    """

    tables: dict[str, ErrorTable]
    budget: dict[str, ErrorBudget]


def accuracy(
    models: Mapping[str, ModelSpec],
    data: Mapping[str, str | Path],
    *,
    budget: bool = False,
) -> Accuracy:
    """Errors of every model on every data set, by element and config type, with intervals.

    Parameters
    ----------
    models
        What `load_calculator` takes, by name.
    data
        Files of labelled structures, or `bundled:NAME`, by name.
    budget
        Also follow the error along the first two models: reference to the first (the teacher),
        the first to the second (the student), and reference to the second.

    Raises
    ------
    UserError
        If a file cannot be read or lacks labels, a model cannot be loaded or evaluated, or a
        budget is asked for with fewer than two models.
    """
    if budget and len(models) < 2:
        raise UserError(
            "an error budget needs two models, the teacher first and the student second; found "
            f"{len(models)}"
        )
    if not models or not data:
        raise UserError("errors need at least one model and one file of labelled structures")
    tables: dict[str, ErrorTable] = {}
    budgets: dict[str, ErrorBudget] = {}
    for title, path in data.items():
        reference = read_structures(path)
        predicted = {
            name: predictions(reference, model, f"{name} on {title}")
            for name, model in models.items()
        }
        for name, structures in predicted.items():
            column = name if len(data) == 1 else f"{name}, {title}"
            tables[column] = error_table(reference, structures)
        if budget:
            first, second = list(predicted.values())[:2]
            budgets[title] = error_budget(reference, first, second)
    return Accuracy(tables=tables, budget=budgets)


def accuracy_rows(result: Accuracy) -> list[dict[str, Any]]:
    """Flat rows of all tables, for a CSV file; what the budget adds is named after its steps."""
    steps = {
        f"{step}, {title}": table
        for title, budget in result.budget.items()
        for step, table in _steps(budget).items()
    }
    return table_rows({**result.tables, **steps})


def _steps(budget: ErrorBudget) -> dict[str, ErrorTable]:
    return {
        "reference → teacher": budget.reference_teacher,
        "teacher → student": budget.teacher_student,
        "reference → student": budget.reference_student,
    }


def accuracy_text(result: Accuracy) -> str:
    """The tables as aligned text: the study's layout, then errors by element and config type."""
    from distill.core.tables import aligned
    from distill.metrics.error_texts import study_table_text

    tables = result.tables
    rows = [(row["title"], row["cells"]) for row in interval_rows(tables)]
    lines = [
        study_table_text(tables),
        "",
        "root mean square errors with 95 % intervals",
        aligned([("", list(tables)), *rows]),
    ]
    for title, budget in result.budget.items():
        lines += ["", f"error budget on {title}", study_table_text(_steps(budget))]
        if budget.force_error_correlation is not None:
            lines.append(
                "correlation of the force errors of the two steps: "
                f"{budget.force_error_correlation:.2f}"
            )
    return "\n".join(lines)


def predictions(structures: list[Atoms], model: ModelSpec, label: str) -> list[Atoms]:
    """Copies with a model's labels, stresses among them where any structure carries one.

    Parameters
    ----------
    structures
        What to label; not changed.
    model
        What `load_calculator` takes.
    label
        Shown with the progress.

    Raises
    ------
    UserError
        As `load_calculator` and `label_structures`.
    """
    stress = any(reference_stress(atoms) is not None for atoms in structures)
    return label_structures(structures, load_calculator(model), stress=stress, label=label)
