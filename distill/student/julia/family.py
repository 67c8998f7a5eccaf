"""Models of ACEpotentials, evaluated by Julia, as a family of models."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from distill.core.config import Section
from distill.core.quantities import has_volume
from distill.models.base import Job, Predictions, TrainableFamily
from distill.student.config import StudentConfig
from distill.student.julia.acepotentials import MODEL_FILE, fit
from distill.student.julia.julia_calculator import JuliaCalculator

if TYPE_CHECKING:
    from ase import Atoms


class AcePotentials(TrainableFamily):
    """A model saved by ACEpotentials, evaluated by ACEpotentials itself, for comparison.

    The student of the same fit gives the same numbers, faster.

    Parameters
    ----------
    path
        File of the model; Julia starts when it is first needed.
    threads
        Julia's threads.
    """

    kind = "acepotentials"
    Config: ClassVar[type[Section]] = StudentConfig
    suffixes = (".json",)

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.path = path
        self.threads = threads

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a file; it runs on the CPU, in double precision, whatever is asked for."""
        return cls(path)

    def save(self, path: Path) -> None:
        """Copy the model's file."""
        shutil.copyfile(self.path, path)

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that it knows."""
        return self._julia.elements

    def calculator(self) -> JuliaCalculator:
        """An ASE calculator, with a Julia process of its own."""
        return JuliaCalculator(self.path, threads=self.threads)

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """Energies, forces and, if asked, stresses of structures whose cell has a volume."""
        energies, forces = np.zeros(len(structures)), []
        stresses: list[np.ndarray | None] = []
        for index, atoms in enumerate(structures):
            copy = atoms.copy()
            copy.calc = self._julia
            forces.append(copy.get_forces(apply_constraint=False))
            energies[index] = copy.get_potential_energy()
            wanted = stress and has_volume(atoms.cell[:])
            stresses.append(copy.get_stress(apply_constraint=False) if wanted else None)
        return Predictions(energies, forces, stresses)

    @classmethod
    def fit(cls, frames: Sequence[Atoms], config: Section, job: Job) -> Self:
        """A model fitted to structures with REF_ labels by ACEpotentials."""
        if not isinstance(config, StudentConfig):
            raise TypeError(f"expected a StudentConfig, found {type(config).__name__}")
        fit(frames, config, seed=job.seed, folder=job.folder)
        return cls(job.folder / MODEL_FILE)

    @cached_property
    def _julia(self) -> JuliaCalculator:
        return self.calculator()
