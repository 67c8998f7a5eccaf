"""Compiled steps of molecular dynamics: the integrator around the engine's kernels."""

from __future__ import annotations

import numpy as np

from distill.student.engine.kernels.compile import compiled
from distill.student.engine.kernels.evaluation_kernels import evaluate_atoms, pair_vectors
from distill.student.engine.kernels.kernel_arguments import (
    Array,
    Integers,
    Layout,
    ListedPairs,
    Scheme,
    StepRows,
    Weights,
)


@compiled
def drift(scheme: Scheme, noise: Array, table: StepRows, row: int, reference: Array) -> float:
    """First half kick and the drift of a step: positions of `row`, and velocities halfway to it.

    `noise` and `table` are those of `take_steps`. Returns the square of the largest distance, Å²,
    of an atom from where it was in `reference`; NaN if a position is not a number.
    """
    before, velocities, forces = table.positions[row - 1], table.velocities[row - 1], table.forces
    moved, midway = table.positions[row], table.velocities[row]
    normal = noise[row - 1]
    half = 0.5 * scheme.time_step
    largest = 0.0
    for atom in range(len(moved)):
        squared = 0.0
        for axis in range(3):
            v = velocities[atom, axis] + scheme.half_kick[atom] * forces[row - 1, atom, axis]
            x = before[atom, axis]
            if len(normal) > 0:
                x = x + half * v
                v = scheme.kept * v + scheme.noise[atom] * normal[atom, axis]
                x = x + half * v
            else:
                x = x + scheme.time_step * v
            moved[atom, axis] = x
            midway[atom, axis] = v
            squared += (x - reference[atom, axis]) ** 2
        # Written so that NaN, which compares false, is kept.
        if not squared <= largest:
            largest = squared
    return largest


@compiled
def kick(scheme: Scheme, midway: Array, forces: Array) -> None:
    """Second half kick: turns velocities in the middle of a step into those at its end."""
    for atom in range(len(midway)):
        for axis in range(3):
            midway[atom, axis] += scheme.half_kick[atom] * forces[atom, axis]


@compiled
def take_steps(
    layout: Layout,
    weights: Weights,
    order: Integers,
    species: Integers,
    pairs: ListedPairs,
    reference: Array,
    limit: float,
    scheme: Scheme,
    noise: Array,
    table: StepRows,
    row: int,
    drifted: bool,
) -> int:
    """Fill rows of a trajectory from `row` on, as far as the neighbour list goes.

    Parameters
    ----------
    layout, weights, species
        As in `evaluation_kernels.evaluate_atoms`.
    order
        All atoms, those of one element together.
    pairs, reference, limit
        See `neighbours.VerletList`.
    scheme, table
        `compiled_dynamics.Scheme` and `compiled_dynamics.StepRows`.
    noise
        Normal numbers of each step, (rows, N, 3), or (rows, 0, 3) without a thermostat.
    row
        First row to fill.
    drifted
        Whether its positions and velocities have drifted already.

    Returns
    -------
    int
        The first row that is not filled. If there is one, its positions have drifted, and the
        list has to be made anew there.
    """
    first, neighbours, vectors = pairs.first, pairs.neighbours, pairs.vectors
    virial = np.zeros((3, 3))
    while row < len(table.positions):
        if not drifted and not drift(scheme, noise, table, row, reference) < limit:
            return row
        drifted = False
        pair_vectors(table.positions[row], first, neighbours, pairs.shifts, vectors)
        forces = table.forces[row]
        forces[:] = 0.0
        evaluate_atoms(
            layout, weights, order, species, first, neighbours, vectors, table.energies[row],
            forces, virial,
        )  # fmt: skip
        kick(scheme, table.velocities[row], forces)
        row += 1
    return row
