"""Compiled evaluation of a linear ACE model: energies, forces and virial.

Eight neighbours of an atom are embedded at once, and eight atoms of one element go through the
products together.
"""

from __future__ import annotations

import numpy as np

from distill.student.engine.kernels.block_kernels import (
    add_virial,
    block_end,
    deliver,
    embed_block,
    finish_virial,
    make_workspace,
    multiply_nodes,
    neighbour_gradient,
    neighbour_vectors,
    push_atom,
)
from distill.student.engine.kernels.compile import compiled
from distill.student.engine.kernels.coupling_kernels import (
    couple_pairs,
    pair_products,
    pull_back_pairs,
)
from distill.student.engine.kernels.embedding_kernels import GEOMETRY, PAIR_SLOPE
from distill.student.engine.kernels.kernel_arguments import (
    Array,
    Integers,
    Layout,
    Weights,
    Workspace,
)
from distill.student.engine.kernels.pair_kernels import core_energy, pair_energy
from distill.student.engine.kernels.simd import LANES, Lanes, fma, load, load_splat, splat, store


@compiled
def product_energy(
    layout: Layout,
    node_weight: Array,
    leaf_weight: Array,
    entry_weight: Array,
    value: Array,
    adjoint: Array,
) -> Lanes:
    """Energies of eight atoms from their products, and the derivatives by all values.

    `value` and `adjoint` hold eight lanes for each one-particle function, product node and
    component of a pair, in this order.
    """
    n_one = layout.n_one_particle
    energy = splat(0.0)
    for i in range(layout.n_nodes):
        weight = load_splat(node_weight, i)
        store(adjoint, i * LANES, weight)
        energy = fma(weight, load(value, i * LANES), energy)
    if len(layout.pairs.row_value) > 0:
        adjoint[layout.n_nodes * LANES :] = 0.0
        energy = energy + pair_products(layout.pairs, entry_weight, value, adjoint)
        pull_back_pairs(layout.pairs, value, adjoint)
    for group in range(len(layout.group_parent)):
        parent = layout.group_parent[group] * LANES
        parent_value = load(value, parent)
        sum_of_leaves = splat(0.0)
        for leaf in range(layout.group_first[group], layout.group_first[group + 1]):
            factor = layout.leaf_factor[leaf] * LANES
            weight = load_splat(leaf_weight, leaf)
            sum_of_leaves = fma(weight, load(value, factor), sum_of_leaves)
            store(adjoint, factor, fma(weight, parent_value, load(adjoint, factor)))
        energy = fma(sum_of_leaves, parent_value, energy)
        store(adjoint, parent, load(adjoint, parent) + sum_of_leaves)
    for i in range(len(layout.node_parent) - 1, -1, -1):
        parent, factor = layout.node_parent[i] * LANES, layout.node_factor[i] * LANES
        derivative = load(adjoint, (n_one + i) * LANES)
        store(adjoint, parent, fma(derivative, load(value, factor), load(adjoint, parent)))
        store(adjoint, factor, fma(derivative, load(value, parent), load(adjoint, factor)))
    return energy


