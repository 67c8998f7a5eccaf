"""Steps of the workflow that did harm: what was there before them is nearer to the reference."""

from __future__ import annotations

from distill.compare.errors_result import ErrorsResult
from distill.core.number_text import number_text
from distill.core.quantities import MEV
from distill.metrics.errors import ErrorTable
from distill.teacher.teacher_results import TeacherErrors

_QUANTITIES = {"forces": ("force", "meV/Å"), "energy_per_atom": ("energy", "meV/atom")}


def harm(errors: ErrorsResult, teacher: TeacherErrors | None) -> list[str]:
    """What has to be said first of a run, a sentence for each step that did harm.

    Parameters
    ----------
    errors
        Of the comparison; its `alone` is the student that was fitted to the reference's labels.
    teacher
        Of the teacher stage, with those of the foundation model.
    """
    found = []
    if teacher is not None and (worse := _worse(teacher.teacher, teacher.foundation)):
        found.append(
            "the teacher is worse than the foundation model that it was made from, against the "
            f"reference on the test set: {worse}"
        )
    if worse := _worse(errors.test.reference_student, errors.alone):
        found.append(
            "the student is worse than a student of equal size fitted to the reference data alone, "
            f"against the reference on the test set: {worse}"
        )
    return found


def _worse(present: ErrorTable, other: ErrorTable | None) -> str:
    """In which quantities errors are larger than others, in words; empty where they are not."""
    parts = []
    for quantity, (title, unit) in _QUANTITIES.items():
        one, two = (table and getattr(table, quantity) for table in (present, other))
        if one and two and one.rmse > two.rmse:
            sizes = [number_text(MEV * errors.rmse) for errors in (one, two)]
            parts.append(f"{title} RMSE {sizes[0]} {unit}, not {sizes[1]}")
    return "; ".join(parts)
