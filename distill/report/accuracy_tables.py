"""The accuracy table of the report, beside the published one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.compare.errors_result import ALONE, ErrorsResult, extrapolation_text
from distill.compare.timing_result import TimingResult
from distill.metrics.error_texts import interval_rows, study_rows
from distill.metrics.errors import ErrorTable
from distill.observables.base import STUDENT, TEACHER
from distill.teacher.teacher_results import TeacherErrors

# Radova, Stark, Allen, Maurer, Bartók, npj Comput. Mater. (2025): H2/Cu test set, 56-atom slab, one
# core of an AMD EPYC 7742. Rows as `study_rows` names them.
PUBLISHED_SOURCE = (
    "Radova et al., npj Computational Materials (2025), doi 10.1038/s41524-025-01727-x: H2/Cu with "
    "DFT data, MACE-MP as foundation model, ACE of order 4; times on one core of an AMD EPYC 7742"
)
PUBLISHED = {
    "teacher": {
        "MAE / RMSE E [meV]": "6.7 / 13.5",
        "MAE / RMSE F [meV/Å]": "3.1 / 10.1",
        "H atoms MAE / RMSE F [meV/Å]": "4.3 / 17.1",
        "time E / time F [ms]": "372.6 / 390.5",
    },
    "student": {
        "MAE / RMSE E [meV]": "4.8 / 6.4",
        "MAE / RMSE F [meV/Å]": "7.2 / 10.9",
        "H atoms MAE / RMSE F [meV/Å]": "9.0 / 17.7",
        "time E / time F [ms]": "9.6 / 22.6",
    },
}


def accuracy_tables(parts: Mapping[str, Any]) -> Any:
    """The accuracy table in the published layout, and the full tables behind it; None without any.

    Parameters
    ----------
    parts
        `errors` and `timing` of the comparison, and the contents of the errors.json of teacher and
        student, `teacher_errors` and `student_errors`; None for what is not there.
    """
    tables: dict[str, ErrorTable] = {}
    errors: ErrorsResult | None = parts["errors"]
    of_teacher: TeacherErrors | None = parts["teacher_errors"]
    of_student = parts["student_errors"]
    if of_teacher and of_teacher.foundation:
        tables["foundation – reference"] = of_teacher.foundation
    if errors:
        tables |= {
            "teacher – reference": errors.test.reference_teacher,
            "student – teacher, held out": errors.held_out,
            "student – teacher": errors.test.teacher_student,
            "student – reference": errors.test.reference_student,
        }
        if errors.alone is not None:
            tables[ALONE] = errors.alone
    elif of_teacher:
        tables["teacher – reference"] = of_teacher.teacher
    if of_student and "test" in of_student and not errors:
        tables["student – teacher, held out"] = ErrorTable.model_validate(of_student["test"])
    if not tables:
        return None
    rows: list[dict[str, Any]] = [
        {"title": title, "cells": cells}
        for title, cells in study_rows(tables, _times_by_column(parts["timing"]))
    ]
    published: list[str] = []
    if any(set(table.forces_by_element) == {"Cu", "H"} for table in tables.values()):
        published = ["published teacher – DFT", "published student – teacher"]
        for row in rows:
            row["cells"] += [PUBLISHED[name].get(row["title"], "—") for name in PUBLISHED]
    return {
        "columns": list(tables),
        "published_columns": published,
        "published_source": PUBLISHED_SOURCE if published else None,
        "rows": rows,
        "intervals": interval_rows(tables),
        "structures": {name: table.structures for name, table in tables.items()},
        "force_error_correlation": errors.test.force_error_correlation if errors else None,
        "extrapolation": extrapolation_text(errors) if errors else "",
        "tables": {name: table.model_dump(mode="json") for name, table in tables.items()},
    }


def _times_by_column(timing: TimingResult | None) -> dict[str, tuple[float, float]]:
    if not timing:
        return {}
    columns = {
        "teacher – reference": TEACHER,
        "student – teacher, held out": STUDENT,
        "student – teacher": STUDENT,
        "student – reference": STUDENT,
    }
    return {
        column: timing.medians_ms(name) for column, name in columns.items() if name in timing.models
    }
