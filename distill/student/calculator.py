"""The student as an ASE calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from distill.core.quantities import stress_from_virial, voigt
from distill.student.engine.evaluate import evaluate_pairs, species_indices
from distill.student.engine.neighbours import VerletList

if TYPE_CHECKING:
    from distill.student.student_model import Student


class StudentCalculator(Calculator):
    """Energy, energies, free energy, forces and (in periodic cells) stress; eV, Å.

    Parameters
    ----------
    student
        The model.
    skin
        What the neighbour list reaches beyond the cutoff, Å.
    threads
        Threads to share the atoms among.
    """

    implemented_properties = [  # noqa: RUF012 - ASE's own declaration
        "energy",
        "energies",
        "free_energy",
        "forces",
        "stress",
    ]

    # ASE's cache copies and compares whole structures twice a step, which costs as much as the
    # evaluation; `check_state` and `calculate` below keep their own.
    use_cache = False

    def __init__(self, student: Student, *, skin: float = 0.5, threads: int = 1) -> None:
        super().__init__()
        self.student = student
        self.threads = threads
        self.neighbours = VerletList(student.cutoff, skin)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Which of positions, numbers, cell and pbc differ from the last evaluation, exactly."""
        old = self.atoms
        if old is None or len(old) != len(atoms):
            return list(all_changes)
        pairs = {
            "positions": (old.positions, atoms.positions),
            "numbers": (old.numbers, atoms.numbers),
            "cell": (old.cell.array, atoms.cell.array),
            "pbc": (old.pbc, atoms.pbc),
        }
        return [name for name, (a, b) in pairs.items() if not (a == b).all()]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Evaluate the student; all properties come from one evaluation.

        Raises
        ------
        UserError
            If an element is unknown, a position is not finite or atoms coincide.
        """
        structure = cast("Atoms", self.atoms if atoms is None else atoms)
        species = species_indices(self.student.elements, structure)
        neighbours = self.neighbours.update(structure)
        result = evaluate_pairs(
            self.student.basis.layout, self.student.weights, species, *neighbours, self.threads
        )
        self.student.watch.look(structure)
        energy = float(result.energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": result.energies,
            "forces": result.forces,
        }
        cell = structure.cell.array
        volume = abs(np.linalg.det(cell))
        if volume > 0.0:
            self.results["stress"] = stress_from_virial(voigt(result.virial), volume)
        self.atoms = Atoms(
            numbers=structure.numbers, positions=structure.positions, cell=cell, pbc=structure.pbc
        )
