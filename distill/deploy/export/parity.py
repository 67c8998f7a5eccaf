"""The parity gate: what a written file says, read back, against the student it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from distill.core.errors import UserError
from distill.models.base import Predictions

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

PairDistances = Mapping[tuple[str, str], float]

# Structures of the training set that are compared, spread over it.
LARGEST_SAMPLE = 6
_STRAIN = 0.03
_DIMERS, _TRIMERS, _CRYSTALS = 15, 10, 3
_STRAINED = 3
# Dimers begin at this part of r0, or of the shortest distance that is known.
_INNER, _INNER_OF_SHORTEST = 0.45, 0.9
# The shortest beginning, Å.
_LEAST_INNER = 0.2


class Differences(NamedTuple):
    """Largest differences by kind of structure: force components (eV/Å), energies (eV/atom)."""

    force: dict[str, float]
    energy: dict[str, float]

    @property
    def largest(self) -> float:
        """Of them all."""
        return max(*self.force.values(), *self.energy.values())


class ParitySample:
    """Structures on which files are compared with a student, and what the student says of them.

    Parameters
    ----------
    student
        The model.
    samples
        Structures by kind.
    """

    def __init__(self, student: Student, samples: Mapping[str, Sequence[Atoms]]) -> None:
        self.counts = {kind: len(listed) for kind, listed in samples.items() if listed}
        self._kinds = [kind for kind, count in self.counts.items() for _ in range(count)]
        self._structures = [atoms for listed in samples.values() for atoms in listed]
        self._expected = [student.evaluate(atoms) for atoms in self._structures]

    def differences(self, predict: Callable[[Sequence[Atoms]], Predictions]) -> Differences:
        """Largest differences between the student and what a function predicts.

        What is not a finite number differs without bound.
        """
        found = predict(self._structures)
        force, energy = dict.fromkeys(self._kinds, 0.0), dict.fromkeys(self._kinds, 0.0)
        rows = zip(self._kinds, self._expected, found.energies, found.forces, strict=True)
        for kind, expected, total, forces in rows:
            shift = abs(total - expected.energies.sum()) / len(forces)
            energy[kind] = max(energy[kind], _or_infinite(shift))
            force[kind] = max(force[kind], _or_infinite(np.abs(forces - expected.forces).max()))
        return Differences(force, energy)


def _or_infinite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("inf")


def inner_distances(student: Student, structures: Sequence[Atoms]) -> dict[tuple[str, str], float]:
    """Distances that no structure comes near, Å, for each ordered pair of elements.

    Parameters
    ----------
    student
        The model.
    structures
        Known structures; without them 0.45 r0 is taken.

    Raises
    ------
    UserError
        If a structure has an element that the student lacks, or atoms that coincide.
    """
    from distill.student.engine.evaluate import species_indices
    from distill.student.engine.neighbours import list_neighbours

    r0 = student.basis.transform[..., 4]
    distances = _INNER * (r0 + r0.T) / 2
    for index, atoms in enumerate(structures):
        try:
            species = species_indices(student.elements, atoms)
            near = list_neighbours(atoms, float(r0.max()))
        except UserError as error:
            raise UserError(f"export: structure {index}: {error}") from None
        lengths = np.linalg.norm(near.vectors, axis=1)
        pairs = np.repeat(species, np.diff(near.first)), species[near.neighbour]
        np.minimum.at(distances, pairs, _INNER_OF_SHORTEST * lengths)
    distances = np.maximum(np.minimum(distances, distances.T), _LEAST_INNER)
    return {
        (first, second): float(distances[i, j])
        for i, first in enumerate(student.elements)
        for j, second in enumerate(student.elements)
    }


def sample_structures(
    student: Student, structures: Sequence[Atoms], inner: PairDistances
) -> dict[str, list[Atoms]]:
    """Structures to compare on, by kind: training, strained, dimers, trimers.

    Parameters
    ----------
    student
        The model.
    structures
        Of its training set; some of them, spread evenly, are taken. Without any that is periodic
        the strained cells are crystals of the elements.
    inner
        Distances below which nothing is compared, Å, for each pair of elements.
    """
    generator = np.random.default_rng(0)
    count = min(LARGEST_SAMPLE, len(structures))
    picked = [structures[i] for i in np.linspace(0, len(structures) - 1, count).astype(int)]
    cells = [atoms for atoms in picked if atoms.cell.rank == 3] or _crystals(student, generator)
    return {
        "training": picked,
        "strained": [_strained(atoms, generator) for atoms in cells[:_STRAINED]],
        "dimers": _dimers(student, inner),
        "trimers": _trimers(student, inner, generator),
    }


def _strained(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    strained = atoms.copy()
    strain = generator.uniform(-_STRAIN, _STRAIN, (3, 3))
    strained.set_cell(strained.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return strained


def _crystals(student: Student, generator: np.random.Generator) -> list[Atoms]:
    """Rattled fcc cells with the elements at random, at about their bond length."""
    from ase.build import bulk

    crystals = []
    for _ in range(_CRYSTALS):
        r0 = float(student.basis.transform[..., 4].max())
        atoms = bulk("X", "fcc", a=np.sqrt(2) * r0, cubic=True)
        atoms.symbols = generator.choice(student.elements, len(atoms))
        atoms.positions += generator.normal(scale=0.05, size=atoms.positions.shape)
        crystals.append(atoms)
    return crystals


def _dimers(student: Student, inner: PairDistances) -> list[Atoms]:
    from ase import Atoms

    dimers = []
    for (first, second), start in inner.items():
        i, j = student.elements.index(first), student.elements.index(second)
        if i <= j:
            distances = np.linspace(start, student.basis.rcut[i, j], _DIMERS + 1)[:-1]
            dimers += [Atoms([first, second], [[0, 0, 0], [r, 0, 0]]) for r in distances]
    return dimers


def _trimers(student: Student, inner: PairDistances, generator: np.random.Generator) -> list[Atoms]:
    from ase import Atoms

    trimers: list[Atoms] = []
    while len(trimers) < _TRIMERS:
        symbols = generator.choice(student.elements, 3).tolist()
        atoms = Atoms(symbols, generator.uniform(0.0, 0.6 * student.cutoff, (3, 3)))
        distances = atoms.get_all_distances()
        if all(distances[i, j] > inner[symbols[i], symbols[j]] for i in range(3) for j in range(i)):
            trimers.append(atoms)
    return trimers
