"""Compiled assembly of design rows: basis functions and their gradients, summed by structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.kernels.block_kernels import (
    embed_block,
    make_workspace,
    neighbour_vectors,
)
from distill.student.engine.kernels.compile import compiled
from distill.student.engine.kernels.embedding_kernels import (
    GEOMETRY,
    spline_weights,
    transform_distance,
)
from distill.student.engine.kernels.kernel_arguments import Array, DesignTables, Integers, Layout
from distill.student.engine.kernels.pair_kernels import pair_envelope
from distill.student.engine.kernels.simd import LANES, fma, load, splat, store, total


@compiled
def invariants(
    design: DesignTables, value: Array, scratch: Array, functions: Array, entries: Array
) -> None:
    """Many-body functions of one atom and their derivatives by its one-particle functions.

    Parameters
    ----------
    design
        `assembly.DesignTables`.
    value
        One-particle functions of the atom, (n_one_particle,).
    scratch
        Room for one number for each factor of a product.
    functions
        Output, (n_many_body,).
    entries
        Output, the nonzero derivatives in the order of `design`, added up from zero here.
    """
    functions[:] = 0.0
    entries[:] = 0.0
    for term in range(len(design.term_value)):
        first, last = design.term_first[term], design.term_first[term + 1]
        product = design.term_value[term]
        for slot in range(first, last):
            scratch[slot - first] = product
            product *= value[design.term_factor[slot]]
        functions[design.term_function[term]] += product
        others = 1.0
        for slot in range(last - 1, first - 1, -1):
            entries[design.term_entry[slot]] += scratch[slot - first] * others
            others *= value[design.term_factor[slot]]


@compiled
def one_particle_gradients(
    layout: Layout,
    kind: int,
    begin: int,
    end: int,
    geometry: Array,
    radial: Array,
    harmonics: Array,
    out: Array,
) -> None:
    """Derivatives of the one-particle functions of a pair's shells by neighbour positions.

    Written to `out` as (function, vector, x y z, lane).
    """
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    n_vectors = end - begin
    offset = layout.shell_start[layout.shell_first[kind]]
    for shell in range(layout.shell_first[kind], layout.shell_first[kind + 1]):
        start, stop = layout.shell_start[shell] - offset, layout.shell_start[shell + 1] - offset
        for vector in range(begin, end):
            at = vector * GEOMETRY * LANES
            ux, uy, uz = load(geometry, at), load(geometry, at + LANES), load(geometry, at + 16)
            inverse = load(geometry, at + 3 * LANES)
            place = (vector * n_harmonics + layout.shell_harmonic[shell]) * 4 * LANES
            y = load(harmonics, place)
            hx = load(harmonics, place + LANES)
            hy = load(harmonics, place + 2 * LANES)
            hz = load(harmonics, place + 3 * LANES)
            along = ux * hx + uy * hy + uz * hz
            hx, hy, hz = (
                (hx - along * ux) * inverse,
                (hy - along * uy) * inverse,
                (hz - along * uz) * inverse,
            )
            vx, vy, vz = y * ux, y * uy, y * uz
            for k in range(start, stop):
                row = (vector * 2 * n_rows + layout.shell_row[shell] + k - start) * LANES
                value, slope = load(radial, row), load(radial, row + n_rows * LANES)
                to = (k * n_vectors + vector - begin) * 3 * LANES
                store(out, to, fma(value, hx, slope * vx))
                store(out, to + LANES, fma(value, hy, slope * vy))
                store(out, to + 2 * LANES, fma(value, hz, slope * vz))


@compiled
def add_gradients(
    design: DesignTables,
    kind: int,
    atom: int,
    column: int,
    begin: int,
    count: int,
    entries: Array,
    gradients: Array,
    slot_vector: Array,
    slot_atom: NDArray[np.uint64],
    tile: Array,
    forces: Array,
    virial: Array,
) -> None:
    """Add one atom's many-body functions, by its neighbours of one element, to the rows.

    `forces` is (n_functions, 3 N) and `virial` (6, n_functions); the atom's functions start at
    `column`.
    """
    n_vectors = (count + LANES - 1) // LANES
    width = n_vectors * 3 * LANES
    for function in range(design.function_first.shape[1] - 1):
        first = design.function_first[kind, function]
        last = design.function_first[kind, function + 1]
        if first == last:
            continue
        row = forces[column + function]
        own_x, own_y, own_z = splat(0.0), splat(0.0), splat(0.0)
        xx, yy, zz = splat(0.0), splat(0.0), splat(0.0)
        yz, xz, xy = splat(0.0), splat(0.0), splat(0.0)
        for vector in range(n_vectors):
            gx, gy, gz = splat(0.0), splat(0.0), splat(0.0)
            for k in range(first, last):
                weight = splat(entries[design.entry[k]])
                place = design.local[k] * width + vector * 3 * LANES
                gx = fma(weight, load(gradients, place), gx)
                gy = fma(weight, load(gradients, place + LANES), gy)
                gz = fma(weight, load(gradients, place + 2 * LANES), gz)
            at = (begin + vector) * 3 * LANES
            x = load(slot_vector, at)
            y = load(slot_vector, at + LANES)
            z = load(slot_vector, at + 2 * LANES)
            own_x, own_y, own_z = own_x + gx, own_y + gy, own_z + gz
            xx, yy, zz = fma(x, gx, xx), fma(y, gy, yy), fma(z, gz, zz)
            yz, xz, xy = fma(y, gz, yz), fma(x, gz, xz), fma(x, gy, xy)
            store(tile, 0, gx)
            store(tile, LANES, gy)
            store(tile, 2 * LANES, gz)
            slot = (begin + vector) * LANES
            for lane in range(min(LANES, count - vector * LANES)):
                other = 3 * np.int64(slot_atom[slot + lane])
                row[other] -= tile[lane]
                row[other + 1] -= tile[LANES + lane]
                row[other + 2] -= tile[2 * LANES + lane]
        row[3 * atom] += total(own_x)
        row[3 * atom + 1] += total(own_y)
        row[3 * atom + 2] += total(own_z)
        virial[0, column + function] -= total(xx)
        virial[1, column + function] -= total(yy)
        virial[2, column + function] -= total(zz)
        virial[3, column + function] -= total(yz)
        virial[4, column + function] -= total(xz)
        virial[5, column + function] -= total(xy)


@compiled
def add_pair_functions(
    layout: Layout,
    design: DesignTables,
    kind: int,
    atom: int,
    column: int,
    begin: int,
    count: int,
    slot_vector: Array,
    slot_atom: NDArray[np.uint64],
    tile: Array,
    energies: Array,
    forces: Array,
    virial: Array,
    gradient: bool,
) -> None:
    """Add one atom's pair functions, by its neighbours of one element, to the rows."""
    cutoff = layout.pair_envelope[kind, 0]
    n_pair = design.pair_splines.shape[2]
    for slot in range(begin * LANES, begin * LANES + count):
        at = (slot // LANES) * 3 * LANES + slot % LANES
        x, y, z = slot_vector[at], slot_vector[at + LANES], slot_vector[at + 2 * LANES]
        r = np.sqrt(x * x + y * y + z * z)
        if r >= cutoff:
            continue
        t, slope = transform_distance(splat(r), layout.pair_transform[kind])
        interval, weights, slopes = spline_weights(t, layout.pair_grid)
        envelope, envelope_slope = pair_envelope(splat(r), layout.pair_envelope[kind])
        for k in range(4):
            store(tile, 2 * k * LANES, weights[k] * envelope)
            store(
                tile,
                (2 * k + 1) * LANES,
                weights[k] * envelope_slope + slopes[k] * slope * envelope,
            )
        node = int(total(interval) / LANES)
        other = 3 * np.int64(slot_atom[slot])
        for n in range(n_pair):
            value, climb = 0.0, 0.0
            for k in range(4):
                coefficient = design.pair_splines[kind, node + k, n]
                value += coefficient * tile[2 * k * LANES]
                climb += coefficient * tile[(2 * k + 1) * LANES]
            if value == 0.0 and climb == 0.0:
                continue
            energies[column + n] += value
            if not gradient:
                continue
            climb /= r
            gx, gy, gz = climb * x, climb * y, climb * z
            row = forces[column + n]
            row[3 * atom] += gx
            row[3 * atom + 1] += gy
            row[3 * atom + 2] += gz
            row[other] -= gx
            row[other + 1] -= gy
            row[other + 2] -= gz
            virial[0, column + n] -= x * gx
            virial[1, column + n] -= y * gy
            virial[2, column + n] -= z * gz
            virial[3, column + n] -= y * gz
            virial[4, column + n] -= x * gz
            virial[5, column + n] -= x * gy


@compiled
def assemble(
    layout: Layout,
    design: DesignTables,
    species: Integers,
    first: Integers,
    neighbours: Integers,
    vectors: Array,
    site_energies: bool,
    gradient: bool,
    energies: Array,
    forces: Array,
    virial: Array,
) -> None:
    """Rows of one structure, added to zeros.

    Parameters
    ----------
    layout, design
        `tables.Layout` and `assembly.DesignTables`.
    species, first, neighbours, vectors
        As in `evaluation_kernels.evaluate_atoms`.
    site_energies
        Whether `energies` holds a row for each atom, (N, n_functions), or their sum,
        (1, n_functions).
    gradient
        Whether forces and virial are wanted.
    energies
        Output.
    forces
        Output, (n_functions, 3 N): minus the derivatives by positions.
    virial
        Output, (6, n_functions): xx yy zz yz xz xy.
    """
    n_species, n_one = layout.n_species, layout.n_one_particle
    n_many, n_pair = design.function_first.shape[1] - 1, design.pair_splines.shape[2]
    n_atoms = len(first) - 1
    atoms = np.arange(n_atoms)
    space = make_workspace(layout, first, atoms, 1)
    value = np.empty(n_one)
    functions = np.empty(n_many)
    entries = np.empty(design.n_entries)
    gradients = np.empty(n_one * len(space.slot_vector) if gradient else 1)
    for atom in range(n_atoms):
        centre = species[atom]
        row = energies[atom if site_energies else 0]
        embed_block(layout, species, first, neighbours, vectors, atoms[atom : atom + 1], space)
        for k in range(n_one):
            value[k] = space.value[k * LANES]
        for element in range(n_species):
            kind = centre * n_species + element
            begin, _, count = neighbour_vectors(space, 0, element)
            if count == 0:
                continue
            add_pair_functions(
                layout,
                design,
                kind,
                atom,
                n_species * n_many + centre * n_pair,
                begin,
                count,
                space.slot_vector,
                space.slot_atom,
                space.tile,
                row,
                forces,
                virial,
                gradient,
            )
        invariants(design, value, space.powers, functions, entries)
        for function in range(n_many):
            row[centre * n_many + function] += functions[function]
        if not gradient:
            continue
        for element in range(n_species):
            kind = centre * n_species + element
            begin, end, count = neighbour_vectors(space, 0, element)
            if count == 0:
                continue
            one_particle_gradients(
                layout,
                kind,
                begin,
                end,
                space.geometry,
                space.radial,
                space.harmonics,
                gradients,
            )
            add_gradients(
                design,
                kind,
                atom,
                centre * n_many,
                begin,
                count,
                entries,
                gradients,
                space.slot_vector,
                space.slot_atom,
                space.tile,
                forces,
                virial,
            )
