"""Compiled pair terms: the envelope, the pair potential and the repulsive core."""

from __future__ import annotations

import numpy as np

from distill.student.engine.kernels.compile import compiled, inlined
from distill.student.engine.kernels.embedding_kernels import (
    GEOMETRY,
    PAIR_SLOPE,
    power,
    spline_weights,
    transform_distance,
)
from distill.student.engine.kernels.kernel_arguments import Array, Layout
from distill.student.engine.kernels.simd import (
    LANES,
    Lanes,
    fma,
    load,
    smaller,
    splat,
    square_root,
    store,
    total,
)
from distill.student.engine.kernels.zbl import SCREENING


@inlined
def pair_distances(slot_vector: Array, vector: int, cutoff: float) -> Lanes:
    """Distances of eight neighbours, no longer than the cutoff."""
    x = load(slot_vector, vector * 3 * LANES)
    y = load(slot_vector, vector * 3 * LANES + LANES)
    z = load(slot_vector, vector * 3 * LANES + 2 * LANES)
    return smaller(square_root(x * x + y * y + z * z), splat(cutoff))


@inlined
def pair_envelope(r: Lanes, parameters: Array) -> tuple[Lanes, Lanes]:
    """Envelope s^-p - sc^-p + p sc^-(p + 1) (s - sc) of the pair functions, and its slope by r.

    s = r / r0 and sc = cutoff / r0; `parameters` are cutoff, r0 and p.
    """
    cutoff, r0, p = parameters[0], parameters[1], int(parameters[2])
    end_value, end_slope = (r0 / cutoff) ** p, p * (r0 / cutoff) ** (p + 1)
    ratio = r0 / r
    decay = power(ratio, p)
    value = decay - end_value + (r * (1.0 / r0) - cutoff / r0) * end_slope
    return value, (end_slope - decay * ratio * p) * (1.0 / r0)


@compiled
def pair_energy(
    layout: Layout,
    table: Array,
    pair_kind: int,
    begin: int,
    end: int,
    slot_vector: Array,
    geometry: Array,
    tile: Array,
    place: int,
) -> float:
    """Sum of a pair potential over neighbour vectors; its slopes go to `geometry`.

    `table` are the potential's B-spline coefficients. The slopes are those of number `place`.
    """
    energy = splat(0.0)
    for vector in range(begin, end):
        r = pair_distances(slot_vector, vector, layout.pair_envelope[pair_kind, 0])
        t, slope = transform_distance(r, layout.pair_transform[pair_kind])
        interval, spline, spline_slope = spline_weights(t, layout.pair_grid)
        store(tile, 0, interval)
        for lane in range(LANES):
            row = int(tile[lane])
            for k in range(4):
                tile[(1 + k) * LANES + lane] = table[row + k]
        value, climb = splat(0.0), splat(0.0)
        for k in range(4):
            coefficient = load(tile, (1 + k) * LANES)
            value = fma(coefficient, spline[k], value)
            climb = fma(coefficient, spline_slope[k], climb)
        envelope, envelope_slope = pair_envelope(r, layout.pair_envelope[pair_kind])
        energy = fma(value, envelope, energy)
        store(
            geometry,
            (vector * GEOMETRY + PAIR_SLOPE + place) * LANES,
            value * envelope_slope + climb * slope * envelope,
        )
    return total(energy)


@compiled
def core_energy(core: Array, begin: int, count: int, slot_vector: Array, geometry: Array) -> float:
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
        geometry[((slot // LANES) * GEOMETRY + PAIR_SLOPE) * LANES + slot % LANES] += climb
    return energy
