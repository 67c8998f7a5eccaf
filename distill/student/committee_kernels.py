"""Compiled evaluation of a committee: one embedding of the neighbours serves all members."""

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
    power,
    spline_weights,
    transform_distance,
)
from distill.student.kernels import product_energy, pull_back
from distill.student.simd import LANES, fma, load, smaller, splat, square_root, store, total
from distill.student.tables import Weights


@compiled
def all_products(layout, value, products):
    """Products of eight atoms: nodes, then leaves, from the one-particle functions in `value`."""
    n_one = layout.n_one_particle
    for i in range(n_one):
        store(products, i * LANES, load(value, i * LANES))
    for i in range(len(layout.node_parent)):
        parent, factor = layout.node_parent[i] * LANES, layout.node_factor[i] * LANES
        store(products, (n_one + i) * LANES, load(products, parent) * load(products, factor))
    at = layout.n_nodes * LANES
    for group in range(len(layout.group_parent)):
        parent_value = load(products, layout.group_parent[group] * LANES)
        for leaf in range(layout.group_first[group], layout.group_first[group + 1]):
            factor = layout.leaf_factor[leaf] * LANES
            store(products, at + leaf * LANES, parent_value * load(products, factor))


@compiled
def add_product_energies(products, weights, n_members, energies):
    """Add the products' part of eight atoms' energies, eight members at a time.

    `weights` is (products, members) and `energies` (members, lanes), both flat.
    """
    n_products = len(weights) // n_members
    for first in range(0, n_members, LANES):
        e0, e1, e2, e3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        e4, e5, e6, e7 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for k in range(n_products):
            value = load(products, k * LANES)
            w = k * n_members + first
            e0 = fma(value, splat(weights[w]), e0)
            e1 = fma(value, splat(weights[w + 1]), e1)
            e2 = fma(value, splat(weights[w + 2]), e2)
            e3 = fma(value, splat(weights[w + 3]), e3)
            e4 = fma(value, splat(weights[w + 4]), e4)
            e5 = fma(value, splat(weights[w + 5]), e5)
            e6 = fma(value, splat(weights[w + 6]), e6)
            e7 = fma(value, splat(weights[w + 7]), e7)
        sums = (e0, e1, e2, e3, e4, e5, e6, e7)
        for member in range(LANES):
            at = (first + member) * LANES
            store(energies, at, load(energies, at) + sums[member])


