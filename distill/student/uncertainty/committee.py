"""A student and the deviations of its committee, evaluated together."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.evaluate import Evaluation, species_indices
from distill.student.engine.kernels.kernel_arguments import (
    LANES,
    MODELS,
    ForceTables,
    Layout,
    MemberTables,
)
from distill.student.engine.neighbours import list_neighbours
from distill.student.engine.tables import all_as_nodes, fold_weights, layout_of

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.parameters import StudentParameters

Array = NDArray[np.float64]
Indices = NDArray[np.int32]


class CommitteeEvaluation(NamedTuple):
    """What a committee gives for a structure.

    Attributes
    ----------
    energies
        Deviation of each atom's energy, (N, members), eV.
    mean
        Energies, forces and virial of the student itself.
    forces
        Deviation of the forces, (force members, N, 3), eV/Å.
    projections
        Further linear forms of each atom's site basis, (N, forms).
    """

    energies: Array
    mean: Evaluation
    forces: Array
    projections: Array


class Committee:
    """The members of a student's committee as deviations from its mean, ready to evaluate.

    Parameters
    ----------
    student
        With a committee.
    force_members
        Members, from the first, whose forces are evaluated.
    forms
        Further linear forms of the site basis to evaluate, (forms, n_functions).
    """

    def __init__(
        self, student: StudentParameters, force_members: int, forms: Array | None = None
    ) -> None:
        if student.committee is None:
            raise ValueError("the student has no committee")
        self.student = student
        self.deviations: Array = student.committee - student.coefficients
        self.force_members = min(force_members, len(self.deviations))
        self._rows = self.deviations if forms is None else np.vstack([self.deviations, forms])

    def evaluate(self, atoms: Atoms) -> CommitteeEvaluation:
        """Evaluate a structure: the student itself and the deviations of its members, in one pass.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        from distill.student.engine.kernels.committee_kernels import evaluate_committee

        basis = self.student.basis
        species = species_indices(basis.elements, atoms)
        first, neighbours, vectors = list_neighbours(atoms, basis.cutoff)
        triples = self._triples
        energies = np.zeros((len(atoms), self.tables.n_members))
        mean_energies, virial = np.zeros(len(atoms)), np.zeros((3, 3))
        all_forces = np.zeros((len(triples.node), MODELS, len(atoms), 3))
        order = np.argsort(species, kind="stable")
        evaluate_committee(
            layout_of(basis), self.tables, triples, order, species, first, neighbours, vectors,
            energies, mean_energies, all_forces, virial,
        )  # fmt: skip
        members = len(self.deviations)
        models = all_forces.reshape(-1, len(atoms), 3)
        mean = Evaluation(mean_energies, models[0], virial)
        return CommitteeEvaluation(
            energies[:, :members],
            mean,
            models[1 : 1 + self.force_members],
            energies[:, members : len(self._rows)],
        )

    @cached_property
    def tables(self) -> MemberTables:
        """Energies of all members, and the further forms, as the kernels take them."""
        basis = self.student.basis
        layout, coupling, n_species = layout_of(basis), basis.coupling, basis.n_species
        n_members = LANES * math.ceil(len(self._rows) / LANES)
        rows = basis.pair_splines.shape[2]
        weights = np.zeros((n_species, basis.n_many_body + n_species * rows, n_members))
        split = n_species * basis.n_many_body
        for member, deviation in enumerate(self._rows):
            many = deviation[:split].reshape(n_species, -1)
            pair = deviation[split:].reshape(n_species, -1)
            weights[:, : basis.n_many_body, member] = many
            splines = np.einsum("znkf,zf->znk", basis.pair_splines, pair)
            weights[:, basis.n_many_body :, member] = splines.reshape(n_species, -1)
        parent, factor = product_factors(layout)
        order = np.argsort(coupling.rows, kind="stable")
        first = np.searchsorted(coupling.rows[order], np.arange(basis.n_many_body + 1))
        return MemberTables(
            n_members=n_members,
            function_first=first.astype(np.int32),
            parent=parent[coupling.columns[order]],
            factor=factor[coupling.columns[order]],
            coefficient=coupling.values[order].astype(float),
            weights=weights.reshape(n_species, -1),
        )

    @cached_property
    def _triples(self) -> ForceTables:
        """The student's own tables, then those of the force members; E0 and core have no spread."""
        student = self.student
        basis, none = student.basis, dict.fromkeys(student.elements, 0.0)
        nodes = all_as_nodes(basis)
        mean = fold_weights(basis, student.coefficients, student.e0, nodes)
        folded = [mean] + [
            fold_weights(basis, deviation, none, nodes)
            for deviation in self.deviations[: self.force_members]
        ]
        empty = type(mean)(*(np.zeros_like(array) for array in mean))
        folded += [empty] * (-len(folded) % MODELS)
        n_species = len(mean.node)
        node, leaf, pair = (
            np.stack([getattr(weights, name) for weights in folded])
            for name in ("node", "leaf", "pair")
        )

        def side_by_side(values: Array) -> Array:
            triples = values.reshape(len(values) // MODELS, MODELS, *values.shape[1:])
            return np.moveaxis(triples, 1, -1).reshape(len(triples), n_species, -1)

        return ForceTables(
            one_body=mean.one_body,
            core=mean.core,
            node=side_by_side(node),
            leaf=side_by_side(leaf),
            pair=pair.reshape(len(pair) // MODELS, MODELS, *pair.shape[1:]),
        )


def force_deviations(forces: Array) -> Array:
    """Of a component of the force on each atom, (N,), from the members', (members, N, 3)."""
    return np.asarray(np.sqrt(np.mean(np.square(forces), axis=(0, 2))))


def product_factors(layout: Layout) -> tuple[Indices, Indices]:
    """The two product nodes whose product each product is, number n_nodes being 1."""
    n_nodes = layout.n_nodes
    is_product = layout.node_column >= 0
    nodes = np.flatnonzero(is_product)
    leaf_parent = np.repeat(layout.group_parent, np.diff(layout.group_first))
    columns = np.concatenate([layout.node_column[nodes], layout.leaf_column])
    parent, factor = np.empty((2, len(columns)), np.int32)
    parent[columns] = np.concatenate([nodes, leaf_parent])
    factor[columns] = np.concatenate([np.full(len(nodes), n_nodes), layout.leaf_factor])
    return parent, factor
