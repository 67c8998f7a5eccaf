"""Triangular factors against the normal equations of all rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from distill.student.fit.triangular_factor import factor_rows, merge_all


def _problem(rows: int = 90, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, n)) * np.logspace(0, -3, n), rng.normal(size=rows)


@pytest.mark.parametrize("sizes", [(90,), (5, 85), (30, 30, 30), (3, 4, 5, 78), (0, 90)])
def test_merged_factors_reproduce_the_normal_equations(sizes: tuple[int, ...]) -> None:
    design, target = _problem()
    full = np.column_stack([design, target])
    edges = np.cumsum((0, *sizes))
    parts = [factor_rows(np.array(full[a:b], order="F")) for a, b in itertools.pairwise(edges)]
    total = merge_all(parts)
    assert total.rows == 90
    np.testing.assert_allclose(total.triangle.T @ total.triangle, full.T @ full, atol=1e-12)
    assert np.all(np.tril(total.triangle, -1) == 0)
