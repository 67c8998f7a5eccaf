"""How far a student may be trusted: its uncertainty on structures, and where a run is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from distill.core.input_files import file_stamp

if TYPE_CHECKING:
    from distill.student.uncertainty.uncertainty_model import UncertaintyModel

GRADE_KEY = "largest_grade"
DEVIATION_KEY = "largest_force_deviation"
# Four members' forces make twelve numbers for each atom: its deviation is known to 20 %.
_FORCE_MEMBERS = 4


@dataclass(frozen=True)
class Trust:
    """A student's judgement of structures that it made itself.

    Attributes
    ----------
    student
        File of a student with a committee.
    bound
        Extrapolation grade of any atom above which a run is cut.
    """

    student: Path
    bound: float

    def reason_to_stop(self, atoms: Atoms) -> str:
        """Why a run ends at a structure, empty to go on; `judge` has been called on it."""
        judge([atoms], self.student)
        grade = atoms.info[GRADE_KEY]
        # Written so that NaN, which compares false, counts as beyond trust.
        return "" if grade <= self.bound else f"extrapolation grade of {grade:.3g}"


def judge(structures: Sequence[Atoms], student: Path) -> None:
    """Put a student's largest atomic grade and force deviation (eV/Å) on structures' `info`.

    Parameters
    ----------
    structures
        Changed in place: `largest_grade` and `largest_force_deviation`.
    student
        File of a student with a committee.

    Raises
    ------
    UserError
        If the student has no committee or lacks an element.
    """
    model = _uncertainty(student, file_stamp(student))
    for atoms in structures:
        found = model.predict(atoms)[1]
        atoms.info[GRADE_KEY] = float(found.grade.max())
        atoms.info[DEVIATION_KEY] = float(found.forces.max())


@lru_cache(maxsize=2)
def _uncertainty(student: Path, stamp: tuple[int, int, int]) -> UncertaintyModel:
    from distill.student.student_model import Student
    from distill.student.uncertainty.uncertainty_model import UncertaintyModel

    return UncertaintyModel(Student.load(student), _FORCE_MEMBERS)
