"""The native engine against Julia: the gate that every model passes on its way between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from distill.core.results import Record, Result
from distill.data.structures import config_type
from distill.student.engine.assembly import design_rows
from distill.student.julia import julia_arguments

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.julia.julia_session import JuliaSession
    from distill.student.student_model import Student

STRUCTURES = 8
# Differences that are always allowed (eV/atom, eV/Å, eV/atom), and those that rounding leaves: a
# share of the size of the terms that are added up.
ABSOLUTE_TOLERANCE = 1e-8
RELATIVE_TOLERANCE = 1e-13


class Differences(Record):
    """Energy in eV/atom, forces in eV/Å, virial in eV/atom; None where one is not a number."""

    energy: float | None
    forces: float | None
    virial: float | None

    def __str__(self) -> str:
        shown = ("energy", "eV/atom"), ("forces", "eV/Å"), ("virial", "eV/atom")
        values = [(name, getattr(self, name), unit) for name, unit in shown]
        return ", ".join(
            f"{name} not a number" if value is None else f"{name} {value:.1e} {unit}"
            for name, value, unit in values
        )


class Parity(Result):
    """The largest differences between Julia and the native engine.

    Attributes
    ----------
    structures
        Indices of the structures that were compared.
    largest_differences, tolerances
        As found, and as allowed.
    rows
        Of a fit whose rows the native kernels assembled: the largest difference from those that
        Julia assembles, as a share of the largest of a function.
    """

    VERSION: ClassVar[int] = 2

    version: int = 2
    structures: list[int]
    largest_differences: Differences
    tolerances: Differences
    rows: float | None = None

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Version 1 compared no rows."""
        return {**data, "version": cls.VERSION}

    @property
    def holds(self) -> bool:
        """Whether every difference is allowed."""
        found, allowed = self.largest_differences, self.tolerances
        return all(
            getattr(found, name) is not None and getattr(found, name) <= getattr(allowed, name)
            for name in Differences.model_fields
        )

    @property
    def is_limited_by_rounding(self) -> bool:
        """Whether the model's terms are so large that rounding exceeds the usual tolerance."""
        return any(
            getattr(self.tolerances, name) > ABSOLUTE_TOLERANCE for name in Differences.model_fields
        )


def compare(julia: JuliaSession, student: Student, structures: Sequence[Atoms]) -> Parity:
    """Energies, forces and virials of Julia's model against those of a student.

    A model whose coefficients are huge and cancel is only defined to rounding, so what is allowed
    grows with the sum of the absolute values of the terms.

    Parameters
    ----------
    julia
        With the model.
    student
        The same model for the native engine.
    structures
        On which they are compared.
    """
    found = julia.call("evaluate", **julia_arguments.geometry_arrays(structures, student.cutoff))
    differences, sizes = np.zeros(3), np.zeros(3)
    first = 0
    for k, atoms in enumerate(structures):
        energy, forces, virial = student.predict(atoms)
        n = len(atoms)
        difference = [
            abs(energy - found["energies"][k]) / n,
            np.abs(forces - found["forces"][first : first + n]).max(),
            np.abs(virial - found["virials"][k]).max() / n,
        ]
        # The maximum of NumPy keeps what is not a number.
        differences = np.maximum(differences, difference)
        sizes = np.maximum(sizes, _sizes_of_terms(student, atoms))
        first += n
    tolerances = np.maximum(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * sizes)
    return Parity(
        structures=list(range(len(structures))),
        largest_differences=_differences(differences),
        tolerances=_differences(tolerances),
    )


def sample(structures: Sequence[Atoms], seed: int, count: int = STRUCTURES) -> list[int]:
    """Indices of the structures on which a fit is checked, each config_type in turn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    kinds = np.array([config_type(atoms) for atoms in structures])
    queues = [list(rng.permutation(np.flatnonzero(kinds == kind))) for kind in np.unique(kinds)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(structures)):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(int(queue.pop()))
    return sorted(chosen)


def _sizes_of_terms(student: Student, atoms: Atoms) -> list[float]:
    """Σ |c B| of the energy and the virial by atom, and of the force that has the largest."""
    rows = design_rows(student.basis, atoms)
    weights = np.abs(student.coefficients)
    energy, forces, virial = (
        0.0 if block is None else float((np.abs(block) @ weights).max()) for block in rows
    )
    return [energy / len(atoms), forces, virial / len(atoms)]


def _differences(values: np.ndarray) -> Differences:
    energy, forces, virial = (float(v) if np.isfinite(v) else None for v in values)
    return Differences(energy=energy, forces=forces, virial=virial)
