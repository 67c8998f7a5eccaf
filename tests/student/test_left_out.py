"""Errors on left-out structures against fits that really leave them out."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from distill.student.fit.left_out import deviation_scale, left_out_errors
from distill.student.fit.solvers import Solution, ridge
from distill.student.fit.training_set import Rows
from distill.student.fit.triangular_factor import factor_rows
from distill.student.training_record import SolverReport

N, STRUCTURES, STRENGTH = 6, 9, 0.5
WEIGHTS = np.array([2.0, 0.5, 0.5, 0.5])


def _problem(sources: list[int]) -> tuple[np.ndarray, np.ndarray, list[Atoms], list[Rows]]:
    """Random rows: an energy and three force components for each structure."""
    rng = np.random.default_rng(2)
    design = rng.normal(size=(STRUCTURES, 4, N))
    target = design @ rng.normal(size=N) + 0.3 * rng.normal(size=(STRUCTURES, 4))
    structures = [Atoms("Cu", positions=[[k, 0, 0]]) for k in range(STRUCTURES)]
    for atoms, source in zip(structures, sources, strict=True):
        atoms.info["trajectory"] = f"run {source}"
    rows = [
        Rows(k, float(target[k, 0]), WEIGHTS[0], target[k, 1:], WEIGHTS[1], None, 1.0)
        for k in range(STRUCTURES)
    ]
    return design, target, structures, rows


# Two sources of four structures have more rows than there are parameters.
@pytest.mark.parametrize("sources", [list(range(STRUCTURES)), [0, 0, 0, 0, 1, 1, 1, 1, 2]])
def test_errors_are_those_of_refits_without_the_source(sources: list[int]) -> None:
    design, target, structures, rows = _problem(sources)

    def rows_of(atoms: Atoms, energy: bool, forces: bool, virial: bool):
        block = design[int(atoms.positions[0, 0])]
        return block[0], block[1:], None

    def solution_of(kept: np.ndarray) -> Solution:
        weights = np.tile(WEIGHTS, len(kept))
        full = np.column_stack([design[kept].reshape(-1, N), target[kept].ravel()])
        scaled = np.asfortranarray(weights[:, None] * full)
        return ridge(factor_rows(scaled), np.ones(N), STRENGTH)

    full = solution_of(np.arange(STRUCTURES))
    found = left_out_errors(rows_of, structures, rows, full, np.random.default_rng(0))
    assert sorted(left.number for left in found) == list(range(STRUCTURES))
    ratios = []
    for left in found:
        k = left.number
        kept = np.flatnonzero(np.array(sources) != sources[k])
        # The noise stays that of the whole fit; only the source's rows are gone.
        scaled = (WEIGHTS[:, None] * design[kept]).reshape(-1, N)
        covariance = full.noise**2 * np.linalg.inv(scaled.T @ scaled + STRENGTH**2 * np.eye(N))
        error = target[k] - design[k] @ solution_of(kept).coefficients
        model = np.sqrt(np.einsum("ij,jk,ik->i", design[k], covariance, design[k]))
        label = full.noise / WEIGHTS
        np.testing.assert_allclose(np.append(left.energy, left.forces), error, rtol=1e-6)
        deviations = np.append(left.energy_deviation, left.force_deviation)
        np.testing.assert_allclose(deviations, model, rtol=1e-6)
        np.testing.assert_allclose(np.append(left.energy_noise, left.force_noise), label)
        ratios.append(error / np.hypot(model, label))
    scale = deviation_scale(found)
    assert scale.energy == pytest.approx(np.sqrt(np.mean(np.array(ratios)[:, 0] ** 2)))
    assert scale.forces == pytest.approx(np.sqrt(np.mean(np.array(ratios)[:, 1:] ** 2)))


def test_solver_without_posterior_leaves_nothing_out() -> None:
    _, _, structures, rows = _problem(list(range(STRUCTURES)))
    bare = Solution(np.zeros(N), SolverReport(solver="rrqr"))
    found = left_out_errors(lambda *a: None, structures, rows, bare, np.random.default_rng(0))
    assert found == [] and deviation_scale(found) is None
