"""Two real spherical harmonics coupled to a third."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@cache
def real_coupling(l1: int, l2: int, total: int) -> Array:
    """Coefficients that couple real harmonics of l1 and l2 to one of l = `total`.

    The coupled values turn as the harmonics do under rotations, which is all that fixes them but
    for a sign; where l1 + l2 + total is odd they do not change sign under an inversion as these do.

    Returns
    -------
    Array
        (2 total + 1, 2 l1 + 1, 2 l2 + 1), each m from -l to l.
    """
    complex_one = _clebsch_gordan(l1, l2, total)
    first, second, turned = (_to_real(ell) for ell in (l1, l2, total))
    real = np.einsum("Aa,abc,Bb,Cc->ABC", turned, complex_one, first.conj(), second.conj())
    return np.ascontiguousarray(real.real if (l1 + l2 + total) % 2 == 0 else real.imag)


def _to_real(ell: int) -> Complex:
    """Real harmonics without the Condon-Shortley phase, as combinations of complex ones with it."""
    matrix = np.zeros((2 * ell + 1, 2 * ell + 1), complex)
    matrix[ell, ell] = 1.0
    for m in range(1, ell + 1):
        matrix[ell + m, ell + m] = (-1) ** m / math.sqrt(2)
        matrix[ell + m, ell - m] = 1 / math.sqrt(2)
        matrix[ell - m, ell + m] = -1j * (-1) ** m / math.sqrt(2)
        matrix[ell - m, ell - m] = 1j / math.sqrt(2)
    return matrix


def _clebsch_gordan(l1: int, l2: int, total: int) -> Array:
    """<l1 m1 l2 m2 | total M> by Racah's formula, its sums of integers exact."""
    found = np.zeros((2 * total + 1, 2 * l1 + 1, 2 * l2 + 1))
    f = math.factorial
    triangle = f(l1 + l2 - total) * f(l1 - l2 + total) * f(l2 - l1 + total)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -total - m1), min(l2, total - m1) + 1):
            m = m1 + m2
            low = max(0, l2 - total - m1, l1 - total + m2)
            high = min(l1 + l2 - total, l1 - m1, l2 + m2)
            # Every term is divided by the largest factorials, so that the sum is one of integers.
            scale = f(l1 + l2 - total) * f(l1 - m1) * f(l2 + m2) * f(high)
            scale *= f(total - l2 + m1 + high) * f(total - l1 - m2 + high)
            terms = sum(
                (-1) ** k
                * (
                    scale
                    // (f(k) * f(l1 + l2 - total - k) * f(l1 - m1 - k) * f(l2 + m2 - k))
                    // (f(total - l2 + m1 + k) * f(total - l1 - m2 + k))
                )
                for k in range(low, high + 1)
            )
            squares = (2 * total + 1) * triangle * f(total + m) * f(total - m)
            squares *= f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2)
            value = terms**2 * squares / (f(l1 + l2 + total + 1) * scale**2)
            found[total + m, l1 + m1, l2 + m2] = math.copysign(math.sqrt(value), terms)
    return found
