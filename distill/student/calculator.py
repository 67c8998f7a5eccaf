"""The student as an ASE calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.model import Student


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

    def __init__(self, student: Student, *, skin: float = 0.5, threads: int = 1) -> None:
        from distill.student.neighbours import VerletList

        super().__init__()
        self.student = student
        self.threads = threads
        self.neighbours = VerletList(student.cutoff, skin)

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
        from distill.student.evaluate import evaluate_pairs, species_indices

        super().calculate(atoms, properties, system_changes)
        structure = cast("Atoms", self.atoms)
        species = species_indices(self.student.elements, structure)
        neighbours = self.neighbours.update(structure)
        result = evaluate_pairs(
            self.student.basis.layout, self.student.weights, species, *neighbours, self.threads
        )
        energy = float(result.energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": result.energies,
            "forces": result.forces,
        }
        if structure.cell.rank == 3:
            symmetric = (result.virial + result.virial.T) / 2
            stress = -symmetric / structure.get_volume()
            self.results["stress"] = np.asarray(full_3x3_to_voigt_6_stress(stress))
