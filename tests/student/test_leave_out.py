"""Leave-one-structure-out errors against fits that really leave the structure out."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from distill.student.fit.leave_out_scale import deviation_scale
from distill.student.fit.solvers import Solution, ridge
from distill.student.fit.training_set import Rows
from distill.student.fit.triangular_factor import factor_rows
from distill.student.training_record import SolverReport

N, STRUCTURES = 6, 9


def _problem(noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, list[Atoms], list[Rows]]:
    """Random rows: an energy and three force components for each structure."""
    rng = np.random.default_rng(2)
    design = rng.normal(size=(STRUCTURES, 4, N))
    target = design @ rng.normal(size=N) + noise * rng.normal(size=(STRUCTURES, 4))
    structures = [Atoms("Cu", positions=[[k, 0, 0]]) for k in range(STRUCTURES)]
    rows = [
        Rows(k, float(target[k, 0]), 1.0, target[k, 1:], 1.0, None, 1.0) for k in range(STRUCTURES)
    ]
    return design, target, structures, rows


def test_ratio_is_that_of_refits_without_the_structure() -> None:
    design, target, structures, rows = _problem()
    prior, strength = np.ones(N), 0.5

    def rows_of(atoms: Atoms, energy: bool, forces: bool, virial: bool):
        block = design[int(atoms.positions[0, 0])]
        return block[0], block[1:], None

    def solution_of(keep: np.ndarray):
        full = np.column_stack([design[keep].reshape(-1, N), target[keep].ravel()])
        return ridge(factor_rows(np.asfortranarray(full)), prior, strength)

    full = solution_of(np.arange(STRUCTURES))
    found = deviation_scale(rows_of, structures, rows, full, np.random.default_rng(0))
    ratios = []
    for k in range(STRUCTURES):
        keep = np.delete(np.arange(STRUCTURES), k)
        # The noise stays that of the whole fit; only the structure's rows are gone.
        kept = design[keep].reshape(-1, N)
        covariance = full.noise**2 * np.linalg.inv(kept.T @ kept + strength**2 * np.eye(N))
        error = target[k] - design[k] @ solution_of(keep).coefficients
        variance = full.noise**2 + np.einsum("ij,jk,ik->i", design[k], covariance, design[k])
        ratios.append(error / np.sqrt(variance))
    ratios = np.array(ratios)
    assert found.energy == pytest.approx(np.sqrt(np.mean(ratios[:, 0] ** 2)), rel=1e-6)
    assert found.forces == pytest.approx(np.sqrt(np.mean(ratios[:, 1:] ** 2)), rel=1e-6)


def test_solver_without_posterior_has_no_factor() -> None:
    _, _, structures, rows = _problem()
    bare = Solution(np.zeros(N), SolverReport(solver="rrqr"))
    assert (
        deviation_scale(lambda *a: None, structures, rows, bare, np.random.default_rng(0)) is None
    )
