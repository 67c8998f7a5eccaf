"""Coupled pairs of eight atoms, and the energy as a quadratic form in them; see `PairForm`."""

from __future__ import annotations

from distill.student.engine.kernels.compile import compiled, inlined
from distill.student.engine.kernels.kernel_arguments import Array, PairForm
from distill.student.engine.kernels.simd import LANES, Lanes, fma, load, load_splat, splat, store


@compiled
def couple_pairs(pairs: PairForm, value: Array, products: Array) -> None:
    """Components of all pairs from the one-particle functions; all are in `value`.

    `products` is scratch for those of one block.
    """
    for block in range(len(pairs.block_first)):
        pattern = pairs.block_pattern[block]
        first, second = pairs.block_first[block], pairs.block_second[block]
        start = pairs.pattern_product[pattern]
        for k in range(pairs.pattern_product[pattern + 1] - start):
            a = (first + pairs.product_first[start + k]) * LANES
            b = (second + pairs.product_second[start + k]) * LANES
            store(products, k * LANES, load(value, a) * load(value, b))
        target = pairs.pattern_target[pattern]
        for k in range(pairs.pattern_target[pattern + 1] - target):
            component = splat(0.0)
            for term in range(pairs.target_term[target + k], pairs.target_term[target + k + 1]):
                number = load_splat(pairs.term_number, term)
                component = fma(number, load(products, pairs.term_product[term] * LANES), component)
            store(value, pairs.target_value[pairs.block_target[block] + k] * LANES, component)


@compiled
def pull_back_pairs(pairs: PairForm, value: Array, adjoint: Array) -> None:
    """Add the derivatives by the pairs to those by the one-particle functions."""
    for block in range(len(pairs.block_first)):
        pattern = pairs.block_pattern[block]
        first, second = pairs.block_first[block], pairs.block_second[block]
        target = pairs.block_target[block]
        for k in range(pairs.pattern_product[pattern], pairs.pattern_product[pattern + 1]):
            slope = splat(0.0)
            for term in range(pairs.product_term[k], pairs.product_term[k + 1]):
                at = pairs.target_value[target + pairs.back_target[term]] * LANES
                slope = fma(load_splat(pairs.back_number, term), load(adjoint, at), slope)
            a = (first + pairs.product_first[k]) * LANES
            b = (second + pairs.product_second[k]) * LANES
            store(adjoint, a, fma(slope, load(value, b), load(adjoint, a)))
            store(adjoint, b, fma(slope, load(value, a), load(adjoint, b)))


@inlined
def close_row(value: Array, adjoint: Array, at: int, slope: Lanes, energy: Lanes) -> Lanes:
    """Add a finished component's derivative, and its part of twice the energy."""
    store(adjoint, at, load(adjoint, at) + slope)
    return fma(slope, load(value, at), energy)


@compiled
def pair_products(pairs: PairForm, entry_weight: Array, value: Array, adjoint: Array) -> Lanes:
    """Energies of eight atoms from all products of two values; adds the derivatives by them.

    Rows of one and three components, nearly all, keep their sums in registers.
    """
    energy = splat(0.0)
    for row in range(len(pairs.row_value)):
        size, at = pairs.row_size[row], pairs.row_value[row] * LANES
        begin, end = pairs.row_first[row], pairs.row_first[row + 1]
        if size == 1:
            a, b = splat(0.0), splat(0.0)
            k = begin
            while k + 2 <= end:
                one, two = pairs.entry_value[k] * LANES, pairs.entry_value[k + 1] * LANES
                a = fma(load_splat(entry_weight, k), load(value, one), a)
                b = fma(load_splat(entry_weight, k + 1), load(value, two), b)
                k += 2
            if k < end:
                a = fma(load_splat(entry_weight, k), load(value, pairs.entry_value[k] * LANES), a)
            energy = close_row(value, adjoint, at, a + b, energy)
            continue
        component = 0
        while component + 3 <= size:
            a, b, c = splat(0.0), splat(0.0), splat(0.0)
            for k in range(begin, end):
                weight, other = load_splat(entry_weight, k), pairs.entry_value[k] + component
                a = fma(weight, load(value, other * LANES), a)
                b = fma(weight, load(value, (other + 1) * LANES), b)
                c = fma(weight, load(value, (other + 2) * LANES), c)
            energy = close_row(value, adjoint, at, a, energy)
            energy = close_row(value, adjoint, at + LANES, b, energy)
            energy = close_row(value, adjoint, at + 2 * LANES, c, energy)
            at += 3 * LANES
            component += 3
        while component < size:
            a = splat(0.0)
            for k in range(begin, end):
                other = (pairs.entry_value[k] + component) * LANES
                a = fma(load_splat(entry_weight, k), load(value, other), a)
            energy = close_row(value, adjoint, at, a, energy)
            at += LANES
            component += 1
    return energy * 0.5
