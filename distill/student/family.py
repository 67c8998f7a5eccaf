"""The linear ACE student as a family of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.quantities import has_volume, stress_from_virial, voigt
from distill.models.base import Job, Predictions, StructureError, TrainableFamily
from distill.student.config import StudentConfig
from distill.student.student_model import Student, StudentCalculator

if TYPE_CHECKING:
    from ase import Atoms


class LinearAce(TrainableFamily):
    """A linear ACE potential, whichever backend fitted it, evaluated by the native engine.

    Parameters
    ----------
    student
        The potential.
    threads
        Threads that share the structures, or the atoms of one, among them.
    """

    kind = "ace"
    Config: ClassVar[type[Section]] = StudentConfig
    suffixes = (".npz",)

    def __init__(self, student: Student, threads: int = 1) -> None:
        self.student = student
        self.threads = threads

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The student of a file; it runs on the CPU, in double precision, whatever is asked for."""
        return cls(Student.load(path))

    def save(self, path: Path) -> None:
        """Write the student file."""
        self.student.save(path)

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that it knows."""
        return frozenset(self.student.elements)

    def calculator(self) -> StudentCalculator:
        """An ASE calculator."""
        return self.student.calculator(threads=self.threads)

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """Energies, forces and, if asked, stresses of structures whose cell has a volume."""
        try:
            found = self.student.predict_many(structures, threads=self.threads)
        except UserError:
            found = [self._one(index, atoms) for index, atoms in enumerate(structures)]
        stresses = [
            stress_from_virial(voigt(virial), atoms.get_volume())
            if stress and has_volume(atoms.cell[:])
            else None
            for atoms, (_, _, virial) in zip(structures, found, strict=True)
        ]
        return Predictions(
            energies=np.array([energy for energy, _, _ in found]),
            forces=[forces for _, forces, _ in found],
            stresses=stresses,
        )

    def _one(self, index: int, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """One prediction, its error naming the structure."""
        try:
            return self.student.predict(atoms)
        except UserError as error:
            raise StructureError(index, str(error)) from None

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Mean of the site bases of each structure's atoms, (n, n_functions)."""
        rows = [self.student.descriptors(atoms).mean(axis=0) for atoms in structures]
        return np.array(rows).reshape(len(structures), self.student.basis.n_functions)

    def uncertainty(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        """Deviation of each force component, eV/Å, (N, 3); the same for the three of an atom."""
        from distill.student.uncertainty.uncertainty_model import UncertaintyModel

        model = UncertaintyModel(self.student)
        found = [model.predict(atoms)[1].forces for atoms in structures]
        return [np.repeat(forces[:, None], 3, axis=1) for forces in found]

    @classmethod
    def fit(cls, frames: Sequence[Atoms], config: Section, job: Job) -> Self:
        """A student fitted to structures with REF_ labels, by the backend of the config."""
        from distill.student.fit_backends import fit_student

        if not isinstance(config, StudentConfig):
            raise TypeError(f"expected a StudentConfig, found {type(config).__name__}")
        return cls(fit_student(frames, config, seed=job.seed, folder=job.folder).student)
