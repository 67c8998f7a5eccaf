"""Triangular factor of weighted rows, and how factors are made and merged.

With the weighted rows [A | y] = Q [R d; 0 ρ], everything that a least-squares fit asks of the data
is in R (n × n), d (n), ρ² and the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PANEL = 64


@dataclass(frozen=True)
class Factor:
    """Triangular factor of weighted rows.

    Attributes
    ----------
    triangle
        Upper triangle of the QR factorisation of [A | y], shape (n + 1, n + 1), Fortran order.
    rows
        Number of rows that went in.
    """

    triangle: np.ndarray
    rows: int

    @property
    def n_functions(self) -> int:
        """Number of columns of A."""
        return self.triangle.shape[0] - 1

    def design(self, prior: np.ndarray) -> np.ndarray:
        """R P⁻¹, shape (n, n)."""
        return self.triangle[:-1, :-1] / prior

    @property
    def target(self) -> np.ndarray:
        """Qᵀ y within the column space, shape (n,)."""
        return self.triangle[:-1, -1]

    @property
    def rest(self) -> float:
        """Squared norm ρ² of the part of y that no coefficients reach."""
        return float(self.triangle[-1, -1] ** 2)


def empty_factor(n_functions: int) -> Factor:
    """The factor of no rows at all."""
    return Factor(np.zeros((n_functions + 1, n_functions + 1), order="F"), 0)


def factor_rows(rows: np.ndarray) -> Factor:
    """Factor a block of weighted rows [A | y] by Householder QR (LAPACK geqrf).

    Parameters
    ----------
    rows
        Shape (m, n + 1), Fortran order; overwritten.
    """
    from scipy.linalg import lapack

    m, columns = rows.shape
    triangle = np.zeros((columns, columns), order="F")
    if m:
        # geqrf releases the interpreter lock, so blocks are factored in parallel threads.
        packed, _, _, info = lapack.dgeqrf(rows, lwork=_PANEL * columns, overwrite_a=1)
        _check_info("geqrf", info)
        height = min(m, columns)
        triangle[:height] = np.triu(packed[:height])
    return Factor(triangle, m)


def merge(first: Factor, second: Factor) -> Factor:
    """Factor of the rows of both, by the triangle-on-triangle QR (LAPACK tpqrt).

    `first.triangle` is overwritten. Demmel, Grigori, Hoemmen & Langou, SIAM J. Sci. Comput. 34,
    A206 (2012): the tall-skinny QR is as stable as Householder QR of all rows at once.
    """
    from scipy.linalg import lapack

    if second.rows == 0:
        return first
    columns = first.triangle.shape[0]
    height = min(second.rows, columns)
    triangle, _, _, info = lapack.dtpqrt(
        height,
        min(_PANEL, columns),
        first.triangle,
        np.array(second.triangle[:height], order="F"),
        overwrite_a=1,
        overwrite_b=1,
    )
    _check_info("tpqrt", info)
    return Factor(triangle, first.rows + second.rows)


def merge_all(factors: Sequence[Factor]) -> Factor:
    """Factor of the rows of all `factors`, which stay as they are."""
    total = empty_factor(factors[0].n_functions)
    for factor in factors:
        total = merge(total, factor)
    return total


def _check_info(routine: str, info: int) -> None:
    if info != 0:
        raise RuntimeError(f"LAPACK {routine} refused argument {-info}")
