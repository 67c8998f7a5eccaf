"""What a round of student-driven sampling makes itself: the student, and the choice of candidates.

Both are done in the main process, the fit with all threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from distill.core.work import Unit
from distill.data.structures import read_structures, write_structures
from distill.metrics.selection import distinct, largest_leverage
from distill.sampling.descriptors import structure_descriptors
from distill.student.config import StudentConfig

ROUND_KEY = "round"


@dataclass(frozen=True)
class StudentUnit(Unit):
    """Fit a student that grades what it visits.

    Attributes
    ----------
    structures
        Labelled ones to learn from.
    e0
        One-body energies, eV, by element; fitted if None.
    """

    config: StudentConfig
    structures: tuple[Atoms, ...]
    seed: int
    e0: Mapping[str, float] | None

    def settings(self) -> dict[str, Any]:
        """All but the number of threads."""
        return {**super().settings(), "config": self.config.model_copy(update={"threads": None})}

    def files(self) -> list[Path]:
        """The student."""
        return [self.folder / f"{self.name}.npz"]

    def student(self) -> Path:
        """The student's file; fitted first where it is not there."""
        if not self.finished:
            self.run()
        return self.files()[0]

    def work(self) -> dict[str, int]:
        """Fit and write it."""
        from distill.student.fit.native_fit import fit

        result = fit(self.structures, self.config, seed=self.seed, teacher_e0=self.e0)
        result.student.save(self.files()[0])
        return {"structures": len(result.structures)}


@dataclass(frozen=True)
class PickUnit(Unit):
    """Choose candidates unlike each other and those picked before, by a D-optimal design.

    Descriptors weigh elements alike. The label rows of the student would not: the many atoms of a
    slab would outweigh the few of a molecule, whose forces are the hard ones.

    Attributes
    ----------
    candidates
        To choose from.
    before
        Picked in earlier rounds. The first training set stays out, because its variety would take
        up the principal components.
    count
        How many at most.
    number
        Of the round, noted on what is picked.
    tolerance
        Distance of descriptors below which structures count as the same.
    """

    candidates: tuple[Atoms, ...]
    before: tuple[Atoms, ...]
    count: int
    number: int
    tolerance: float

    def files(self) -> list[Path]:
        """The picked structures."""
        return [self.folder / f"{self.name}.xyz"]

    def picked(self) -> list[Atoms]:
        """The structures; chosen first where they are not there."""
        if not self.finished:
            self.run()
        return read_structures(self.files()[0]) if self.numbers()["structures"] else []

    def work(self) -> dict[str, int]:
        """Choose and write them."""
        from threadpoolctl import threadpool_limits

        # Sums over threads would make the choice depend on their number.
        with threadpool_limits(1):
            descriptors = structure_descriptors([*self.before, *self.candidates], "ace", "")
            unique = distinct(descriptors, self.tolerance)
            new = unique[unique >= len(self.before)]
            known = descriptors[: len(self.before)] if self.before else None
            count = min(self.count, len(new))
            chosen = new[largest_leverage(descriptors[new], count, known)] if count else new
        picked = [self.candidates[index - len(self.before)].copy() for index in chosen]
        for atoms in picked:
            atoms.info[ROUND_KEY] = self.number
        write_structures(self.files()[0], picked)
        return {"structures": len(picked)}
