"""Extrapolation grades of what is evaluated, and warnings where the student extrapolates."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distill.core.progress import listed, say
from distill.student.uncertainty.uncertainty_model import Uncertainty, UncertaintyModel, is_graded

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.student.parameters import StudentParameters

ENERGY_DEVIATION_KEY = "energy_std"
FORCE_DEVIATION_KEY = "forces_std"
GRADE_KEY = "extrapolation_grade"
# A watch grades the first evaluation and one in so many later ones: about 1 % of the time.
WATCH_EVERY = 200
# Grade from which it warns: twice what the training data reach.
FAR_OUTSIDE = 2.0


UNGRADED = "the student's file lacks the deviations of its training data; fit it again"


class ExtrapolationWarning(UserWarning):
    """A student was evaluated far outside its training data."""


class ExtrapolationWatch:
    """Looks at a few of a student's evaluations, and warns once of one far outside its training.

    A student that carries no committee, or none of whose training sites were graded, is not
    watched. To grade every structure use `UncertaintyModel`, and to act on the grade a guard.

    Parameters
    ----------
    student
        The model.

    Attributes
    ----------
    evaluations, looks, outside
        Evaluations counted, those graded, and those of them with a grade above 1. They are counted
        after the warning too.
    """

    def __init__(self, student: StudentParameters) -> None:
        self._student = student
        self._graded = is_graded(student)
        self._warned = False
        self._model: UncertaintyModel | None = None
        self.evaluations = self.looks = self.outside = 0
        self.paused = False

    def look(self, atoms: Atoms, evaluations: int = 1) -> None:
        """Count evaluations, the first of them of `atoms`, and grade it if it is its turn."""
        if self.paused:
            return
        before, self.evaluations = self.evaluations, self.evaluations + evaluations
        if not self._graded or -before % WATCH_EVERY >= evaluations:
            return
        if self._model is None:
            self._model = UncertaintyModel(self._student)
        grade = self._model.predict(atoms)[1].grade
        self.looks += 1
        self.outside += bool(grade.max(initial=0.0) > 1)
        if self._warned or not grade.max(initial=0.0) > FAR_OUTSIDE:
            return
        self._warned = True
        atom = int(grade.argmax())
        warnings.warn(
            f"far outside the student's training data: atom {atom} ({atoms.symbols[atom]}) has an "
            f"extrapolation grade of {grade[atom]:.3g}, training sites have 1 at most. Do not "
            "trust energy and forces; grade the structures with 'distill predict', and add such to "
            "the training set. This is said once",
            ExtrapolationWarning,
            stacklevel=4,
        )


@contextmanager
def unwatched(calculator: Calculator) -> Iterator[None]:
    """Let a student's calculator be evaluated far outside its training data without a warning.

    For curves that go there on purpose; other calculators are left alone.
    """
    student = getattr(calculator, "student", None)
    if student is None:
        yield
        return
    before, student.watch.paused = student.watch.paused, True
    try:
        yield
    finally:
        student.watch.paused = before


def deviations_of(found: Uncertainty, *, graded: bool) -> dict[str, Any]:
    """What is said of a structure's uncertainty, by name; grades where there are any."""
    grades = {GRADE_KEY: found.grade} if graded else {}
    return {
        ENERGY_DEVIATION_KEY: found.energy_error,
        FORCE_DEVIATION_KEY: found.force_errors,
        **grades,
    }


def add_uncertainties(structures: Sequence[Atoms], student: StudentParameters) -> None:
    """Put the student's uncertainties on structures, and say which are outside its training data.

    Adds `energy_std` (eV) to `info`, and `forces_std` (eV/Å, (N,)) and `extrapolation_grade` ((N,),
    above 1 outside the training data) to `arrays`; the first two are the standard deviations of the
    errors that have to be expected. A student without a committee has none of them,
    one that does not say what its training data had no grades; either is said.

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
    graded = is_graded(student)
    if not graded:
        say(f"no extrapolation grades and no warnings of extrapolation: {UNGRADED}")
    model = UncertaintyModel(student)
    outside = []
    for index, atoms in enumerate(structures):
        found = model.predict(atoms)[1]
        known = deviations_of(found, graded=graded)
        atoms.info[ENERGY_DEVIATION_KEY] = known.pop(ENERGY_DEVIATION_KEY)
        atoms.arrays.update(known)
        if not graded:
            continue
        grade = float(found.grade.max(initial=0.0))
        if grade > 1.0:
            outside.append(f"{index} ({grade:.3g})")
    if outside:
        say(
            f"warning: {len(outside)} of {len(structures)} structures are outside the training "
            f"data; index (largest extrapolation grade): {listed(outside)}"
        )
