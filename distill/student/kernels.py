"""Compiled evaluation of a linear ACE model: energies and their gradients by pair vectors.

Eight neighbours of an atom are handled at once for distances, radial functions, harmonics and
forces; eight atoms of one element at once for the products. All scratch arrays are flat, with the
eight lanes innermost. Energies and pair gradients are the only outputs, so that results do not
depend on how atoms are shared out among threads.
"""

# mypy: disable-error-code="no-untyped-def, call-arg, var-annotated"

from __future__ import annotations

import numpy as np
from numba import njit

from distill.student.simd import (
    LANES,
    floor,
    fma,
    larger,
    load,
    smaller,
    splat,
    square_root,
    store,
    total,
    transpose,
)
from distill.student.zbl import SCREENING

# One neighbour vector's geometry: unit vector (3), 1 / r, slope of the pair potential.
GEOMETRY = 5

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def power(base, exponent):
    """Integer power of a lane vector, exponent >= 0."""
    result = splat(1.0)
    for _ in range(exponent):
        result = result * base
    return result


@compiled
def transform_distance(r, parameters):
    """x(r) and dx/dr of the normalised Agnesi transform; see `radial.agnesi_parameters`."""
    p, q = int(parameters[0]), int(parameters[1])
    a = parameters[2]
    scale = 1.0 / (parameters[4] - parameters[3])
    stretch = 2.0 / (parameters[6] - parameters[5])
    s = larger((r - parameters[3]) * scale, splat(0.0))
    inner = power(s, q - p)
    outer = power(s, q - 1)
    shifted = inner + 1.0
    inverse = 1.0 / (shifted + outer * s * a)
    x = (shifted * inverse - parameters[5]) * stretch - 1.0
    slope = outer * inverse * inverse * (shifted * q - inner * (q - p)) * (-a * scale * stretch)
    return smaller(larger(x, splat(-1.0)), splat(1.0)), slope


@compiled
def spline_weights(x, grid):
    """Interval of a B-spline, its four weights and their derivatives by x."""
    position = (x - grid[0]) * (1.0 / grid[1])
    interval = smaller(larger(floor(position), splat(0.0)), splat(grid[2] - 2.0))
    t = position - interval
    c = 1.0 - t
    t2, c2 = t * t, c * c
    sixth, inverse = 1.0 / 6.0, 1.0 / grid[1]
    weights = (
        c2 * c * sixth,
        (t2 * (3.0 * t - 6.0) + 4.0) * sixth,
        (c2 * (3.0 * c - 6.0) + 4.0) * sixth,
        t2 * t * sixth,
    )
    slopes = (
        c2 * (-0.5 * inverse),
        t * (1.5 * t - 2.0) * inverse,
        c * (2.0 - 1.5 * c) * inverse,
        t2 * (0.5 * inverse),
    )
    return interval, weights, slopes


@compiled
def envelope_of_x(x, parameters):
    """Envelope s (x - x1)^p1 (x2 - x)^p2 of the many-body functions, and its slope."""
    p1, p2 = int(parameters[2]), int(parameters[3])
    low = larger(x - parameters[0], splat(0.0))
    high = larger(parameters[1] - x, splat(0.0))
    low_power, high_power = power(low, max(p1 - 1, 0)), power(high, max(p2 - 1, 0))
    low_value = low_power * low if p1 > 0 else low_power
    high_value = high_power * high if p2 > 0 else high_power
    value = low_value * high_value * parameters[4]
    slope = (low_power * high_value * p1 - low_value * high_power * p2) * parameters[4]
    return value, slope


