"""Compiled evaluation of a committee: one embedding of the neighbours serves all members.

Energies of all members are one small matrix product for eight atoms: members by features. Forces
are evaluated for three models at once, which keeps the processor's pipelines full where one model
alone waits for its sums, and reads each radial function and harmonic once.
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
from distill.student.engine.kernels.compile import compiled, inlined
from distill.student.engine.kernels.embedding_kernels import (
    GEOMETRY,
    PAIR_SLOPE,
    spline_weights,
    transform_distance,
)
from distill.student.engine.kernels.kernel_arguments import (
    MODELS,
    Array,
    ForceTables,
    Integers,
    Layout,
    MemberTables,
    Workspace,
)
from distill.student.engine.kernels.pair_kernels import (
    core_energy,
    pair_distances,
    pair_energy,
    pair_envelope,
)
from distill.student.engine.kernels.simd import LANES, Lanes, fma, load, load_splat, splat, store


@compiled
def many_body_features(tables: MemberTables, value: Array, features: Array) -> None:
    """Many-body functions of eight atoms from the product nodes in `value`."""
    function_first, parents, factors, coefficient = (
        tables.function_first,
        tables.parent,
        tables.factor,
        tables.coefficient,
    )
    for function in range(len(function_first) - 1):
        sum_of_products = splat(0.0)
        for k in range(function_first[function], function_first[function + 1]):
            product = load(value, parents[k] * LANES) * load(value, factors[k] * LANES)
            sum_of_products = fma(load_splat(coefficient, k), product, sum_of_products)
        store(features, function * LANES, sum_of_products)


@compiled
def add_pair_features(
    layout: Layout,
    pair_kind: int,
    begin: int,
    count: int,
    lane: int,
    slot_vector: Array,
    tile: Array,
    first: int,
    features: Array,
) -> None:
    """Add an atom's neighbours of one element, as weights of B-splines times the envelope.

    The features of the pair's splines start at number `first`.
    """
    for vector in range(begin, begin + (count + LANES - 1) // LANES):
        r = pair_distances(slot_vector, vector, layout.pair_envelope[pair_kind, 0])
        t, _ = transform_distance(r, layout.pair_transform[pair_kind])
        interval, spline, _ = spline_weights(t, layout.pair_grid)
        envelope, _ = pair_envelope(r, layout.pair_envelope[pair_kind])
        store(tile, 0, interval)
        for k in range(4):
            store(tile, (1 + k) * LANES, spline[k] * envelope)
        for slot in range(min(LANES, count - (vector - begin) * LANES)):
            at = (first + int(tile[slot])) * LANES + lane
            for k in range(4):
                features[at + k * LANES] += tile[(1 + k) * LANES + slot]


@compiled
def member_energies(features: Array, weights: Array, n_members: int, energies: Array) -> None:
    """Energies of eight atoms, (members, lanes), from `weights`, (features, members); all flat."""
    for first in range(0, n_members, LANES):
        e0, e1, e2, e3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        e4, e5, e6, e7 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for k in range(len(features) // LANES):
            value = load(features, k * LANES)
            w = k * n_members + first
            e0 = fma(value, load_splat(weights, w), e0)
            e1 = fma(value, load_splat(weights, w + 1), e1)
            e2 = fma(value, load_splat(weights, w + 2), e2)
            e3 = fma(value, load_splat(weights, w + 3), e3)
            e4 = fma(value, load_splat(weights, w + 4), e4)
            e5 = fma(value, load_splat(weights, w + 5), e5)
            e6 = fma(value, load_splat(weights, w + 6), e6)
            e7 = fma(value, load_splat(weights, w + 7), e7)
        sums = (e0, e1, e2, e3, e4, e5, e6, e7)
        for member in range(LANES):
            store(energies, (first + member) * LANES, sums[member])


@compiled
def three_product_energies(
    layout: Layout,
    node_weight: Array,
    leaf_weight: Array,
    value: Array,
    adjoint: Array,
    energies: Array,
) -> None:
    """`evaluation_kernels.product_energy` of three models with weights and adjoints side by side.

    `energies` are (models, lanes), flat.
    """
    n_one = layout.n_one_particle
    e0, e1, e2 = splat(0.0), splat(0.0), splat(0.0)
    for i in range(layout.n_nodes):
        node = load(value, i * LANES)
        w0 = load_splat(node_weight, MODELS * i)
        w1 = load_splat(node_weight, MODELS * i + 1)
        w2 = load_splat(node_weight, MODELS * i + 2)
        at = MODELS * i * LANES
        store(adjoint, at, w0)
        store(adjoint, at + LANES, w1)
        store(adjoint, at + 2 * LANES, w2)
        e0, e1, e2 = fma(w0, node, e0), fma(w1, node, e1), fma(w2, node, e2)
    for group in range(len(layout.group_parent)):
        parent = layout.group_parent[group]
        parent_value = load(value, parent * LANES)
        s0, s1, s2 = splat(0.0), splat(0.0), splat(0.0)
        for leaf in range(layout.group_first[group], layout.group_first[group + 1]):
            factor = load(value, layout.leaf_factor[leaf] * LANES)
            w0 = load_splat(leaf_weight, MODELS * leaf)
            w1 = load_splat(leaf_weight, MODELS * leaf + 1)
            w2 = load_splat(leaf_weight, MODELS * leaf + 2)
            s0, s1, s2 = fma(w0, factor, s0), fma(w1, factor, s1), fma(w2, factor, s2)
            at = MODELS * layout.leaf_factor[leaf] * LANES
            add_three(adjoint, at, w0, w1, w2, parent_value)
        e0, e1, e2 = fma(s0, parent_value, e0), fma(s1, parent_value, e1), fma(s2, parent_value, e2)
        add_three(adjoint, MODELS * parent * LANES, s0, s1, s2, splat(1.0))
    for i in range(len(layout.node_parent) - 1, -1, -1):
        parent, factor = layout.node_parent[i], layout.node_factor[i]
        at = MODELS * (n_one + i) * LANES
        d0, d1, d2 = load(adjoint, at), load(adjoint, at + LANES), load(adjoint, at + 2 * LANES)
        add_three(adjoint, MODELS * parent * LANES, d0, d1, d2, load(value, factor * LANES))
        add_three(adjoint, MODELS * factor * LANES, d0, d1, d2, load(value, parent * LANES))
    store(energies, 0, e0)
    store(energies, LANES, e1)
    store(energies, 2 * LANES, e2)


@inlined
def add_three(adjoint: Array, at: int, d0: Lanes, d1: Lanes, d2: Lanes, factor: Lanes) -> None:
    """Add three numbers, each times a factor, to the adjoints of three models."""
    store(adjoint, at, fma(d0, factor, load(adjoint, at)))
    store(adjoint, at + LANES, fma(d1, factor, load(adjoint, at + LANES)))
    store(adjoint, at + 2 * LANES, fma(d2, factor, load(adjoint, at + 2 * LANES)))


@compiled
def pull_back_three(
    layout: Layout,
    pair_kind: int,
    begin: int,
    count: int,
    space: Workspace,
    forces: Array,
    with_virial: bool,
) -> None:
    """`evaluation_kernels.pull_back` of three models, `forces` being (models, N, 3).

    `space.slopes` has those of the models side by side. The virial, where wanted, is that of the
    first model.
    """
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    geometry, radial, harmonics, slopes = (
        space.geometry, space.radial, space.harmonics, space.slopes,
    )  # fmt: skip
    slot_atom, mask, tile, own = space.slot_atom, space.mask, space.tile, space.own
    slot_vector, virial = space.slot_vector, space.virial
    forces0, forces1, forces2 = forces[0], forces[1], forces[2]
    first_shell, last_shell = layout.shell_first[pair_kind], layout.shell_first[pair_kind + 1]
    offset = layout.shell_start[first_shell]
    for vector in range(begin, begin + (count + LANES - 1) // LANES):
        at = vector * GEOMETRY * LANES
        x0, y0, z0 = splat(0.0), splat(0.0), splat(0.0)
        x1, y1, z1 = splat(0.0), splat(0.0), splat(0.0)
        x2, y2, z2 = splat(0.0), splat(0.0), splat(0.0)
        r0 = load(geometry, at + PAIR_SLOPE * LANES)
        r1 = load(geometry, at + (PAIR_SLOPE + 1) * LANES)
        r2 = load(geometry, at + (PAIR_SLOPE + 2) * LANES)
        for shell in range(first_shell, last_shell):
            row = (vector * 2 * n_rows + layout.shell_row[shell]) * LANES
            below = row + n_rows * LANES
            v0, v1, v2 = splat(0.0), splat(0.0), splat(0.0)
            s0, s1, s2 = splat(0.0), splat(0.0), splat(0.0)
            start = layout.shell_start[shell] - offset
            for k in range(layout.shell_start[shell + 1] - offset - start):
                value, slope = load(radial, row + k * LANES), load(radial, below + k * LANES)
                w0 = load_splat(slopes, MODELS * (start + k))
                w1 = load_splat(slopes, MODELS * (start + k) + 1)
                w2 = load_splat(slopes, MODELS * (start + k) + 2)
                v0, v1, v2 = fma(w0, value, v0), fma(w1, value, v1), fma(w2, value, v2)
                s0, s1, s2 = fma(w0, slope, s0), fma(w1, slope, s1), fma(w2, slope, s2)
            y = (vector * n_harmonics + layout.shell_harmonic[shell]) * 4 * LANES
            h, hx = load(harmonics, y), load(harmonics, y + LANES)
            hy, hz = load(harmonics, y + 2 * LANES), load(harmonics, y + 3 * LANES)
            r0, r1, r2 = fma(s0, h, r0), fma(s1, h, r1), fma(s2, h, r2)
            x0, x1, x2 = fma(v0, hx, x0), fma(v1, hx, x1), fma(v2, hx, x2)
            y0, y1, y2 = fma(v0, hy, y0), fma(v1, hy, y1), fma(v2, hy, y2)
            z0, z1, z2 = fma(v0, hz, z0), fma(v1, hz, z1), fma(v2, hz, z2)
        real = min(LANES, count - (vector - begin) * LANES)
        slot = vector * LANES
        gx, gy, gz = neighbour_gradient(geometry, at, r0, x0, y0, z0)
        gx, gy, gz = deliver(gx, gy, gz, slot, real, mask, slot_atom, tile, 0 * LANES, own, forces0)
        if with_virial:
            add_virial(gx, gy, gz, slot_vector, vector, virial)
        gx, gy, gz = neighbour_gradient(geometry, at, r1, x1, y1, z1)
        deliver(gx, gy, gz, slot, real, mask, slot_atom, tile, 3 * LANES, own, forces1)
        gx, gy, gz = neighbour_gradient(geometry, at, r2, x2, y2, z2)
        deliver(gx, gy, gz, slot, real, mask, slot_atom, tile, 6 * LANES, own, forces2)


@compiled
def evaluate_committee(
    layout: Layout,
    tables: MemberTables,
    triples: ForceTables,
    atoms: Integers,
    species: Integers,
    first: Integers,
    neighbours: Integers,
    vectors: Array,
    energies: Array,
    mean_energies: Array,
    forces: Array,
    virial: Array,
) -> None:
    """Energies of some atoms with every member, and forces of some models.

    Parameters
    ----------
    layout
        `tables.Layout`.
    tables
        `committee.MemberTables` of all members.
    triples
        `committee.ForceTables` of the models whose forces are wanted; the first is the student
        itself.
    atoms, species, first, neighbours, vectors
        As in `evaluation_kernels.evaluate_atoms`.
    energies
        Output, (all atoms, members), eV.
    mean_energies
        Output, (all atoms,), eV: of the first model; untouched without models.
    forces
        (triples, 3, all atoms, 3), eV/Å; added to.
    virial
        (3, 3), eV, of the student where its forces are wanted; added to.
    """
    n_species, n_members = layout.n_species, tables.n_members
    space = make_workspace(layout, first, atoms, LANES)
    n_many, n_rows = len(tables.function_first) - 1, int(layout.pair_grid[2]) + 2
    features = np.empty((n_many + n_species * n_rows) * LANES)
    adjoint = np.empty(layout.n_nodes * MODELS * LANES)
    block_energies = np.empty(n_members * LANES)
    model_energies = np.empty(MODELS * LANES)
    slopes, slot_vector, geometry = space.slopes, space.slot_vector, space.geometry
    done = 0
    while done < len(atoms):
        end = block_end(species, atoms, done)
        block = atoms[done:end]
        done = end
        centre = species[block[0]]
        embed_block(layout, species, first, neighbours, vectors, block, space)
        multiply_nodes(layout, space.value)
        many_body_features(tables, space.value, features)
        features[n_many * LANES :] = 0.0
        for lane in range(len(block)):
            for element in range(n_species):
                kind = centre * n_species + element
                begin, _, count = neighbour_vectors(space, lane, element)
                add_pair_features(
                    layout, kind, begin, count, lane, slot_vector, space.tile,
                    n_many + element * n_rows, features,
                )  # fmt: skip
        member_energies(features, tables.weights[centre], n_members, block_energies)
        for lane in range(len(block)):
            for member in range(n_members):
                energies[block[lane], member] = block_energies[member * LANES + lane]
        for triple in range(len(triples.node)):
            three_product_energies(
                layout, triples.node[triple, centre], triples.leaf[triple, centre], space.value,
                adjoint, model_energies,
            )  # fmt: skip
            for lane in range(len(block)):
                energy = triples.one_body[centre] + model_energies[lane]
                space.own[:] = 0.0
                for element in range(n_species):
                    kind = centre * n_species + element
                    begin, end, count = neighbour_vectors(space, lane, element)
                    if count == 0:
                        continue
                    for model in range(MODELS):
                        pair = pair_energy(
                            layout, triples.pair[triple, model, kind], kind, begin, end,
                            slot_vector, geometry, space.tile, model,
                        )  # fmt: skip
                        if model == 0:
                            energy += pair
                    if triple == 0 and triples.core[kind, 0] > 0.0:
                        energy += core_energy(
                            triples.core[kind], begin, count, slot_vector, geometry
                        )
                    start = layout.shell_start[layout.shell_first[kind]]
                    for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                        at = MODELS * layout.one_particle[start + k] * LANES + lane
                        for model in range(MODELS):
                            slopes[MODELS * k + model] = adjoint[at + model * LANES]
                    pull_back_three(layout, kind, begin, count, space, forces[triple], triple == 0)
                for model in range(MODELS):
                    push_atom(space, model, block[lane], forces[triple, model])
                if triple == 0:
                    mean_energies[block[lane]] = energy
    finish_virial(space, virial)