@compiled
def add_pair_energies(
    layout, table, n_members, pair_kind, begin, count, slot_vector, tile, energies
):
    """Add an atom's pair energies by its neighbours of one element to `energies`, (members,).

    `table` is (spline rows, members), flat.
    """
    cutoff, r0 = layout.pair_envelope[pair_kind, 0], layout.pair_envelope[pair_kind, 1]
    p = int(layout.pair_envelope[pair_kind, 2])
    end_value, end_slope = (r0 / cutoff) ** p, p * (r0 / cutoff) ** (p + 1)
    for vector in range(begin, begin + (count + LANES - 1) // LANES):
        x = load(slot_vector, vector * 3 * LANES)
        y = load(slot_vector, vector * 3 * LANES + LANES)
        z = load(slot_vector, vector * 3 * LANES + 2 * LANES)
        r = smaller(square_root(x * x + y * y + z * z), splat(cutoff))
        t, _ = transform_distance(r, layout.pair_transform[pair_kind])
        interval, spline, _ = spline_weights(t, layout.pair_grid)
        decay = power(r0 / r, p)
        envelope = decay - end_value + (r * (1.0 / r0) - cutoff / r0) * end_slope
        store(tile, 0, interval)
        for k in range(4):
            store(tile, (1 + k) * LANES, spline[k] * envelope)
        for lane in range(min(LANES, count - (vector - begin) * LANES)):
            row = int(tile[lane]) * n_members
            for first in range(0, n_members, LANES):
                sum_of_rows = load(energies, first)
                for k in range(4):
                    weight = splat(tile[(1 + k) * LANES + lane])
                    place = row + k * n_members + first
                    sum_of_rows = fma(weight, load(table, place), sum_of_rows)
                store(energies, first, sum_of_rows)


@compiled
def evaluate_committee(
    layout,
    tables,
    models,
    atoms,
    species,
    first,
    neighbours,
    vectors,
    energies,
    model_energies,
    gradient,
):
    """Energies of some atoms with every member, and energies and pair gradients of some models.

    Parameters
    ----------
    layout
        `tables.Layout`.
    tables
        `committee.MemberTables` of all members.
    models
        `tables.Weights` with a leading axis, of the models whose gradients are wanted.
    atoms, species, first, neighbours, vectors
        As in `kernels.evaluate_atoms`.
    energies
        Output, (all atoms, members), eV.
    model_energies
        Output, (models, all atoms), eV.
    gradient
        Output, (models, pairs, 3), eV/Å.
    """
    n_species, n_one, n_members = layout.n_species, layout.n_one_particle, tables.n_members
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
    products = np.empty((layout.n_nodes + len(layout.leaf_factor)) * LANES)
    tile = np.empty(9 * LANES)
    scratch = np.empty(4 * (layout.largest_l + 1) * LANES)
    segment = np.empty((LANES, n_species, 2), np.int64)
    block_energies = np.empty(n_members * LANES)
    pair_energies = np.empty(n_members)
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
            pair_energies[:] = 0.0
            for element in range(n_species):
                kind = centre * n_species + element
                begin, count = segment[lane, element, 0], segment[lane, element, 1]
                if count == 0:
                    continue
                end = begin + (count + LANES - 1) // LANES
                embed_neighbours(
                    layout, kind, begin, end, slot_vector, geometry, radial, harmonics, tile,
                    scratch,
                )  # fmt: skip
                add_pair_energies(
                    layout, tables.pair[kind], n_members, kind, begin, count, slot_vector, tile,
                    pair_energies,
                )  # fmt: skip
                accumulate(layout, kind, begin, end, radial, harmonics, sums)
                start = layout.shell_start[layout.shell_first[kind]]
                for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                    index = layout.one_particle[start + k]
                    value[index * LANES + lane] += total(load(sums, k * LANES))
            for member in range(n_members):
                block_energies[member * LANES + lane] = pair_energies[member]
        for lane in range(size, LANES):
            for member in range(n_members):
                block_energies[member * LANES + lane] = 0.0
        all_products(layout, value, products)
        add_product_energies(products, tables.product[centre], n_members, block_energies)
        for lane in range(size):
            for member in range(n_members):
                energies[block[lane], member] = block_energies[member * LANES + lane]
        for model in range(len(models.node)):
            weights = Weights(
                models.one_body[model],
                models.node[model],
                models.leaf[model],
                models.pair[model],
                models.core[model],
            )
            energy_lanes = product_energy(
                layout, weights.node[centre], weights.leaf[centre], value, adjoint
            )
            store(block_energies, 0, energy_lanes)
            for lane in range(size):
                energy = weights.one_body[centre] + block_energies[lane]
                for element in range(n_species):
                    kind = centre * n_species + element
                    begin, count = segment[lane, element, 0], segment[lane, element, 1]
                    if count == 0:
                        continue
                    end = begin + (count + LANES - 1) // LANES
                    energy += pair_energy(
                        layout, weights, kind, begin, end, slot_vector, geometry, tile
                    )
                    core = weights.core[kind]
                    if core[0] > 0.0:
                        energy += core_energy(core, begin, count, slot_vector, geometry)
                    start = layout.shell_start[layout.shell_first[kind]]
                    for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                        slopes[k] = adjoint[layout.one_particle[start + k] * LANES + lane]
                    pull_back(
                        layout, kind, begin, count, geometry, radial, harmonics, slopes,
                        slot_pair, tile, gradient[model],
                    )  # fmt: skip
                model_energies[model, block[lane]] = energy
