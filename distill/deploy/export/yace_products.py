"""The student's invariants as ML-PACE's: products of complex harmonics, species by species.

ML-PACE keeps one density for each species mu, A_{mu n l m} = sum of R_nl Y_lm over its neighbours,
with complex harmonics of the Condon-Shortley phase and Y_00 = 1, and takes the real part of sums of
products (ML-PACE, `ace_evaluator.cpp`). The student has real harmonics, orthonormal and without
that phase, so each of its products becomes up to 2^order complex ones.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.tables import product_coefficients

if TYPE_CHECKING:
    from distill.student.basis.basis import Basis
    from distill.student.student_model import Student

Array = NDArray[np.float64]
# Species, n, l of each factor of a function.
Factors = tuple[tuple[int, int, int], ...]

_NEGLIGIBLE = 1e-14


class Products(NamedTuple):
    """The many-body part of a student in ML-PACE's terms.

    Attributes
    ----------
    columns
        Radial function behind each (species, n, l), n from 1.
    order_one
        Coefficients of the radial functions in the one-neighbour energies, (species, columns), eV.
    functions
        For each centre, its functions: factors, the m of each product, (products, factors), and
        their coefficients, (products,), eV.
    """

    columns: dict[tuple[int, int, int], int]
    order_one: Array
    functions: list[list[tuple[Factors, list[tuple[int, ...]], list[float]]]]

    def columns_of(self, species: int) -> list[int]:
        """Radial functions that neighbours of a species have, in order."""
        return sorted({column for (mu, _, _), column in self.columns.items() if mu == species})


def complex_products(student: Student) -> Products:
    """Expand the student's invariants in ML-PACE's functions; exact.

    Parameters
    ----------
    student
        The model.
    """
    basis = student.basis
    split = basis.n_species * basis.n_many_body
    weights = product_coefficients(basis, student.coefficients[:split])
    columns, options = _factors(basis)
    coupling = basis.coupling
    order_one = np.zeros((basis.n_species, basis.splines.shape[-1]))
    sums: dict[tuple[tuple[int, int, int, int], ...], NDArray[np.complex128]]
    sums = defaultdict(lambda: np.zeros(basis.n_species, complex))
    first = 0
    for block in coupling.products:
        for row, weight in zip(block.tolist(), weights.T[first : first + len(block)], strict=True):
            if not weight.any():
                continue
            if len(row) == 1:
                column = coupling.radial_index[row[0]]
                order_one[:, column] += weight / math.sqrt(4 * math.pi)
                continue
            for choice in itertools.product(*(options[index] for index in row)):
                # Invariants have no part that turns with the axes: other terms cancel.
                if sum(m for (*_, m), _ in choice) == 0:
                    factor = math.prod(value for _, value in choice)
                    sums[tuple(sorted(key for key, _ in choice))] += factor * weight
        first += len(block)
    return Products(columns, order_one, _group(sums, basis.n_species))


def _factors(
    basis: Basis,
) -> tuple[dict[tuple[int, int, int], int], list[list[tuple[tuple[int, int, int, int], complex]]]]:
    """Radial function of each (species, n, l), and each one-particle function in complex ones."""
    coupling = basis.coupling
    numbers: dict[tuple[int, int, int], int] = {}
    counts: dict[tuple[int, int], int] = defaultdict(int)
    live = np.asarray(basis.splines.any(axis=(0, 2)))
    options = []
    for column, harmonic in zip(
        coupling.radial_index.tolist(), coupling.angular_index.tolist(), strict=True
    ):
        ell = math.isqrt(harmonic)
        terms = []
        for species in np.flatnonzero(live[:, column]).tolist():
            if (species, ell, column) not in numbers:
                counts[species, ell] += 1
                numbers[species, ell, column] = counts[species, ell]
            n = numbers[species, ell, column]
            terms += [
                ((species, n, ell, m), value)
                for m, value in _real_harmonic(harmonic - ell * ell - ell)
            ]
        options.append(terms)
    columns = {(mu, n, ell): column for (mu, ell, column), n in numbers.items()}
    return columns, options


def _real_harmonic(m: int) -> list[tuple[int, complex]]:
    """A real harmonic as (m, coefficient) of ML-PACE's complex ones of the same l."""
    if m == 0:
        return [(0, 1 / math.sqrt(4 * math.pi))]
    k = abs(m)
    sign, scale = (-1) ** k, math.sqrt(0.5 / (4 * math.pi))
    if m > 0:
        return [(k, sign * scale), (-k, scale)]
    return [(k, -1j * sign * scale), (-k, 1j * scale)]


def _group(
    sums: dict[tuple[tuple[int, int, int, int], ...], NDArray[np.complex128]], n_species: int
) -> list[list[tuple[Factors, list[tuple[int, ...]], list[float]]]]:
    """Functions of each centre; a product and its conjugate, all m negated, are one term.

    Only the real part of a product counts, and a conjugate product has the same.
    """
    halves: dict[Factors, dict[tuple[int, ...], Array]] = defaultdict(dict)
    for key, value in sums.items():
        negated = tuple(sorted((mu, n, ell, -m) for mu, n, ell, m in key))
        kept = min(key, negated)
        factors = tuple((mu, n, ell) for mu, n, ell, _ in kept)
        terms = halves[factors]
        ms = tuple(m for *_, m in kept)
        terms[ms] = terms.get(ms, 0.0) + value.real
    largest = max((np.abs(c).max() for terms in halves.values() for c in terms.values()), default=0)
    functions = []
    for species in range(n_species):
        mine: list[tuple[Factors, list[tuple[int, ...]], list[float]]] = []
        for factors in sorted(halves, key=lambda key: (len(key), key)):
            kept_terms = sorted(
                (ms, float(c[species]))
                for ms, c in halves[factors].items()
                if abs(c[species]) > _NEGLIGIBLE * largest
            )
            if kept_terms:
                mine.append((factors, [ms for ms, _ in kept_terms], [c for _, c in kept_terms]))
        functions.append(mine)
    return functions
