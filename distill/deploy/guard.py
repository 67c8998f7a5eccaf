"""Runs that watch themselves: the extrapolation grade decides what is kept, stopped or handed over.

Every few steps the largest extrapolation grade of the structure's atoms is found (see
`distill.student.uncertainty.uncertainty_model`). Above a first bound the structure is kept for
labelling; above a second the run stops, or the teacher computes the step and the run goes on.

Source: Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017), for the two bounds.
"""

from __future__ import annotations

import os
import time
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.calculators.calculator import all_changes

from distill.core.artifacts import write_text
from distill.core.errors import ChecksFailed, UserError
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY, has_volume
from distill.data.structures import read_structures, set_labels
from distill.student.student_model import StudentCalculator
from distill.student.uncertainty.grading import GRADE_KEY, UNGRADED
from distill.student.uncertainty.uncertainty_model import UncertaintyModel, is_graded

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.student.student_model import Student

KEPT_TYPE = "guard"
ORIGIN_KEY = "student_train_sha256"


class OutsideTraining(ChecksFailed):
    """The run met a structure that the student was not trained for, and nobody to hand it to."""


class Guard:
    """Watches one run.

    Parameters
    ----------
    student
        With a committee, from which its extrapolation grade comes.
    keep_above
        First bound on the grade; 1 is the largest grade in training.
    stop_above
        Second bound.
    file
        extxyz that kept structures are added to, with `config_type` guard, the step, the SHA-256
        of the student's training set where it is known, the grade of each atom in the array
        `extrapolation_grade` and, where the teacher took the step, its labels.
    every
        Steps between two looks; while the teacher has the run every step is looked at.
    teacher
        ASE calculator that computes the steps above the second bound; without it the run stops.
    limit
        Structures in `file` after which no more are kept.

    Attributes
    ----------
    looks, kept, handed_over
        Numbers of structures graded, kept, and computed by the teacher.
    seconds
        Time spent in grading and in the teacher.

    Raises
    ------
    UserError
        If the student has no committee or no grades, the bounds are out of order, or `file` is
        damaged.
    """

    def __init__(
        self,
        student: Student,
        *,
        keep_above: float,
        stop_above: float,
        file: str | os.PathLike[str],
        every: int = 10,
        teacher: Calculator | None = None,
        limit: int = 100,
    ) -> None:
        if not 0 < keep_above <= stop_above:
            raise UserError(
                f"guard: expected 0 < keep_above <= stop_above, found {keep_above} and {stop_above}"
            )
        if every < 1:
            raise UserError(f"guard: expected every >= 1, found {every}")
        self.model = UncertaintyModel(student)
        if not is_graded(student):
            raise UserError(f"guard: no extrapolation grades: {UNGRADED}")
        self.keep_above, self.stop_above = keep_above, stop_above
        self.every, self.limit = every, limit
        self.teacher = teacher
        self.file = Path(file)
        self.looks = self.kept = self.handed_over = 0
        self.seconds = 0.0
        trained_on = student.provenance.get("train_sha256")
        self._origin = {} if trained_on is None else {ORIGIN_KEY: trained_on}
        self._with_teacher = False
        self._text, self._count = "", 0
        if self.file.exists():
            self._count = len(read_structures(self.file, require=()))
            self._text = self.file.read_text(encoding="utf-8")

    def watch(self, atoms: Atoms, step: int) -> dict[str, Any] | None:
        """Look at a structure if it is time to.

        Parameters
        ----------
        atoms
            The structure.
        step
            Number of the step, or of the force call.

        Returns
        -------
        dict or None
            The teacher's energy (eV), forces (eV/Å) and, where it has one, stress (eV/Å³, Voigt),
            to be used in place of the student's; None if the student's stand.

        Raises
        ------
        OutsideTraining
            If the grade is above the second bound and there is no teacher.
        UserError
            If the teacher cannot compute the structure.
        """
        if step % self.every and not self._with_teacher:
            return None
        start = time.perf_counter()
        try:
            return self._look(atoms, step)
        finally:
            self.seconds += time.perf_counter() - start

    def _look(self, atoms: Atoms, step: int) -> dict[str, Any] | None:
        grades = self.model.predict(atoms)[1].grade
        self.looks += 1
        worst = int(grades.argmax())
        largest = float(grades[worst])
        beyond = largest > self.stop_above
        answer = self._ask_teacher(atoms, step) if beyond and self.teacher is not None else None
        if largest > self.keep_above:
            self._keep(atoms, step, grades, answer)
        if beyond and self.teacher is None:
            raise OutsideTraining(
                f"step {step}: atom {worst} ({atoms.symbols[worst]}) has extrapolation grade "
                f"{largest:.3g}, above {self.stop_above:g}; the structure is in {self.file}: label "
                "it, fit again, or give the run a teacher to hand such steps to"
            )
        if (answer is not None) != self._with_teacher:
            taker = "the teacher takes" if answer else "the student takes back"
            say(f"guard: step {step}: extrapolation grade {largest:.3g}; {taker} the run")
        self._with_teacher = answer is not None
        return answer

    def _ask_teacher(self, atoms: Atoms, step: int) -> dict[str, Any]:
        copy = atoms.copy()
        copy.calc = self.teacher
        answer: dict[str, Any] = {"energy": float(copy.get_potential_energy())}
        answer["forces"] = copy.get_forces(apply_constraint=False)
        if has_volume(copy.cell[:]) and "stress" in copy.calc.implemented_properties:
            answer["stress"] = copy.get_stress(apply_constraint=False)
        if not np.isfinite(answer["forces"]).all():
            raise UserError(f"guard: step {step}: the teacher's forces are not finite")
        self.handed_over += 1
        return answer

    def _keep(
        self, atoms: Atoms, step: int, grades: np.ndarray, answer: dict[str, Any] | None
    ) -> None:
        from ase.io import write

        if self._count >= self.limit:
            return
        kept = atoms.copy()
        kept.calc = None
        kept.arrays[GRADE_KEY] = np.minimum(grades, np.finfo(float).max)
        kept.info.update({CONFIG_TYPE_KEY: KEPT_TYPE, "step": step, **self._origin})
        if answer is not None:
            set_labels(kept, **answer)
        text = StringIO()
        write(text, kept, format="extxyz")
        self._text += text.getvalue()
        self._count += 1
        self.kept += 1
        write_text(self.file, self._text)
        if self._count == self.limit:
            say(f"guard: {self.file} holds {self.limit} structures; no more are kept")

    def summary(self) -> str:
        """One line: how often it looked, what it kept, what the teacher took, what it cost."""
        return (
            f"guard: {self.looks} looks, {self.kept} structures kept in {self.file}, "
            f"{self.handed_over} steps by the teacher, {self.seconds:.3g} s"
        )


class GuardedCalculator(StudentCalculator):
    """The student's calculator under a guard: `atoms.calc = GuardedCalculator(student, guard)`.

    Each new structure it is asked for counts as one step. A step that the teacher takes has the
    teacher's energy, which differs from the student's: the total energy jumps there, and `energies`
    are not given.

    Parameters
    ----------
    student
        The model.
    guard
        Made for the same student.
    skin, threads
        As in `Student.calculator`.
    """

    def __init__(
        self, student: Student, guard: Guard, *, skin: float = 0.5, threads: int = 1
    ) -> None:
        super().__init__(student, skin=skin, threads=threads)
        self.guard = guard
        self.steps = -1

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Evaluate the student, then let the guard look.

        Raises
        ------
        OutsideTraining
            If the run has to stop.
        UserError
            As `StudentCalculator.calculate`.
        """
        super().calculate(atoms, properties, system_changes)
        self.steps += 1
        answer = self.guard.watch(cast("Atoms", self.atoms), self.steps)
        if answer is not None:
            self.results = {**answer, "free_energy": answer["energy"]}
