"""The linear ACE as a family of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.quantities import stress_from_virial, voigt
from distill.models.base import Job, Predictions, StructureError, TrainableFamily
from distill.student.config import StudentConfig

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.student.student_model import Student


@dataclass(frozen=True)
class LinearAce(TrainableFamily):
    """A linear ACE.

    Attributes
    ----------
    student
        The model.
    """

    kind: ClassVar[str] = "ace"
    Config: ClassVar[type[Section]] = StudentConfig
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    student: Student

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a student file."""
        from distill.student.student_model import Student

        return cls(Student.load(path))

    def save(self, path: Path) -> None:
        """Write the student file."""
        self.student.save(path)

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that it knows."""
        return frozenset(self.student.elements)

    def calculator(self) -> Calculator:
        """The student's calculator."""
        return self.student.calculator()

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """One structure after the other."""
        energies, forces = [], []
        stresses: list[np.ndarray | None] = []
        for index, atoms in enumerate(structures):
            try:
                energy, force, virial = self.student.predict(atoms)
            except UserError as error:
                raise StructureError(index, str(error)) from None
            energies.append(energy)
            forces.append(force)
            periodic = stress and atoms.pbc.all()
            stresses.append(
                stress_from_virial(voigt(virial), atoms.get_volume()) if periodic else None
            )
        return Predictions(np.array(energies), forces, stresses)

    @classmethod
    def fit(cls, frames: Sequence[Atoms], config: Section, job: Job) -> Self:
        """A student fitted natively."""
        from distill.student.fit.native_fit import fit

        assert isinstance(config, StudentConfig)
        return cls(fit(list(frames), config, seed=job.seed).student)
