"""Errors on left-out structures against fits that really leave them out."""

from __future__ import annotations

from dataclasses import replace

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


def _rows_of(design: np.ndarray):
    def rows_of(atoms: Atoms, energy: bool, forces: bool, virial: bool):
        block = design[int(atoms.positions[0, 0])]
        return block[0], block[1:], None

    return rows_of


def _solution_of(design: np.ndarray, target: np.ndarray) -> Solution:
    full = np.column_stack([design.reshape(-1, N), target.ravel()])
    scaled = np.asfortranarray(np.tile(WEIGHTS, len(design))[:, None] * full)
    return ridge(factor_rows(scaled), np.ones(N), STRENGTH)


# Two sources of four structures have more rows than there are parameters.
@pytest.mark.parametrize("sources", [list(range(STRUCTURES)), [0, 0, 0, 0, 1, 1, 1, 1, 2]])
def test_errors_are_those_of_refits_without_the_source(sources: list[int]) -> None:
    design, target, structures, rows = _problem(sources)
    full = _solution_of(design, target)
    rng = np.random.default_rng(0)
    found = left_out_errors(_rows_of(design), structures, rows, full, rng, threads=2)
    assert sorted(left.number for left in found) == list(range(STRUCTURES))
    ratios = []
    for left in found:
        k = left.number
        kept = np.flatnonzero(np.array(sources) != sources[k])
        # The noise stays that of the whole fit; only the source's rows are gone.
        scaled = (WEIGHTS[:, None] * design[kept]).reshape(-1, N)
        covariance = full.noise**2 * np.linalg.inv(scaled.T @ scaled + STRENGTH**2 * np.eye(N))
        error = target[k] - design[k] @ _solution_of(design[kept], target[kept]).coefficients
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


@pytest.mark.parametrize("sources", [list(range(STRUCTURES)), [0] * STRUCTURES])
def test_a_leverage_beyond_one_by_rounding_leaves_numbers(sources: list[int]) -> None:
    design, target, structures, rows = _problem(sources)
    full = _solution_of(design, target)
    weighted = WEIGHTS[:, None] * design
    groups = weighted if len(set(sources)) > 1 else weighted.reshape(1, -1, N)
    largest = max(np.linalg.norm(group @ full.covariance_root / full.noise, 2) for group in groups)
    beyond = replace(full, covariance_root=full.covariance_root / largest * (1 + 1e-6))
    found = left_out_errors(_rows_of(design), structures, rows, beyond, np.random.default_rng(0))
    assert len(found) == STRUCTURES
    for left in found:
        assert np.all(np.isfinite([*left.energy, *left.forces, *left.force_deviation]))


def test_solver_without_posterior_leaves_nothing_out() -> None:
    _, _, structures, rows = _problem(list(range(STRUCTURES)))
    bare = Solution(np.zeros(N), SolverReport(solver="rrqr"))
    found = left_out_errors(lambda *a: None, structures, rows, bare, np.random.default_rng(0))
    assert found == [] and deviation_scale(found) is None
