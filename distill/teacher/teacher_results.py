"""What the teacher stage measures: errors on the test set, and a committee's spread."""

from __future__ import annotations

from typing import Any

from distill.core.results import Record, Result
from distill.metrics.calibration import DeviationQuality
from distill.metrics.errors import ErrorTable

ERRORS_NAME, COMMITTEE_NAME = "errors.json", "committee.json"


class TeacherErrors(Result):
    """Errors on the test set.

    Attributes
    ----------
    teacher
        Of the teacher.
    foundation
        Of the model that it was made from, with the atomic reference energies that training starts
        from; None where that model lacks elements of the data.
    """

    teacher: ErrorTable
    foundation: ErrorTable | None = None

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file from before the layout was numbered has the same tables."""
        return {**data, "version": cls.VERSION}

    def tables(self) -> dict[str, ErrorTable]:
        """The tables that there are, the foundation's first."""
        found = {"foundation": self.foundation, "teacher": self.teacher}
        return {name: table for name, table in found.items() if table is not None}


class MemberErrors(Record):
    """A member of a committee, and its errors on the test set: eV/atom and eV/Å."""

    folder: str
    sha256: str
    seed: int
    structures: int
    energy_per_atom_rmse: float | None
    forces_rmse: float | None


class MeanErrors(Record):
    """Errors of a committee's mean on the test set: eV/atom and eV/Å."""

    energy_per_atom_rmse: float | None
    forces_rmse: float | None


class SpreadQuality(Record):
    """How well the spread of the members describes the errors of their mean."""

    energy_per_atom: DeviationQuality
    forces: DeviationQuality


class CommitteeRecord(Result):
    """The members of a committee, the errors of their mean, and what their spread says."""

    members: list[MemberErrors]
    mean: MeanErrors
    calibration: SpreadQuality

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file from before the layout was numbered has the same entries."""
        return {**data, "version": cls.VERSION}
