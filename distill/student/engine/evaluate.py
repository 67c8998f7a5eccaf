"""Energies, forces and virial from neighbour lists, on one thread or several."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.engine.kernels.kernel_arguments import Layout, Weights
from distill.student.engine.neighbours import list_neighbours
from distill.student.engine.tables import evaluator_of, fold_weights

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import Basis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Pieces that atoms are cut into, whatever the number of threads, and the fewest atoms in one.
SHARES = 16
SMALLEST_SHARE = 32


class Evaluation(NamedTuple):
    """What an evaluation gives.

    Attributes
    ----------
    energies
        Energy of each atom with its one-body part, (N,), eV.
    forces
        (N, 3), eV/Å; of all atoms that `species` lists, images without own neighbours included.
    virial
        -sum of r_ij times dE_i/dr_ij, (3, 3), eV: minus stress times volume.
    """

    energies: Array
    forces: Array
    virial: Array


@dataclass(frozen=True, eq=False)
class Potential:
    """A linear ACE model as the kernels read it.

    Attributes
    ----------
    elements
        Chemical symbols, in the order of the tables.
    cutoff
        Largest cutoff, Å.
    layout, weights
        Tables of its basis, and its coefficients folded into them.
    """

    elements: tuple[str, ...]
    cutoff: float
    layout: Layout
    weights: Weights

    def evaluate(self, atoms: Atoms, threads: int = 1) -> Evaluation:
        """Atomic energies, forces and virial of a structure.

        Parameters
        ----------
        atoms
            The structure; cells smaller than the cutoff are handled by images.
        threads
            Threads to share the atoms among; worth it from some hundred atoms.

        Raises
        ------
        UserError
            If an element is unknown, a position is not finite or atoms coincide.
        """
        species = species_indices(self.elements, atoms)
        return self.evaluate_pairs(species, *list_neighbours(atoms, self.cutoff), threads)

    def evaluate_pairs(
        self,
        species: Integers,
        first: Integers,
        neighbours: Integers,
        vectors: Array,
        threads: int = 1,
    ) -> Evaluation:
        """The same on a full neighbour list, whoever made it.

        The result does not depend on the number of threads.

        Parameters
        ----------
        species
            Element index of each atom, images included, (N,).
        first, neighbours, vectors
            Neighbours of atom i are entries first[i] to first[i + 1] of `neighbours`, at `vectors`
            (pairs, 3), Å, from it; atoms beyond len(first) - 1 have no energy of their own.
            Entries beyond the cutoff do not matter.
        threads
            Threads to share the atoms among.
        """
        from distill.student.engine.kernels.evaluation_kernels import evaluate_atoms

        n_atoms, n_all = len(first) - 1, len(species)
        energies = np.zeros(n_atoms)
        order = np.argsort(species[:n_atoms], kind="stable")

        def evaluate(atoms: Integers) -> tuple[Array, Array]:
            forces, virial = np.zeros((n_all, 3)), np.zeros((3, 3))
            evaluate_atoms(
                self.layout, self.weights, atoms, species, first, neighbours, vectors, energies,
                forces, virial,
            )  # fmt: skip
            return forces, virial

        parts = shares(order)
        alone = threads == 1
        results = map(evaluate, parts) if alone else thread_pool(threads).map(evaluate, parts)
        forces, virial = next(results)
        for more_forces, more_virial in results:
            forces += more_forces
            virial += more_virial
        return Evaluation(energies, forces, virial)


def make_potential(basis: Basis, coefficients: Array, e0: Mapping[str, float]) -> Potential:
    """The potential of a basis with its coefficients (n_functions,), eV, and E0 by element, eV."""
    evaluator = evaluator_of(basis)
    weights = fold_weights(basis, coefficients, e0, evaluator)
    return Potential(basis.elements, basis.cutoff, evaluator.layout, weights)


def species_indices(elements: Sequence[str], atoms: Atoms) -> Integers:
    """Index of each atom's element in `elements`, (N,).

    Raises
    ------
    UserError
        If an element is not among them.
    """
    from ase.data import atomic_numbers

    table = np.full(max(int(atoms.numbers.max(initial=0)), 118) + 1, -1)
    for index, symbol in enumerate(elements):
        table[atomic_numbers[symbol]] = index
    indices = table[atoms.numbers]
    if indices.min(initial=0) < 0:
        missing = sorted(set(atoms.symbols[np.flatnonzero(indices < 0)]))
        raise UserError(
            f"the student knows {', '.join(elements)}, but the structure has "
            f"{', '.join(missing)}; train a student with these elements"
        )
    return indices


@cache
def thread_pool(threads: int) -> ThreadPoolExecutor:
    """A pool of threads, made once for each size."""
    return ThreadPoolExecutor(threads, thread_name_prefix="student")


# Threads do not survive a fork; a child makes pools of its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=thread_pool.cache_clear)


def shares(order: Integers) -> list[Integers]:
    """Cut atoms into pieces of whole vectors, the same for any number of threads."""
    pieces = max(1, min(SHARES, len(order) // SMALLEST_SHARE))
    size = 8 * max(1, math.ceil(len(order) / pieces / 8))
    return [order[start : start + size] for start in range(0, max(len(order), 1), size)]
