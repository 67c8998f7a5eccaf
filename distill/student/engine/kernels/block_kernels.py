"""Blocks of up to eight atoms of one element, which go through the kernels together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.kernels.compile import compiled, inlined
from distill.student.engine.kernels.embedding_kernels import (
    GEOMETRY,
    accumulate,
    embed_neighbours,
    gather_neighbours,
)
from distill.student.engine.kernels.kernel_arguments import Array, Integers, Layout, Workspace
from distill.student.engine.kernels.simd import LANES, Lanes, fma, load, store, total


@compiled
def make_workspace(layout: Layout, first: Integers, atoms: Integers, size: int) -> Workspace:
    """Scratch for blocks of up to `size` of these atoms."""
    most = 0
    for atom in atoms:
        most = max(most, first[atom + 1] - first[atom])
    n_vectors = size * (most // LANES + layout.n_species)
    n_harmonics = (layout.largest_l + 1) ** 2
    mask = np.zeros(2 * LANES)
    mask[:LANES] = 1.0
    value = np.ones((layout.pairs.n_values + 1) * LANES)
    return Workspace(
        np.empty(n_vectors * LANES, np.uint64),
        np.empty(n_vectors * LANES * 3),
        np.empty((LANES, layout.n_species, 2), np.int64),
        np.zeros(n_vectors * LANES * GEOMETRY),
        np.empty(n_vectors * LANES * 2 * layout.n_rows),
        np.empty(n_vectors * LANES * 4 * n_harmonics),
        value,
        np.empty(layout.n_one_particle * LANES),
        np.empty(layout.n_one_particle * 3),
        np.empty(9 * LANES),
        np.empty(4 * (layout.largest_l + 1) * LANES),
        np.zeros(9 * LANES),
        np.zeros(9 * LANES),
        mask,
    )


@compiled
def block_end(species: Integers, atoms: Integers, start: int) -> int:
    """End of the block of atoms of one element that begins at `start`."""
    end = start + 1
    while end < len(atoms) and end - start < LANES and species[atoms[end]] == species[atoms[start]]:
        end += 1
    return end


@compiled
def embed_block(
    layout: Layout,
    species: Integers,
    first: Integers,
    neighbours: Integers,
    vectors: Array,
    atoms: Integers,
    space: Workspace,
) -> None:
    """Embed the neighbours of a block's atoms and sum them to one-particle functions."""
    gather_neighbours(
        layout, species, first, neighbours, vectors, atoms, space.slot_atom, space.slot_vector,
        space.segment,
    )  # fmt: skip
    value, sums = space.value, space.sums
    value[: layout.n_one_particle * LANES] = 0.0
    for lane in range(len(atoms)):
        for element in range(layout.n_species):
            kind = species[atoms[lane]] * layout.n_species + element
            begin, end, count = neighbour_vectors(space, lane, element)
            if count == 0:
                continue
            embed_neighbours(
                layout, kind, begin, end, space.slot_vector, space.geometry, space.radial,
                space.harmonics, space.tile, space.powers,
            )  # fmt: skip
            accumulate(layout, kind, begin, end, space.radial, space.harmonics, sums)
            start = layout.shell_start[layout.shell_first[kind]]
            for k in range(layout.shell_start[layout.shell_first[kind + 1]] - start):
                index = layout.one_particle[start + k]
                value[index * LANES + lane] += total(load(sums, k * LANES))


@inlined
def neighbour_vectors(space: Workspace, lane: int, element: int) -> tuple[int, int, int]:
    """First and last vector, and number, of an atom's neighbours of one element."""
    begin, count = space.segment[lane, element, 0], space.segment[lane, element, 1]
    return begin, begin + (count + LANES - 1) // LANES, count


@inlined
def multiply_nodes(layout: Layout, value: Array) -> None:
    """Product nodes of eight atoms from the one-particle functions in `value`."""
    n_one = layout.n_one_particle
    for i in range(len(layout.node_parent)):
        parent, factor = layout.node_parent[i] * LANES, layout.node_factor[i] * LANES
        store(value, (n_one + i) * LANES, load(value, parent) * load(value, factor))


@inlined
def neighbour_gradient(
    geometry: Array, at: int, along: Lanes, gx: Lanes, gy: Lanes, gz: Lanes
) -> tuple[Lanes, Lanes, Lanes]:
    """Gradient by a neighbour's vector from the derivatives by its length and its direction."""
    ux, uy, uz = load(geometry, at), load(geometry, at + LANES), load(geometry, at + 2 * LANES)
    inverse = load(geometry, at + 3 * LANES)
    along = along - (ux * gx + uy * gy + uz * gz) * inverse
    return fma(gx, inverse, along * ux), fma(gy, inverse, along * uy), fma(gz, inverse, along * uz)


@inlined
def deliver(
    gx: Lanes,
    gy: Lanes,
    gz: Lanes,
    slot: int,
    count: int,
    mask: Array,
    slot_atom: NDArray[np.uint64],
    tile: Array,
    at: int,
    own: Array,
    forces: Array,
) -> tuple[Lanes, Lanes, Lanes]:
    """Push eight neighbours, `count` of them real, by minus a gradient; sum it to `own[at:]`."""
    real = load(mask, LANES - count)
    gx, gy, gz = gx * real, gy * real, gz * real
    store(tile, 0, gx)
    store(tile, LANES, gy)
    store(tile, 2 * LANES, gz)
    store(own, at, load(own, at) + gx)
    store(own, at + LANES, load(own, at + LANES) + gy)
    store(own, at + 2 * LANES, load(own, at + 2 * LANES) + gz)
    for lane in range(count):
        other = slot_atom[slot + lane]
        forces[other, 0] -= tile[lane]
        forces[other, 1] -= tile[LANES + lane]
        forces[other, 2] -= tile[2 * LANES + lane]
    return gx, gy, gz


@inlined
def add_virial(
    gx: Lanes, gy: Lanes, gz: Lanes, slot_vector: Array, vector: int, virial: Array
) -> None:
    """Subtract the vectors of eight neighbours times gradients from lane sums."""
    for axis in range(3):
        r = load(slot_vector, (3 * vector + axis) * LANES)
        at = 3 * axis * LANES
        store(virial, at, load(virial, at) - r * gx)
        store(virial, at + LANES, load(virial, at + LANES) - r * gy)
        store(virial, at + 2 * LANES, load(virial, at + 2 * LANES) - r * gz)


@inlined
def push_atom(space: Workspace, model: int, atom: int, forces: Array) -> None:
    """Add `space.own` of one model to the force on the atom."""
    for axis in range(3):
        forces[atom, axis] += total(load(space.own, (3 * model + axis) * LANES))


@inlined
def finish_virial(space: Workspace, virial: Array) -> None:
    """Add the lane sums to the virial, (3, 3)."""
    for place in range(9):
        virial[place // 3, place % 3] += total(load(space.virial, place * LANES))
