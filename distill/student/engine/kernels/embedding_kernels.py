"""Compiled embedding of neighbours: radial functions, harmonics, one-particle sums.

Eight neighbours of an atom are handled at once. All scratch arrays are flat, with the eight lanes
innermost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.kernels.compile import compiled, inlined
from distill.student.engine.kernels.kernel_arguments import Array, Integers, Layout
from distill.student.engine.kernels.simd import (
    LANES,
    Lanes,
    floor,
    fma,
    larger,
    load,
    smaller,
    splat,
    square_root,
    store,
    transpose,
)

# One neighbour vector's geometry: unit vector (3), 1 / r, slopes of up to three pair potentials.
GEOMETRY = 7
PAIR_SLOPE = 4


@inlined
def power(base: Lanes, exponent: int) -> Lanes:
    """Integer power of a lane vector, exponent >= 0."""
    result = splat(1.0)
    for _ in range(exponent):
        result = result * base
    return result


@inlined
def transform_distance(r: Lanes, parameters: Array) -> tuple[Lanes, Lanes]:
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


@inlined
def spline_weights(
    x: Lanes, grid: Array
) -> tuple[Lanes, tuple[Lanes, Lanes, Lanes, Lanes], tuple[Lanes, Lanes, Lanes, Lanes]]:
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


@inlined
def envelope_of_x(x: Lanes, parameters: Array) -> tuple[Lanes, Lanes]:
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
    layout: Layout,
    species: Integers,
    first: Integers,
    neighbours: Integers,
    vectors: Array,
    atoms: Integers,
    slot_atom: NDArray[np.uint64],
    slot_vector: Array,
    segment: Integers,
) -> int:
    """Sort the neighbours within the cutoff of up to eight atoms into lanes.

    Each atom's neighbours of one element fill whole vectors; what is left over of the last one is
    padded with points on the cutoff, where everything vanishes. `segment[atom, element]` holds
    the first vector and the number of neighbours, and `slot_atom` their indices.
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
                    slot_atom[slot] = neighbours[pair]
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


@inlined
def interpolate_rows(splines: Array, start: int, width: int, tile: Array) -> tuple[Any, Any]:
    """Values and slopes by r of eight rows for eight neighbours, each as (row, neighbour)."""
    v0, s0 = _row(splines, start, width, tile, 0)
    v1, s1 = _row(splines, start, width, tile, 1)
    v2, s2 = _row(splines, start, width, tile, 2)
    v3, s3 = _row(splines, start, width, tile, 3)
    v4, s4 = _row(splines, start, width, tile, 4)
    v5, s5 = _row(splines, start, width, tile, 5)
    v6, s6 = _row(splines, start, width, tile, 6)
    v7, s7 = _row(splines, start, width, tile, 7)
    return (
        transpose((v0, v1, v2, v3, v4, v5, v6, v7)),
        transpose((s0, s1, s2, s3, s4, s5, s6, s7)),
    )


@inlined
def _row(splines: Array, start: int, width: int, tile: Array, lane: int) -> tuple[Lanes, Lanes]:
    """Eight rows for the neighbour in one lane: the tile holds weights, slopes and interval."""
    place = start + int(tile[8 * LANES + lane]) * width
    c0, c1 = load(splines, place), load(splines, place + width)
    c2, c3 = load(splines, place + 2 * width), load(splines, place + 3 * width)
    value = fma(splat(tile[LANES + lane]), c1, splat(tile[lane]) * c0)
    value = fma(splat(tile[2 * LANES + lane]), c2, value)
    slope = fma(splat(tile[5 * LANES + lane]), c1, splat(tile[4 * LANES + lane]) * c0)
    slope = fma(splat(tile[6 * LANES + lane]), c2, slope)
    return (
        fma(splat(tile[3 * LANES + lane]), c3, value),
        fma(splat(tile[7 * LANES + lane]), c3, slope),
    )


@inlined
def evaluate_harmonics(
    ux: Lanes,
    uy: Lanes,
    uz: Lanes,
    largest_l: int,
    norms: Array,
    scratch: Array,
    out: Array,
    at: int,
) -> None:
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
    layout: Layout,
    pair_kind: int,
    begin: int,
    end: int,
    slot_vector: Array,
    geometry: Array,
    radial: Array,
    harmonics: Array,
    tile: Array,
    scratch: Array,
) -> None:
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
            values, slopes_by_r = interpolate_rows(layout.splines, start + block, width, tile)
            for k in range(LANES):
                store(radial, to + k * LANES, values[k])
                store(radial, to + (n_rows + k) * LANES, slopes_by_r[k])
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
def accumulate(
    layout: Layout,
    pair_kind: int,
    begin: int,
    end: int,
    radial: Array,
    harmonics: Array,
    sums: Array,
) -> None:
    """Add up radial function times harmonic over neighbour vectors, eight partial sums each.

    Three functions at a time, so that their sums stay in registers and a harmonic is read once.
    """
    step = 2 * layout.n_rows * LANES
    harmonic_step = (layout.largest_l + 1) ** 2 * 4 * LANES
    first_shell, last_shell = layout.shell_first[pair_kind], layout.shell_first[pair_kind + 1]
    offset = layout.shell_start[first_shell]
    for shell in range(first_shell, last_shell):
        start = layout.shell_start[shell] - offset
        count = layout.shell_start[shell + 1] - offset - start
        row = begin * step + layout.shell_row[shell] * LANES
        harmonic = begin * harmonic_step + layout.shell_harmonic[shell] * 4 * LANES
        for k in range(0, count - 2, 3):
            sum0, sum1, sum2 = splat(0.0), splat(0.0), splat(0.0)
            for vector in range(end - begin):
                y = load(harmonics, harmonic + vector * harmonic_step)
                at = row + vector * step + k * LANES
                sum0 = fma(y, load(radial, at), sum0)
                sum1 = fma(y, load(radial, at + LANES), sum1)
                sum2 = fma(y, load(radial, at + 2 * LANES), sum2)
            store(sums, (start + k) * LANES, sum0)
            store(sums, (start + k + 1) * LANES, sum1)
            store(sums, (start + k + 2) * LANES, sum2)
        for k in range(count - count % 3, count):
            sum0 = splat(0.0)
            for vector in range(end - begin):
                y = load(harmonics, harmonic + vector * harmonic_step)
                sum0 = fma(y, load(radial, row + vector * step + k * LANES), sum0)
            store(sums, (start + k) * LANES, sum0)
