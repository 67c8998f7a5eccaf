"""Deviations of a committee's energies and forces from the mean model, in one evaluation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.model import Student
    from distill.student.tables import Weights

Array = NDArray[np.float64]

LANES = 8


class MemberTables(NamedTuple):
    """Coefficients of all members side by side.

    Attributes
    ----------
    n_members
        A multiple of the lanes; members beyond the committee's are zero.
    product
        Of the products in the order of the kernel, (species, products x members).
    pair
        B-spline coefficients of the pair potentials, (pairs, rows x members).
    """

    n_members: int
    product: Array
    pair: Array


class Committee:
    """The members of a student's committee as deviations from its mean, ready to evaluate.

    Parameters
    ----------
    student
        With a committee.
    force_members
        Members, from the first, whose forces are evaluated.
    """

    def __init__(self, student: Student, force_members: int) -> None:
        if student.committee is None:
            raise ValueError("the student has no committee")
        self.student = student
        self.deviations: Array = student.committee - student.coefficients
        self.force_members = min(force_members, len(self.deviations))

    @cached_property
    def _folded(self) -> list[Weights]:
        """Each member's deviation in the kernels' tables; the ZBL core has none."""
        from distill.student.tables import fold_weights

        none = dict.fromkeys(self.student.elements, 0.0)
        folded = [fold_weights(self.student.basis, d, none) for d in self.deviations]
        return [weights._replace(core=np.zeros_like(weights.core)) for weights in folded]

    @cached_property
    def _tables(self) -> MemberTables:
        folded = self._folded
        n_members = -(-len(folded) // LANES) * LANES
        n_species, n_pairs = folded[0].node.shape[0], folded[0].pair.shape[0]
        products = np.zeros(
            (n_species, folded[0].node.shape[1] + folded[0].leaf.shape[1], n_members)
        )
        pairs = np.zeros((n_pairs, folded[0].pair.shape[1], n_members))
        for member, weights in enumerate(folded):
            products[..., member] = np.concatenate([weights.node, weights.leaf], axis=1)
            pairs[..., member] = weights.pair
        return MemberTables(n_members, products.reshape(n_species, -1), pairs.reshape(n_pairs, -1))

    def _forced(self, members: int) -> Weights:
        folded = self._folded[:members]
        first = self._folded[0]
        return first._replace(
            node=np.array([w.node for w in folded]).reshape(members, *first.node.shape),
            leaf=np.array([w.leaf for w in folded]).reshape(members, *first.leaf.shape),
            pair=np.array([w.pair for w in folded]).reshape(members, *first.pair.shape),
        )

    @cached_property
    def _with_forces(self) -> Weights:
        return self._forced(self.force_members)

    @cached_property
    def _without_forces(self) -> Weights:
        return self._forced(0)

    def evaluate(self, atoms: Atoms, *, forces: bool) -> tuple[Array, Array | None]:
        """Deviations of atomic energies, (N, members), eV, and of forces, (k, N, 3), eV/Å.

        Parameters
        ----------
        atoms
            The structure.
        forces
            Whether forces are wanted, of the first `force_members` members.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        from distill.student.committee_kernels import evaluate_committee
        from distill.student.evaluate import species_indices
        from distill.student.kernels import collect_forces
        from distill.student.neighbours import list_neighbours

        basis = self.student.basis
        species = species_indices(basis.elements, atoms)
        first, neighbours, vectors = list_neighbours(atoms, basis.cutoff)
        forced = self._with_forces if forces else self._without_forces
        members = len(forced.node)
        energies = np.zeros((len(atoms), self._tables.n_members))
        gradient = np.zeros((members, len(neighbours), 3))
        order = np.argsort(species, kind="stable")
        evaluate_committee(
            basis.layout, self._tables, forced, order, species, first, neighbours, vectors,
            energies, gradient,
        )  # fmt: skip
        found = energies[:, : len(self.deviations)]
        if not forces:
            return found, None
        member_forces = np.zeros((members, len(atoms), 3))
        virial = np.zeros((3, 3))
        for member in range(members):
            collect_forces(
                first, neighbours, vectors, gradient[member], member_forces[member], virial
            )
        return found, member_forces
