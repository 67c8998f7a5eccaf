"""What the compare stage says of errors."""

from __future__ import annotations

from typing import Any, ClassVar

from distill.core.number_text import number_text
from distill.core.quantities import MEV
from distill.core.results import Result
from distill.metrics.errors import ErrorBudget, ErrorTable
from distill.student.uncertainty.uncertainty_model import Extrapolation

# Title of the errors of a student that was fitted to the reference's labels.
ALONE = "student on the reference data alone – reference"


class TestedExtrapolation(Extrapolation):
    """Test structures that the student was not trained for.

    Attributes
    ----------
    within
        Errors of the student against the teacher on the others; None without any.
    """

    within: ErrorTable | None


class ErrorsResult(Result):
    """Errors of teacher and student.

    Attributes
    ----------
    test
        Along the chain from the reference to the student, on the reference's test set.
    held_out
        Student against teacher on structures that the student was not fitted to.
    extrapolation
        None for a student without a committee.
    alone
        Against the reference on its test set, of a student of equal size that was fitted to the
        reference's training labels alone; None where there is none.
    """

    VERSION: ClassVar[int] = 2

    version: int = 2
    test: ErrorBudget
    held_out: ErrorTable
    extrapolation: TestedExtrapolation | None
    alone: ErrorTable | None = None

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file of version 1 knows no student on the reference's labels."""
        return {**data, "version": cls.VERSION}

    def tables(self) -> dict[str, ErrorTable]:
        """The tables by what is compared."""
        return {
            "reference → teacher": self.test.reference_teacher,
            "teacher → student, held out": self.held_out,
            "reference → student": self.test.reference_student,
        }

    def columns(self) -> dict[str, ErrorTable]:
        """The tables by their titles in the published layout."""
        return {
            "teacher – reference": self.test.reference_teacher,
            "student – teacher, held out": self.held_out,
            "student – reference": self.test.reference_student,
            **({} if self.alone is None else {ALONE: self.alone}),
        }


def extrapolation_text(errors: ErrorsResult) -> str:
    """How many test structures the student was not trained for, and its force error on the others.

    Empty without grades.
    """
    found = errors.extrapolation
    if found is None:
        return ""
    text = (
        f"{found.beyond_training} of {found.structures} test structures outside the training data"
    )
    if not found.beyond_training:
        return text
    text += f" (largest extrapolation grade {number_text(found.largest_grade)})"
    within = found.within.forces if found.within else None
    everywhere = errors.test.teacher_student.forces
    if not (within and everywhere):
        return text
    return (
        f"{text}; force RMSE against the teacher {number_text(MEV * within.rmse)} meV/Å on the "
        f"others, {number_text(MEV * everywhere.rmse)} on all"
    )
