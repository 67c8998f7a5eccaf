"""Multiple time steps: a student moves the atoms, its teacher corrects it now and then.

The reversible splitting of Tuckerman, Berne and Martyna, J. Chem. Phys. 97, 1990 (1992), with what
the teacher's forces add to the student's as the slow part:

    half kick of n h (F_teacher − F_student), n steps h by the student, the same half kick.

The steps within are velocity Verlet, or BAOAB with a thermostat, whose noise then acts on the fast
motion; either way the outer step is symmetric, of second order in n h, and keeps the teacher's
ensemble to that order. The slow part kicks at intervals: where n h comes near half the period of a
vibration that the two models do not share, energy flows into it (Ma, Izaguirre and Skeel, SIAM J.
Sci. Comput. 24, 1951 (2003)); `outer_step` finds the step up to which it does not.

An outer step that begins outside the student's training data, or on which the student fails, is
taken by the teacher alone, with n calls and the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from distill.core.errors import UserError
from distill.core.fingerprint import model_identity
from distill.core.random_streams import thermal_noise
from distill.models.answering import AnsweringCalculator
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator
from distill.simulation.dynamics import Forces, Step, kinetic_energy, next_step

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.engine.kernels.kernel_arguments import Scheme

Advance = Callable[[Step, np.ndarray], Step]


@dataclass(frozen=True)
class TwoModels:
    """A teacher whose dynamics take the student's steps in between, as a model.

    Attributes
    ----------
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    inner_steps
        Steps by the student for each correction.
    max_grade
        Extrapolation grade of any atom above which the teacher takes an outer step.
    """

    teacher: ModelSpec
    student: ModelSpec
    inner_steps: int
    max_grade: float = 1.0

    def calculator(self) -> MultipleTimeSteps:
        """The teacher's calculator, whose dynamics have the student's steps."""
        return MultipleTimeSteps(
            load_calculator(self.teacher),
            load_calculator(self.student),
            self.inner_steps,
            self.max_grade,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What `distill.core.fingerprint` knows it by: both models by their contents."""
        return {
            "teacher": model_identity(self.teacher),
            "student": model_identity(self.student),
            "inner_steps": self.inner_steps,
            "max_grade": self.max_grade,
        }


class MultipleTimeSteps(AnsweringCalculator):
    """A teacher's energy [eV], forces [eV/Å] and stress; dynamics by it take a student's steps.

    Parameters
    ----------
    teacher, student
        ASE calculators. The steps of a `StudentCalculator` are compiled, and its extrapolation
        grade is looked at where it has one.
    inner_steps
        Steps by the student for each correction.
    max_grade
        Extrapolation grade of any atom above which the teacher takes an outer step.

    Attributes
    ----------
    handed_over
        Outer steps that the teacher took.
    """

    def __init__(
        self, teacher: Calculator, student: Calculator, inner_steps: int, max_grade: float = 1.0
    ) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student
        self.inner_steps, self.max_grade = inner_steps, max_grade
        self.implemented_properties = list(teacher.implemented_properties)
        self.handed_over = 0

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """The teacher's results."""
        self.teacher.calculate(atoms, properties, list(all_changes))
        return dict(self.teacher.results)

    def take_steps(
        self,
        atoms: Atoms,
        forces_of: Forces,
        start: Step,
        scheme: Scheme,
        generator: np.random.Generator | None,
    ) -> Iterator[Step]:
        """Every outer step, with the number of the inner step that it ends with; see `integrate`.

        Raises
        ------
        UserError
            If the teacher fails, or the student on a structure that begins a step.
        """
        n = self.inner_steps
        kick = n * scheme.half_kick[:, None]
        student = Forces(atoms, self.student)
        advance = _advance_by(self.student, atoms, student, scheme)
        grade = _grade_by(self.student, atoms)
        step = start
        forces = student(step.positions)[1]
        while True:
            noise = thermal_noise(generator, n, len(atoms))
            # Written so that NaN, which compares false, counts as outside.
            inside = grade(step.positions) <= self.max_grade
            moved: Step | None = None
            if inside:
                kicked = step.velocities + kick * (step.forces - forces)
                try:
                    moved = advance(replace(step, velocities=kicked, forces=forces), noise)
                except UserError:
                    # The start was evaluated, so the student fails on where it led.
                    moved = None
            if moved is None:
                self.handed_over += 1
                for normal in noise:
                    step = next_step(forces_of, step, scheme, normal)
                forces = student(step.positions)[1]
            else:
                forces = moved.forces
                energy, exact = forces_of(moved.positions)
                velocities = moved.velocities + kick * (exact - forces)
                step = Step(
                    index=step.index + n,
                    positions=moved.positions,
                    velocities=velocities,
                    energy=energy,
                    forces=exact,
                    kinetic=kinetic_energy(forces_of.inertia, velocities),
                    calls=step.calls + 1,
                )
            yield step


def handed_over(calculator: Calculator) -> int:
    """Outer steps that the teacher of a calculator took; 0 for one without multiple time steps."""
    return calculator.handed_over if isinstance(calculator, MultipleTimeSteps) else 0


def _advance_by(calculator: Calculator, atoms: Atoms, forces_of: Forces, scheme: Scheme) -> Advance:
    """Some steps by a calculator, as many as there are rows of noise; a student's are compiled."""
    from distill.student.student_model import StudentCalculator

    if type(calculator) is not StudentCalculator:

        def plain(step: Step, noise: np.ndarray) -> Step:
            for normal in noise:
                step = next_step(forces_of, step, scheme, normal)
            return step

        return plain
    from distill.student.engine.compiled_dynamics import CompiledSteps

    steps = CompiledSteps(
        calculator.student.potential,
        atoms,
        scheme,
        skin=calculator.neighbours.skin,
        threads=calculator.threads,
    )

    def compiled(step: Step, noise: np.ndarray) -> Step:
        block, problem = steps.take(step.positions, step.velocities, step.forces, noise)
        if problem is not None:
            raise problem
        return replace(
            step,
            positions=block.positions[-1],
            velocities=block.velocities[-1],
            forces=block.forces[-1],
        )

    return compiled


def _grade_by(calculator: Calculator, atoms: Atoms) -> Callable[[np.ndarray], float]:
    """Largest extrapolation grade at positions (Å); 0 where a model has no grades."""
    from distill.student.student_model import StudentCalculator
    from distill.student.uncertainty.uncertainty_model import UncertaintyModel, is_graded

    if not isinstance(calculator, StudentCalculator) or not is_graded(calculator.student):
        return lambda positions: 0.0
    model = UncertaintyModel(calculator.student)
    moving = atoms.copy()
    moving.set_constraint()

    def grade(positions: np.ndarray) -> float:
        moving.positions[:] = positions
        return float(model.predict(moving)[1].grade.max(initial=0.0))

    return grade
