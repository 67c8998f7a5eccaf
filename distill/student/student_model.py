"""The student as users load, evaluate and keep it, and as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.core.quantities import has_volume, stress_from_virial, voigt
from distill.student.engine.assembly import site_descriptors
from distill.student.engine.evaluate import Evaluation, species_indices, thread_pool
from distill.student.engine.neighbours import VerletList
from distill.student.parameters import StudentParameters
from distill.student.uncertainty.grading import ExtrapolationWatch, deviations_of
from distill.student.uncertainty.uncertainty_model import UncertaintyModel, is_graded

Array = NDArray[np.float64]


class Student(StudentParameters):
    """A fitted linear ACE potential: its parameters, and what can be asked of it."""

    def evaluate(self, atoms: Atoms, threads: int = 1) -> Evaluation:
        """Atomic energies (N,), forces (N, 3) and virial (3, 3) of a structure; eV, Å.

        Unlike `predict` it is not watched. Parameters and errors are those of
        `engine.evaluate.Potential.evaluate`.
        """
        return self.potential.evaluate(atoms, threads)

    def predict(self, atoms: Atoms, threads: int = 1) -> tuple[float, Array, Array]:
        """Energy (eV), forces (N, 3) (eV/Å) and virial (3, 3) (eV); see `evaluate` and `watch`."""
        result = self.evaluate(atoms, threads)
        self.watch.look(atoms)
        return float(result.energies.sum()), result.forces, result.virial

    def energy(self, atoms: Atoms) -> float:
        """Energy of a structure, eV."""
        return self.predict(atoms)[0]

    def energies(self, atoms: Atoms) -> Array:
        """Energy of each atom with its one-body part, (N,), eV."""
        return self.evaluate(atoms).energies

    def forces(self, atoms: Atoms) -> Array:
        """Forces, (N, 3), eV/Å."""
        return self.predict(atoms)[1]

    def predict_many(
        self, structures: Sequence[Atoms], threads: int = 1
    ) -> list[tuple[float, Array, Array]]:
        """`predict` of many structures, shared among threads, in their order.

        Raises
        ------
        UserError
            As `evaluate`, naming the structure's index.
        """

        def predict(numbered: tuple[int, Atoms]) -> tuple[float, Array, Array]:
            index, atoms = numbered
            try:
                return self.predict(atoms)
            except UserError as error:
                raise UserError(f"structure {index}: {error}") from None

        if threads == 1:
            return [predict(item) for item in enumerate(structures)]
        return list(thread_pool(threads).map(predict, enumerate(structures)))

    def descriptors(self, atoms: Atoms) -> Array:
        """Site basis: the value of each basis function at each atom, (N, n_functions).

        Its sum over atoms times the coefficients is the energy without its one-body part.
        """
        return site_descriptors(self.basis, atoms)

    @cached_property
    def watch(self) -> ExtrapolationWatch:
        """Grades one structure in 200 and warns of the first far outside the training."""
        return ExtrapolationWatch(self)

    def calculator(
        self, skin: float = 0.5, threads: int = 1, uncertainty: bool = False
    ) -> StudentCalculator:
        """An ASE calculator with energy, energies, forces and stress.

        It warns when a structure far outside the training data comes before `watch`.

        Parameters
        ----------
        skin
            Distance beyond the cutoff that the neighbour list reaches, Å, so that it is made
            again only when an atom has moved by half of it.
        threads
            Threads to share the atoms among.
        uncertainty
            Put `energy_std`, `forces_std` and `extrapolation_grade` into `results` too, as
            `distill predict` writes them; on one thread, for two thirds of a call more.

        Raises
        ------
        UserError
            If uncertainties are wanted of a student without a committee.
        """
        return StudentCalculator(self, skin=skin, threads=threads, uncertainty=uncertainty)


class StudentCalculator(Calculator):
    """Energy, energies, free energy, forces and, in a cell with a volume, stress; eV, Å.

    Parameters
    ----------
    student
        The model.
    skin
        What the neighbour list reaches beyond the cutoff, Å.
    threads
        Threads to share the atoms among.
    uncertainty
        Whether `results` get deviations of errors and grades too.
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

    def __init__(
        self, student: Student, *, skin: float = 0.5, threads: int = 1, uncertainty: bool = False
    ) -> None:
        super().__init__()
        self._uncertainty = UncertaintyModel(student) if uncertainty else None
        self.student = student
        self.threads = threads
        self.neighbours = VerletList(student.cutoff, skin)

    def forget(self) -> None:
        """Start afresh: the order of neighbours that were found earlier changes last digits."""
        self.reset()
        self.neighbours = VerletList(self.student.cutoff, self.neighbours.skin)

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
        deviations: dict[str, Any] = {}
        if self._uncertainty is not None:
            result, found = self._uncertainty.predict(structure)
            deviations = deviations_of(found, graded=is_graded(self.student))
        else:
            species = species_indices(self.student.elements, structure)
            neighbours = self.neighbours.update(structure)
            result = self.student.potential.evaluate_pairs(species, *neighbours, self.threads)
        self.student.watch.look(structure)
        energy = float(result.energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": result.energies,
            "forces": result.forces,
            **deviations,
        }
        cell = structure.cell.array
        if has_volume(cell):
            volume = structure.get_volume()
            self.results["stress"] = stress_from_virial(voigt(result.virial), volume)
        self.atoms = Atoms(
            numbers=structure.numbers, positions=structure.positions, cell=cell, pbc=structure.pbc
        )