@compiled
def pull_back(
    layout: Layout, pair_kind: int, begin: int, count: int, space: Workspace, forces: Array
) -> None:
    """Push an atom's neighbours of one element by minus the gradients of its energy.

    `space.slopes` are the derivatives by the one-particle functions of the pair's shells.
    """
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    geometry, radial, harmonics, slopes = (
        space.geometry, space.radial, space.harmonics, space.slopes,
    )  # fmt: skip
    slot_atom, slot_vector, mask = space.slot_atom, space.slot_vector, space.mask
    tile, own, virial = space.tile, space.own, space.virial
    first_shell, last_shell = layout.shell_first[pair_kind], layout.shell_first[pair_kind + 1]
    offset = layout.shell_start[first_shell]
    for vector in range(begin, begin + (count + LANES - 1) // LANES):
        gx, gy, gz = splat(0.0), splat(0.0), splat(0.0)
        at = vector * GEOMETRY * LANES
        along = load(geometry, at + PAIR_SLOPE * LANES)
        for shell in range(first_shell, last_shell):
            row = (vector * 2 * n_rows + layout.shell_row[shell]) * LANES
            below = row + n_rows * LANES
            value, slope = splat(0.0), splat(0.0)
            start = layout.shell_start[shell] - offset
            for k in range(layout.shell_start[shell + 1] - offset - start):
                weight = load_splat(slopes, start + k)
                value = fma(weight, load(radial, row + k * LANES), value)
                slope = fma(weight, load(radial, below + k * LANES), slope)
            y = (vector * n_harmonics + layout.shell_harmonic[shell]) * 4 * LANES
            along = fma(slope, load(harmonics, y), along)
            gx = fma(value, load(harmonics, y + LANES), gx)
            gy = fma(value, load(harmonics, y + 2 * LANES), gy)
            gz = fma(value, load(harmonics, y + 3 * LANES), gz)
        gx, gy, gz = neighbour_gradient(geometry, at, along, gx, gy, gz)
        real = min(LANES, count - (vector - begin) * LANES)
        gx, gy, gz = deliver(
            gx, gy, gz, vector * LANES, real, mask, slot_atom, tile, 0, own, forces
        )
        add_virial(gx, gy, gz, slot_vector, vector, virial)


@compiled
def evaluate_atoms(
    layout: Layout,
    weights: Weights,
    atoms: Integers,
    species: Integers,
    first: Integers,
    neighbours: Integers,
    vectors: Array,
    energies: Array,
    forces: Array,
    virial: Array,
) -> None:
    """Energies of some atoms, and what they add to forces and virial.

    Parameters
    ----------
    layout, weights
        `tables.Layout` and `tables.Weights`.
    atoms
        Atoms to evaluate, those of one element together.
    species
        Element index of every atom.
    first, neighbours, vectors
        Neighbours of atom i are entries first[i] to first[i + 1] of `neighbours`, at `vectors`
        (pairs, 3), Å, from it. Entries beyond the cutoff are passed over.
    energies
        Output, (all atoms,), eV; only those of `atoms` are written.
    forces, virial
        (all atoms, 3), eV/Å, and (3, 3), eV; added to.
    """
    n_species = layout.n_species
    space = make_workspace(layout, first, atoms, LANES)
    adjoint = np.empty(layout.pairs.n_values * LANES)
    products = np.empty((2 * layout.largest_l + 1) ** 2 * LANES)
    block_energies = np.empty(LANES)
    slopes, slot_vector, geometry = space.slopes, space.slot_vector, space.geometry
    done = 0
    while done < len(atoms):
        end = block_end(species, atoms, done)
        block = atoms[done:end]
        done = end
        centre = species[block[0]]
        embed_block(layout, species, first, neighbours, vectors, block, space)
        multiply_nodes(layout, space.value)
        couple_pairs(layout.pairs, space.value, products)
        energy_lanes = product_energy(
            layout, weights.node[centre], weights.leaf[centre], weights.entry[centre],
            space.value, adjoint,
        )  # fmt: skip
        store(block_energies, 0, energy_lanes)
        for lane in range(len(block)):
            energy = weights.one_body[centre] + block_energies[lane]
            space.own[:] = 0.0
            for element in range(n_species):
                kind = centre * n_species + element
                begin, end, count = neighbour_vectors(space, lane, element)
                if count == 0:
                    continue
                energy += pair_energy(
                    layout, weights.pair[kind], kind, begin, end, slot_vector, geometry,
                    space.tile, 0,
                )  # fmt: skip
                if weights.core[kind, 0] > 0.0:
                    energy += core_energy(weights.core[kind], begin, count, slot_vector, geometry)
                start = layout.shell_start[layout.shell_first[kind]]
                for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                    slopes[k] = adjoint[layout.one_particle[start + k] * LANES + lane]
                pull_back(layout, kind, begin, count, space, forces)
            push_atom(space, 0, block[lane], forces)
            energies[block[lane]] = energy
    finish_virial(space, virial)


@compiled
def pair_vectors(
    positions: Array, first: Integers, neighbours: Integers, shifts: Array, vectors: Array
) -> None:
    """Vectors from atoms to neighbours, with `shifts` (pairs, 3), Å, of the periodic images."""
    for atom in range(len(first) - 1):
        x, y, z = positions[atom, 0], positions[atom, 1], positions[atom, 2]
        for pair in range(first[atom], first[atom + 1]):
            other = neighbours[pair]
            vectors[pair, 0] = positions[other, 0] - x + shifts[pair, 0]
            vectors[pair, 1] = positions[other, 1] - y + shifts[pair, 1]
            vectors[pair, 2] = positions[other, 2] - z + shifts[pair, 2]
