"""Compiled evaluation of a linear ACE model: energies and their gradients by pair vectors.

Eight neighbours of an atom are embedded at once, and eight atoms of one element go through the
products together. Energies and pair gradients are the only outputs, so that results do not depend
on how atoms are shared out among threads.
"""

# mypy: disable-error-code="no-untyped-def, call-arg, var-annotated"

from __future__ import annotations

import numpy as np

from distill.student.embedding_kernels import (
    GEOMETRY,
    accumulate,
    compiled,
    core_energy,
    embed_neighbours,
    gather_neighbours,
    pair_energy,
)
from distill.student.simd import LANES, fma, load, splat, store, total


@compiled
def product_energy(layout, node_weight, leaf_weight, value, adjoint):
    """Energies of eight atoms from their one-particle functions, and the derivatives by them.

    `value` and `adjoint` hold eight lanes for each product node; the first nodes of `value` are
    the one-particle functions, and of `adjoint`, in the end, the derivatives.
    """
    n_one = layout.n_one_particle
    energy = splat(0.0)
    for i in range(len(layout.node_parent)):
        store(
            value,
            (n_one + i) * LANES,
            load(value, layout.node_parent[i] * LANES) * load(value, layout.node_factor[i] * LANES),
        )
    for i in range(layout.n_nodes):
        weight = splat(node_weight[i])
        store(adjoint, i * LANES, weight)
        energy = fma(weight, load(value, i * LANES), energy)
    for group in range(len(layout.group_parent)):
        parent = layout.group_parent[group] * LANES
        parent_value = load(value, parent)
        sum_of_leaves = splat(0.0)
        for leaf in range(layout.group_first[group], layout.group_first[group + 1]):
            factor = layout.leaf_factor[leaf] * LANES
            weight = splat(leaf_weight[leaf])
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
    layout, pair_kind, begin, count, geometry, radial, harmonics, slopes, slot_pair, tile, gradient
):
    """Gradients of an atom's energy by the vectors to its neighbours of one element.

    `slopes` are the derivatives by the one-particle functions of the pair's shells.
    """
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    first_shell, last_shell = layout.shell_first[pair_kind], layout.shell_first[pair_kind + 1]
    offset = layout.shell_start[first_shell]
    for vector in range(begin, begin + (count + LANES - 1) // LANES):
        gx, gy, gz = splat(0.0), splat(0.0), splat(0.0)
        at = vector * GEOMETRY * LANES
        along = load(geometry, at + 4 * LANES)
        for shell in range(first_shell, last_shell):
            row = (vector * 2 * n_rows + layout.shell_row[shell]) * LANES
            below = row + n_rows * LANES
            value, slope = splat(0.0), splat(0.0)
            start = layout.shell_start[shell] - offset
            for k in range(layout.shell_start[shell + 1] - offset - start):
                weight = splat(slopes[start + k])
                value = fma(weight, load(radial, row + k * LANES), value)
                slope = fma(weight, load(radial, below + k * LANES), slope)
            y = (vector * n_harmonics + layout.shell_harmonic[shell]) * 4 * LANES
            along = fma(slope, load(harmonics, y), along)
            gx = fma(value, load(harmonics, y + LANES), gx)
            gy = fma(value, load(harmonics, y + 2 * LANES), gy)
            gz = fma(value, load(harmonics, y + 3 * LANES), gz)
        ux, uy, uz = load(geometry, at), load(geometry, at + LANES), load(geometry, at + 2 * LANES)
        inverse = load(geometry, at + 3 * LANES)
        along = along - (ux * gx + uy * gy + uz * gz) * inverse
        store(tile, 0, fma(gx, inverse, along * ux))
        store(tile, LANES, fma(gy, inverse, along * uy))
        store(tile, 2 * LANES, fma(gz, inverse, along * uz))
        slot = (vector - begin) * LANES
        for lane in range(min(LANES, count - slot)):
            pair = slot_pair[begin * LANES + slot + lane]
            gradient[pair, 0] = tile[lane]
            gradient[pair, 1] = tile[LANES + lane]
            gradient[pair, 2] = tile[2 * LANES + lane]


@compiled
def evaluate_atoms(layout, weights, atoms, species, first, neighbours, vectors, energies, gradient):
    """Energies of some atoms, and gradients by the vectors to their neighbours.

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
    gradient
        Output, (pairs, 3), eV/Å; entries beyond the cutoff are left as they are.
    """
    n_species, n_one = layout.n_species, layout.n_one_particle
    n_harmonics = (layout.largest_l + 1) ** 2
    most = 0
    for atom in atoms:
        most = max(most, first[atom + 1] - first[atom])
    n_vectors = LANES * (most // LANES + n_species)
    slot_pair = np.empty(n_vectors * LANES, np.int64)
    slot_vector = np.empty(n_vectors * LANES * 3)
    geometry = np.zeros(n_vectors * LANES * GEOMETRY)
    radial = np.empty(n_vectors * LANES * 2 * layout.n_rows)
    harmonics = np.empty(n_vectors * LANES * 4 * n_harmonics)
    sums = np.empty(n_one * LANES)
    slopes = np.empty(n_one)
    value = np.empty(layout.n_nodes * LANES)
    adjoint = np.empty(layout.n_nodes * LANES)
    tile = np.empty(9 * LANES)
    block_energies = np.empty(LANES)
    scratch = np.empty(4 * (layout.largest_l + 1) * LANES)
    segment = np.empty((LANES, n_species, 2), np.int64)
    done = 0
    while done < len(atoms):
        centre = species[atoms[done]]
        size = 1
        while size < LANES and done + size < len(atoms) and species[atoms[done + size]] == centre:
            size += 1
        block = atoms[done : done + size]
        done += size
        gather_neighbours(
            layout, species, first, neighbours, vectors, block, slot_pair, slot_vector, segment
        )
        value[: n_one * LANES] = 0.0
        for lane in range(size):
            energy = weights.one_body[centre]
            for element in range(n_species):
                kind = centre * n_species + element
                begin, count = segment[lane, element, 0], segment[lane, element, 1]
                end = begin + (count + LANES - 1) // LANES
                if count == 0:
                    continue
                embed_neighbours(
                    layout,
                    kind,
                    begin,
                    end,
                    slot_vector,
                    geometry,
                    radial,
                    harmonics,
                    tile,
                    scratch,
                )
                energy += pair_energy(
                    layout, weights, kind, begin, end, slot_vector, geometry, tile
                )
                if weights.core[kind, 0] > 0.0:
                    energy += core_energy(weights.core[kind], begin, count, slot_vector, geometry)
                accumulate(layout, kind, begin, end, radial, harmonics, sums)
                start = layout.shell_start[layout.shell_first[kind]]
                for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                    index = layout.one_particle[start + k]
                    value[index * LANES + lane] += total(load(sums, k * LANES))
            energies[block[lane]] = energy
        energy_lanes = product_energy(
            layout, weights.node[centre], weights.leaf[centre], value, adjoint
        )
        store(block_energies, 0, energy_lanes)
        for lane in range(size):
            energies[block[lane]] += block_energies[lane]
            for element in range(n_species):
                kind = centre * n_species + element
                begin, count = segment[lane, element, 0], segment[lane, element, 1]
                if count == 0:
                    continue
                start = layout.shell_start[layout.shell_first[kind]]
                for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                    slopes[k] = adjoint[layout.one_particle[start + k] * LANES + lane]
                pull_back(
                    layout,
                    kind,
                    begin,
                    count,
                    geometry,
                    radial,
                    harmonics,
                    slopes,
                    slot_pair,
                    tile,
                    gradient,
                )


@compiled
def collect_forces(first, neighbours, vectors, gradient, forces, virial):
    """Sum pair gradients to forces (N, 3) and the virial (3, 3), in the order of the pairs."""
    for atom in range(len(first) - 1):
        fx, fy, fz = 0.0, 0.0, 0.0
        for pair in range(first[atom], first[atom + 1]):
            x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
            gx, gy, gz = gradient[pair, 0], gradient[pair, 1], gradient[pair, 2]
            other = neighbours[pair]
            forces[other, 0] -= gx
            forces[other, 1] -= gy
            forces[other, 2] -= gz
            fx += gx
            fy += gy
            fz += gz
            virial[0, 0] -= x * gx
            virial[0, 1] -= x * gy
            virial[0, 2] -= x * gz
            virial[1, 0] -= y * gx
            virial[1, 1] -= y * gy
            virial[1, 2] -= y * gz
            virial[2, 0] -= z * gx
            virial[2, 1] -= z * gy
            virial[2, 2] -= z * gz
        forces[atom, 0] += fx
        forces[atom, 1] += fy
        forces[atom, 2] += fz


@compiled
def pair_vectors(positions, first, neighbours, shifts, vectors):
    """Vectors from atoms to neighbours, with `shifts` (pairs, 3), Å, of the periodic images."""
    for atom in range(len(first) - 1):
        x, y, z = positions[atom, 0], positions[atom, 1], positions[atom, 2]
        for pair in range(first[atom], first[atom + 1]):
            other = neighbours[pair]
            vectors[pair, 0] = positions[other, 0] - x + shifts[pair, 0]
            vectors[pair, 1] = positions[other, 1] - y + shifts[pair, 1]
            vectors[pair, 2] = positions[other, 2] - z + shifts[pair, 2]
