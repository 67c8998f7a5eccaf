"""Predicted structures with their uncertainties, and a warning where the student extrapolates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.progress import say
from distill.student.uncertainty import UncertaintyModel

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.model import Student

ENERGY_DEVIATION_KEY = "energy_std"
FORCE_DEVIATION_KEY = "forces_std"
GRADE_KEY = "extrapolation_grade"
_LISTED = 10


def add_uncertainties(structures: Sequence[Atoms], student: Student) -> None:
    """Put the student's uncertainties on structures, and say which are outside its training data.

    Adds `energy_std` (eV) to `info`, and `forces_std` (eV/Å, (N,)) and `extrapolation_grade` ((N,),
    above 1 outside the training data) to `arrays`. A student without a committee has none, which
    is said.

    Parameters
    ----------
    structures
        Changed in place.
    student
        The model that predicted them.
    """
    if student.committee is None or len(student.committee) == 0:
        say("the student carries no committee: no uncertainties, no warning of extrapolation")
        return
    model = UncertaintyModel(student)
    outside = []
    for index, atoms in enumerate(structures):
        found = model.predict(atoms)[1]
        atoms.info[ENERGY_DEVIATION_KEY] = found.energy
        if found.forces is not None:
            atoms.arrays[FORCE_DEVIATION_KEY] = found.forces
        atoms.arrays[GRADE_KEY] = found.grade
        grade = float(found.grade.max(initial=0.0))
        if grade > 1.0:
            outside.append(f"{index} ({grade:.3g})")
    if outside:
        more = f" and {len(outside) - _LISTED} more" if len(outside) > _LISTED else ""
        say(
            f"warning: {len(outside)} of {len(structures)} structures are outside the training "
            f"data; index (largest extrapolation grade): {', '.join(outside[:_LISTED])}{more}"
        )