@compiled
def gather_neighbours(
    layout, species, first, neighbours, vectors, atoms, slot_pair, slot_vector, segment
):
    """Sort the neighbours within the cutoff of up to eight atoms into lanes.

    Each atom's neighbours of one element fill whole vectors; what is left over of the last one is
    padded with points on the cutoff, where everything vanishes. `segment[atom, element]` holds
    the first vector and the number of neighbours.
    """
    vector = 0
    n_species = layout.n_species
    for lane in range(len(atoms)):
        atom = atoms[lane]
        for element in range(n_species):
            cutoff = layout.cutoff[species[atom] * n_species + element]
            squared = cutoff * cutoff
            slot = vector * LANES
            count = 0
            for pair in range(first[atom], first[atom + 1]):
                if species[neighbours[pair]] != element:
                    continue
                x, y, z = vectors[pair, 0], vectors[pair, 1], vectors[pair, 2]
                if x * x + y * y + z * z < squared:
                    place = (slot // LANES) * 3 * LANES + slot % LANES
                    slot_vector[place] = x
                    slot_vector[place + LANES] = y
                    slot_vector[place + 2 * LANES] = z
                    slot_pair[slot] = pair
                    slot += 1
                    count += 1
            segment[lane, element, 0] = vector
            segment[lane, element, 1] = count
            while slot % LANES:
                place = (slot // LANES) * 3 * LANES + slot % LANES
                slot_vector[place] = cutoff
                slot_vector[place + LANES] = 0.0
                slot_vector[place + 2 * LANES] = 0.0
                slot += 1
            vector = slot // LANES
    return vector


@compiled
def radial_rows(splines, start, width, offset, tile):
    """Values (tile 0-3) or slopes (tile 4-7 by offset) of eight rows for eight neighbours."""
    return (
        _row(splines, start, width, tile, offset, 0),
        _row(splines, start, width, tile, offset, 1),
        _row(splines, start, width, tile, offset, 2),
        _row(splines, start, width, tile, offset, 3),
        _row(splines, start, width, tile, offset, 4),
        _row(splines, start, width, tile, offset, 5),
        _row(splines, start, width, tile, offset, 6),
        _row(splines, start, width, tile, offset, 7),
    )


@compiled
def _row(splines, start, width, tile, offset, lane):
    place = start + int(tile[8 * LANES + lane]) * width
    at = offset * LANES + lane
    value = splat(tile[at]) * load(splines, place)
    value = fma(splat(tile[at + LANES]), load(splines, place + width), value)
    value = fma(splat(tile[at + 2 * LANES]), load(splines, place + 2 * width), value)
    return fma(splat(tile[at + 3 * LANES]), load(splines, place + 3 * width), value)


@compiled
def evaluate_harmonics(ux, uy, uz, largest_l, norms, scratch, out, at):
    """Real spherical harmonics of unit vectors and their gradients as polynomials in u.

    Y_lm = N Q_l^m(z) Re or Im (x + i y)^m with Q_l^m = P_l^m / (1 - z^2)^(m/2), whose derivative
    is Q_l^(m+1). Written to `out` from `at`: for each l² + l + m the value and d/dx, d/dy, d/dz.
    """
    n_powers = largest_l + 1
    real, imaginary, legendre, above = (
        0,
        n_powers * LANES,
        2 * n_powers * LANES,
        3 * n_powers * LANES,
    )
    re, im = splat(1.0), splat(0.0)
    for m in range(n_powers):
        store(scratch, real + m * LANES, re)
        store(scratch, imaginary + m * LANES, im)
        store(scratch, above + m * LANES, splat(0.0))
        re, im = re * ux - im * uy, re * uy + im * ux
    for m in range(largest_l, -1, -1):
        start = 1.0
        for k in range(1, m + 1):
            start *= 2 * k - 1
        older, current = splat(0.0), splat(start)
        re, im = load(scratch, real + m * LANES), load(scratch, imaginary + m * LANES)
        for ell in range(m, n_powers):
            if ell > m:
                older, current = (
                    current,
                    (
                        uz * current * ((2 * ell - 1) / (ell - m))
                        - older * ((ell + m - 1) / (ell - m))
                    ),
                )
            store(scratch, legendre + ell * LANES, current)
            slope = load(scratch, above + ell * LANES)
            plus = at + (ell * ell + ell + m) * 4 * LANES
            norm = norms[ell * ell + ell + m]
            value, climb = current * norm, slope * norm
            store(out, plus, value * re)
            store(out, plus + 3 * LANES, climb * re)
            if m == 0:
                store(out, plus + LANES, splat(0.0))
                store(out, plus + 2 * LANES, splat(0.0))
            else:
                minus = at + (ell * ell + ell - m) * 4 * LANES
                lower_re = load(scratch, real + (m - 1) * LANES) * (value * m)
                lower_im = load(scratch, imaginary + (m - 1) * LANES) * (value * m)
                store(out, plus + LANES, lower_re)
                store(out, plus + 2 * LANES, lower_im * -1.0)
                store(out, minus, value * im)
                store(out, minus + LANES, lower_im)
                store(out, minus + 2 * LANES, lower_re)
                store(out, minus + 3 * LANES, climb * im)
        for ell in range(m, n_powers):
            store(scratch, above + ell * LANES, load(scratch, legendre + ell * LANES))


@compiled
def embed_neighbours(
    layout, pair_kind, begin, end, slot_vector, geometry, radial, harmonics, tile, scratch
):
    """Radial functions, their slopes and harmonics of the neighbour vectors begin to end.

    `radial` holds, for each vector, `n_rows` values and then `n_rows` slopes by r.
    """
    width = layout.row_count[pair_kind]
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    start = layout.spline_first[pair_kind]
    for vector in range(begin, end):
        x = load(slot_vector, vector * 3 * LANES)
        y = load(slot_vector, vector * 3 * LANES + LANES)
        z = load(slot_vector, vector * 3 * LANES + 2 * LANES)
        r = square_root(x * x + y * y + z * z)
        inverse = 1.0 / r
        ux, uy, uz = x * inverse, y * inverse, z * inverse
        at = vector * GEOMETRY * LANES
        store(geometry, at, ux)
        store(geometry, at + LANES, uy)
        store(geometry, at + 2 * LANES, uz)
        store(geometry, at + 3 * LANES, inverse)
        t, slope = transform_distance(r, layout.transform[pair_kind])
        envelope, envelope_slope = envelope_of_x(t, layout.envelope[pair_kind])
        interval, weights, slopes = spline_weights(t, layout.grid)
        for k in range(4):
            store(tile, k * LANES, weights[k] * envelope)
            store(
                tile,
                (4 + k) * LANES,
                (weights[k] * envelope_slope + slopes[k] * envelope) * slope,
            )
        store(tile, 8 * LANES, interval)
        for block in range(0, width, LANES):
            to = (vector * 2 * n_rows + block) * LANES
            rows = transpose(radial_rows(layout.splines, start + block, width, 0, tile))
            for k in range(LANES):
                store(radial, to + k * LANES, rows[k])
            to += n_rows * LANES
            rows = transpose(radial_rows(layout.splines, start + block, width, 4, tile))
            for k in range(LANES):
                store(radial, to + k * LANES, rows[k])
        evaluate_harmonics(
            ux,
            uy,
            uz,
            layout.largest_l,
            layout.harmonic_norm,
            scratch,
            harmonics,
            vector * n_harmonics * 4 * LANES,
        )


@compiled
def pair_energy(layout, weights, pair_kind, begin, end, slot_vector, geometry, tile):
    """Sum of the pair potential over neighbour vectors; its slopes go to `geometry`."""
    energy = splat(0.0)
    table = weights.pair[pair_kind]
    cutoff, r0 = layout.pair_envelope[pair_kind, 0], layout.pair_envelope[pair_kind, 1]
    p = int(layout.pair_envelope[pair_kind, 2])
    end_value, end_slope = (r0 / cutoff) ** p, p * (r0 / cutoff) ** (p + 1)
    for vector in range(begin, end):
        x = load(slot_vector, vector * 3 * LANES)
        y = load(slot_vector, vector * 3 * LANES + LANES)
        z = load(slot_vector, vector * 3 * LANES + 2 * LANES)
        r = smaller(square_root(x * x + y * y + z * z), splat(cutoff))
        t, slope = transform_distance(r, layout.pair_transform[pair_kind])
        interval, spline, spline_slope = spline_weights(t, layout.pair_grid)
        store(tile, 0, interval)
        for lane in range(LANES):
            place = int(tile[lane])
            for k in range(4):
                tile[(1 + k) * LANES + lane] = table[place + k]
        value, climb = splat(0.0), splat(0.0)
        for k in range(4):
            coefficient = load(tile, (1 + k) * LANES)
            value = fma(coefficient, spline[k], value)
            climb = fma(coefficient, spline_slope[k], climb)
        ratio = r0 / r
        decay = power(ratio, p)
        envelope = decay - end_value + (r * (1.0 / r0) - cutoff / r0) * end_slope
        envelope_slope = (end_slope - decay * ratio * p) * (1.0 / r0)
        energy = fma(value, envelope, energy)
        store(
            geometry,
            vector * GEOMETRY * LANES + 4 * LANES,
            value * envelope_slope + climb * slope * envelope,
        )
    return total(energy)


@compiled
def core_energy(core, begin, count, slot_vector, geometry):
    """Half the ZBL repulsion over an atom's neighbours; its slopes are added to `geometry`."""
    energy = 0.0
    for slot in range(begin * LANES, begin * LANES + count):
        at = (slot // LANES) * 3 * LANES + slot % LANES
        x, y, z = slot_vector[at], slot_vector[at + LANES], slot_vector[at + 2 * LANES]
        squared = x * x + y * y + z * z
        if squared >= core[2] * core[2]:
            continue
        r = np.sqrt(squared)
        screening, slope = 0.0, 0.0
        for amplitude, decay in SCREENING:
            part = amplitude * np.exp(-decay * r / core[1])
            screening += part
            slope -= part * decay / core[1]
        fraction = r / core[2]
        sixth = fraction**6
        end = 1.0 - sixth * (28.0 - fraction * (48.0 - 21.0 * fraction))
        end_slope = -168.0 * fraction**5 * (1.0 - fraction) ** 2 / core[2]
        value = 0.5 * core[0] / r * screening * end
        energy += value
        climb = 0.5 * core[0] / r * (slope * end + screening * end_slope) - value / r
        geometry[(slot // LANES) * GEOMETRY * LANES + 4 * LANES + slot % LANES] += climb
    return energy


@compiled
def accumulate(layout, pair_kind, begin, end, radial, harmonics, sums):
    """Add up radial function times harmonic over neighbour vectors, eight partial sums each."""
    n_rows = layout.n_rows
    n_harmonics = (layout.largest_l + 1) ** 2
    first_shell, last_shell = layout.shell_first[pair_kind], layout.shell_first[pair_kind + 1]
    offset = layout.shell_start[first_shell]
    for k in range(layout.shell_start[last_shell] - offset):
        store(sums, k * LANES, splat(0.0))
    for vector in range(begin, end):
        for shell in range(first_shell, last_shell):
            harmonic = layout.shell_harmonic[shell]
            y = load(harmonics, (vector * n_harmonics + harmonic) * 4 * LANES)
            row = (vector * 2 * n_rows + layout.shell_row[shell]) * LANES
            begin_at = (layout.shell_start[shell] - offset) * LANES
            for k in range(0, (layout.shell_start[shell + 1] - offset) * LANES - begin_at, LANES):
                store(sums, begin_at + k, fma(y, load(radial, row + k), load(sums, begin_at + k)))


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
