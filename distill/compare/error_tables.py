"""Errors along the chain from the reference to the student, and the files that they go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.errors_result import ErrorsResult, TestedExtrapolation
from distill.compare.predictions import Labels, finish_here, pairs
from distill.core.figures import save_figure
from distill.core.results import write_result
from distill.core.tables import write_table_csv
from distill.core.work import Unit
from distill.metrics.error_plots import error_histogram_figure, parity_figure
from distill.metrics.error_texts import table_rows
from distill.metrics.errors import ErrorTable, error_budget, error_table
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

ERRORS = "errors"


@dataclass(frozen=True)
class ErrorTables(Unit):
    """The errors of labels, and which test structures the student (`model`) does not know."""

    model: ModelSpec
    labels: Labels

    def settings(self) -> dict[str, Any]:
        """Those of a unit, and the layout of what it keeps."""
        return {**super().settings(), "layout": ErrorsResult.VERSION}

    def work(self) -> dict[str, Any]:
        """Compute them."""
        labels = self.labels.read()
        reference, teacher, student = (labels[key] for key in ("reference", "teacher", "student"))
        errors = ErrorsResult(
            test=error_budget(reference, teacher, student),
            held_out=error_table(labels["held_out_teacher"], labels["held_out_student"]),
            extrapolation=_extrapolation(self.model, reference, teacher, student),
        )
        return errors.model_dump(mode="json")


def compare_errors(
    labels: Labels, student: ModelSpec, out: Path, alone: ErrorTable | None = None
) -> ErrorsResult:
    """Errors of labels, computed once; `errors.json`, `errors.csv` and figures go to a folder.

    Parameters
    ----------
    labels
        Of the levels.
    student
        The model.
    out
        The folder.
    alone
        Errors of a student on the reference data alone.
    """
    unit = ErrorTables(out / ERRORS, "tables", model=student, labels=labels)
    finish_here(unit)
    errors = ErrorsResult.model_validate(unit.numbers()).model_copy(update={"alone": alone})
    write_result(out / f"{ERRORS}.json", errors)
    rows = {
        "reference_teacher, test": errors.test.reference_teacher,
        "teacher_student, test": errors.test.teacher_student,
        "reference_student, test": errors.test.reference_student,
        "teacher_student, held out": errors.held_out,
    }
    if alone is not None:
        rows["reference_student alone, test"] = alone
    write_table_csv(out / f"{ERRORS}.csv", table_rows(rows))
    compared = pairs(labels.read())
    save_figure(parity_figure(compared, errors.tables()), out, "parity")
    save_figure(error_histogram_figure(compared), out, "error_histograms")
    return errors


def _extrapolation(
    model: ModelSpec, reference: list[Atoms], teacher: list[Atoms], student: list[Atoms]
) -> TestedExtrapolation | None:
    from distill.student.uncertainty.uncertainty_model import extrapolation

    graded = getattr(load_calculator(model), "student", None)
    found = extrapolation(graded, reference) if graded else None
    if found is None:
        return None
    beyond = set(found.beyond_training_indices)
    inside = [index for index in range(len(reference)) if index not in beyond]
    within = None
    if inside:
        within = error_table([teacher[k] for k in inside], [student[k] for k in inside])
    return TestedExtrapolation(**found.model_dump(), within=within)
