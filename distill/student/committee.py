"""A student and the deviations of its committee, evaluated together."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.evaluate import Evaluation
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


class CommitteeEvaluation(NamedTuple):
    """What a committee gives for a structure.

    Attributes
    ----------
    energies
        Deviation of each atom's energy, (N, members), eV.
    mean
        Energies, forces and virial of the student itself; None without forces.
    forces
        Deviation of the forces, (force members, N, 3), eV/Å; None without forces.
    """

    energies: Array
    mean: Evaluation | None
    forces: Array | None


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

    def evaluate(self, atoms: Atoms, *, forces: bool) -> CommitteeEvaluation:
        """Evaluate a structure.

        Parameters
        ----------
        atoms
            The structure.
        forces
            Whether the student's own prediction and the deviations of forces are wanted too.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        from distill.student.committee_kernels import evaluate_committee
        from distill.student.evaluate import Evaluation, species_indices
        from distill.student.kernels import collect_forces
        from distill.student.neighbours import list_neighbours

        basis = self.student.basis
        species = species_indices(basis.elements, atoms)
        first, neighbours, vectors = list_neighbours(atoms, basis.cutoff)
        models = self._mean_and_forced if forces else self._no_models
        count = len(models.node)
        energies = np.zeros((len(atoms), self._tables.n_members))
        model_energies = np.zeros((count, len(atoms)))
        gradient = np.zeros((count, len(neighbours), 3))
        order = np.argsort(species, kind="stable")
        evaluate_committee(
            basis.layout, self._tables, models, order, species, first, neighbours, vectors,
            energies, model_energies, gradient,
        )  # fmt: skip
        deviations = energies[:, : len(self.deviations)]
        if not forces:
            return CommitteeEvaluation(deviations, None, None)
        all_forces, virials = np.zeros((count, len(atoms), 3)), np.zeros((count, 3, 3))
        for model in range(count):
            collect_forces(
                first, neighbours, vectors, gradient[model], all_forces[model], virials[model]
            )
        mean = Evaluation(model_energies[0], all_forces[0], virials[0])
        return CommitteeEvaluation(deviations, mean, all_forces[1:])

    @cached_property
    def _folded(self) -> list[Weights]:
        """Each member's deviation in the kernels' tables; E0 and the ZBL core have none."""
        from distill.student.tables import fold_weights

        none = dict.fromkeys(self.student.elements, 0.0)
        folded = [fold_weights(self.student.basis, d, none) for d in self.deviations]
        return [weights._replace(core=np.zeros_like(weights.core)) for weights in folded]

    @cached_property
    def _tables(self) -> MemberTables:
        folded = self._folded
        first = folded[0]
        n_members = -(-len(folded) // LANES) * LANES
        n_species, n_pairs = len(first.node), len(first.pair)
        n_products = first.node.shape[1] + first.leaf.shape[1]
        products = np.zeros((n_species, n_products, n_members))
        pairs = np.zeros((n_pairs, first.pair.shape[1], n_members))
        for member, weights in enumerate(folded):
            products[..., member] = np.concatenate([weights.node, weights.leaf], axis=1)
            pairs[..., member] = weights.pair
        return MemberTables(n_members, products.reshape(n_species, -1), pairs.reshape(n_pairs, -1))

    @cached_property
    def _mean_and_forced(self) -> Weights:
        """The student's own tables, then those of the force members, stacked."""
        models = [self.student.weights, *self._folded[: self.force_members]]
        return type(models[0])(*(np.array(arrays) for arrays in zip(*models, strict=True)))

    @cached_property
    def _no_models(self) -> Weights:
        return type(self._mean_and_forced)(*(stack[:0] for stack in self._mean_and_forced))
