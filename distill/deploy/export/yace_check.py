"""A `.yace` file against the student it stands for, by the independent evaluator of ace-jax."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.engine.evaluate import species_indices
from distill.student.engine.neighbours import list_neighbours

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

Array = NDArray[np.float64]

# Structures of the training set that are compared, spread over it.
LARGEST_SAMPLE = 6
_STRAIN = 0.03
_DIMERS, _TRIMERS, _CRYSTALS = 15, 10, 3
_STRAINED = 3
# Atoms and pairs that are evaluated at once. ace-jax takes memory for each atom with the square of
# the length of the series: 10⁸ bytes for 1000 functions and two elements.
_ATOMS, _PAIRS = 16, 1024


class Differences(NamedTuple):
    """Largest differences by kind of structure: force components (eV/Å), energies (eV/atom)."""

    force: dict[str, float]
    energy: dict[str, float]


def sample_structures(
    student: Student, structures: Sequence[Atoms], inner: Mapping[tuple[str, str], float]
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


class Comparison:
    """Compares `.yace` files with a student on the same structures.

    Parameters
    ----------
    student
        The model.
    samples
        Structures by kind.

    Raises
    ------
    UserError
        If ace-jax is not installed, or a structure has an element that the student lacks.
    """

    def __init__(self, student: Student, samples: Mapping[str, Sequence[Atoms]]) -> None:
        try:
            import ace_jax  # noqa: F401
        except ImportError:
            raise UserError(
                "a .yace file is read back with ace-jax before it is accepted; install it with: "
                'pip install "distill[acejax]"'
            ) from None
        self._kinds = [kind for kind, listed in samples.items() for _ in listed]
        parts: list[tuple[NDArray[Any], ...]] = []
        atoms_so_far = 0
        for kind, listed in samples.items():
            for index, atoms in enumerate(listed):
                try:
                    species = species_indices(student.elements, atoms)
                    neighbours = list_neighbours(atoms, student.cutoff)
                except UserError as error:
                    raise UserError(f"export: {kind} structure {index}: {error}") from None
                result = student.potential.evaluate_pairs(species, *neighbours)
                owner = np.repeat(np.arange(len(species)), np.diff(neighbours.first))
                parts.append(
                    (
                        species,
                        owner + atoms_so_far,
                        neighbours.neighbour + atoms_so_far,
                        neighbours.vectors,
                        result.energies,
                        result.forces,
                        np.full(len(species), len(parts)),
                    )
                )
                atoms_so_far += len(species)
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        self._species, self._owner, self._other, self._vectors = joined[:4]
        self._energies, self._forces, self._structure = joined[4:]

    @property
    def counts(self) -> dict[str, int]:
        """Number of structures of each kind."""
        return {kind: self._kinds.count(kind) for kind in dict.fromkeys(self._kinds)}

    def run(self, path: str | os.PathLike[str]) -> Differences:
        """Largest differences between a file and the student.

        Parameters
        ----------
        path
            `.yace` file.
        """
        energies, gradient = self._evaluate(path)
        forces = np.zeros_like(self._forces)
        np.add.at(forces, self._owner, gradient)
        np.add.at(forces, self._other, -gradient)
        wrong = np.abs(forces - self._forces).max(axis=1)
        sizes = np.bincount(self._structure)
        shift = np.abs(np.bincount(self._structure, energies - self._energies)) / sizes
        force, energy = dict.fromkeys(self._kinds, 0.0), dict.fromkeys(self._kinds, 0.0)
        for index, kind in enumerate(self._kinds):
            force[kind] = max(force[kind], float(wrong[self._structure == index].max()))
            energy[kind] = max(energy[kind], float(shift[index]))
        return Differences(force, energy)

    def _evaluate(self, path: str | os.PathLike[str]) -> tuple[Array, Array]:
        """Energies of the atoms and their gradients by the pair vectors, by ace-jax."""
        import ace_jax
        import jax

        energies, gradient = np.zeros(len(self._species)), np.zeros_like(self._vectors)
        with jax.enable_x64(True), _short_polynomials():
            model = ace_jax.load(path)[0]

            # The model is an argument, so that its tables are not folded into the program.
            @jax.jit
            def evaluate(model: Any, *pairs: Any) -> Any:
                def total(rij: Any, zi: Any, zj: Any, atom: Any, mask: Any, node: Any) -> Any:
                    sites = model.site_energies(rij, zi, zj, atom, len(node), node, mask)
                    return sites.sum(), sites

                return jax.value_and_grad(total, has_aux=True)(*pairs)

            for atoms, pairs in self._batches():
                owner = self._owner[pairs]
                size = max(_PAIRS, 1 << (len(owner) - 1).bit_length())
                fill = size - len(owner)
                (_, sites), slopes = evaluate(
                    model,
                    np.pad(self._vectors[pairs], ((0, fill), (0, 0)), constant_values=1.0),
                    np.pad(self._species[owner], (0, fill)),
                    np.pad(self._species[self._other[pairs]], (0, fill)),
                    np.pad(owner - atoms.start, (0, fill)),
                    np.arange(size) < len(owner),
                    np.pad(self._species[atoms], (0, _ATOMS - (atoms.stop - atoms.start))),
                )
                energies[atoms] = np.asarray(sites)[: atoms.stop - atoms.start]
                gradient[pairs] = np.asarray(slopes)[: len(owner)]
        return energies, gradient

    def _batches(self) -> Iterator[tuple[slice, slice]]:
        """Runs of atoms with at most a batch of pairs, and their pairs."""
        ends = np.searchsorted(self._owner, np.arange(len(self._species)), side="right")
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, before + _PAIRS, side="right")), start + 1)
            stop = min(stop, start + _ATOMS)
            yield slice(start, stop), slice(int(before), int(ends[stop - 1]))
            start = stop


@contextmanager
def _short_polynomials() -> Iterator[None]:
    """Let ace-jax compute T_n(x) as cos(n arccos x) in place of its unrolled recurrence.

    The recurrence of hundreds of functions takes a compiler many minutes.
    """
    import jax.numpy as jnp
    from ace_jax.eval import pace_radial

    def polynomials(x: Any, n: int) -> Any:
        return jnp.cos(jnp.arccos(x)[..., None] * jnp.arange(n + 1))

    with patch.object(pace_radial, "_cheb", polynomials):
        yield


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


def _dimers(student: Student, inner: Mapping[tuple[str, str], float]) -> list[Atoms]:
    from ase import Atoms

    dimers = []
    for (first, second), start in inner.items():
        i, j = student.elements.index(first), student.elements.index(second)
        if i <= j:
            distances = np.linspace(start, student.basis.rcut[i, j], _DIMERS + 1)[:-1]
            dimers += [Atoms([first, second], [[0, 0, 0], [r, 0, 0]]) for r in distances]
    return dimers


def _trimers(
    student: Student, inner: Mapping[tuple[str, str], float], generator: np.random.Generator
) -> list[Atoms]:
    from ase import Atoms

    trimers: list[Atoms] = []
    while len(trimers) < _TRIMERS:
        symbols = generator.choice(student.elements, 3).tolist()
        atoms = Atoms(symbols, generator.uniform(0.0, 0.6 * student.cutoff, (3, 3)))
        distances = atoms.get_all_distances()
        if all(distances[i, j] > inner[symbols[i], symbols[j]] for i in range(3) for j in range(i)):
            trimers.append(atoms)
    return trimers
