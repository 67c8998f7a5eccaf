"""Each solver on the triangular factor against the textbook solution on the full rows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import GOLDEN_DATA
from scipy.stats import multivariate_normal

from distill.config import SolverConfig
from distill.core.errors import UserError
from distill.student.fit import solvers
from distill.student.fit.triangular_factor import Factor, empty_factor, factor_rows


def _problem(
    rows: int = 90, n: int = 20, seed: int = 0, noise: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Design, target, prior and true coefficients, the latter with the prior's decay."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(rows, n)) * np.logspace(0, -3, n)
    prior = np.linspace(1.0, 30.0, n)
    truth = rng.normal(size=n) / prior
    return design, design @ truth + noise * rng.normal(size=rows), prior, truth


def _factor(design: np.ndarray, target: np.ndarray) -> Factor:
    return factor_rows(np.asfortranarray(np.column_stack([design, target])))


def test_ridge_is_the_augmented_least_squares_solution() -> None:
    design, target, prior, _ = _problem()
    strength = 0.1
    rows = np.vstack([design / prior, strength * np.eye(len(prior))])
    c = np.linalg.lstsq(rows, np.concatenate([target, np.zeros(len(prior))]), rcond=None)[0]
    solution = solvers.ridge(_factor(design, target), prior, strength)
    np.testing.assert_allclose(solution.coefficients, c / prior, rtol=1e-9, atol=1e-12)


def test_bayesian_maximises_the_evidence_of_the_rows() -> None:
    design, target, prior, _ = _problem(rows=40, n=8)
    solution = solvers.bayesian(_factor(design, target), prior)
    noise, scale = solution.report.noise, solution.report.prior_scale
    x = design / prior

    def evidence(noise: float, scale: float) -> float:
        covariance = scale**2 * x @ x.T + noise**2 * np.eye(len(x))
        return float(multivariate_normal(cov=covariance).logpdf(target))

    best = evidence(noise, scale)
    assert solution.report.log_evidence == pytest.approx(best, rel=1e-9)
    for factor in (0.99, 1.01):
        assert evidence(noise * factor, scale) < best
        assert evidence(noise, scale * factor) < best


def test_bayesian_posterior_is_the_textbook_one() -> None:
    design, target, prior, _ = _problem(rows=40, n=8)
    solution = solvers.bayesian(_factor(design, target), prior)
    noise, scale = solution.report.noise, solution.report.prior_scale
    precision = design.T @ design / noise**2 + np.diag(prior**2) / scale**2
    covariance = np.linalg.inv(precision)
    root = solution.covariance_root
    np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-8, atol=1e-14)
    mean = covariance @ design.T @ target / noise**2
    np.testing.assert_allclose(solution.coefficients, mean, rtol=1e-7, atol=1e-12)


def test_the_evidence_finds_the_power_of_the_prior() -> None:
    """Coefficients that fall as level⁻², few rows: the power found is near 2 and the best."""
    rng = np.random.default_rng(3)
    levels = np.repeat(np.arange(1.0, 21.0), 10)
    design = rng.normal(size=(150, len(levels)))
    target = design @ (rng.normal(size=len(levels)) / levels**2) + 0.02 * rng.normal(size=150)
    factor = _factor(design, target)
    found = solvers.by_evidence([factor], lambda power: levels**power)
    assert found.report.smoothness == pytest.approx(2.0, abs=0.5)
    for power in (0.5, 1.0, 3.0, 4.0):
        other = solvers.bayesian(factor, levels**power)
        assert other.report.log_evidence < found.report.log_evidence
    same = solvers.bayesian(factor, levels**found.report.smoothness)
    np.testing.assert_allclose(found.coefficients, same.coefficients, rtol=0.01, atol=1e-3)
    assert same.report.log_evidence == pytest.approx(found.report.log_evidence, abs=0.01)
    assert same.report.effective_parameters == pytest.approx(
        found.report.effective_parameters, rel=1e-2
    )


def test_bayesian_finds_the_noise_of_many_rows() -> None:
    design, target, prior, _ = _problem(rows=4000, noise=0.05)
    assert solvers.bayesian(_factor(design, target), prior).noise == pytest.approx(0.05, rel=0.05)


def test_bayesian_with_fewer_rows_than_functions_is_regular() -> None:
    design, target, prior, _ = _problem(rows=12, n=20)
    solution = solvers.bayesian(_factor(design, target), prior)
    assert np.all(np.isfinite(solution.coefficients))
    assert solution.report.effective_parameters <= 12


def test_committee_has_the_posterior_covariance() -> None:
    design, target, prior, _ = _problem(rows=40, n=5)
    solution = solvers.bayesian(_factor(design, target), prior)
    draws = solvers.draw_committee(solution, 40_000, np.random.default_rng(3))
    expected = solution.covariance_root @ solution.covariance_root.T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((np.cov(draws.T) - expected) / scale).max() < 0.03


def test_cross_validated_ridge_agrees_with_refits_on_the_rows() -> None:
    design, target, prior, _ = _problem(rows=60, noise=0.3)
    fold_of = np.arange(60) % 3
    folds = [_factor(design[fold_of == k], target[fold_of == k]) for k in range(3)]
    solution = solvers.solve(folds, prior, SolverConfig(kind="ridge"))
    strength = solution.report.strength

    def left_out_error(strength: float) -> float:
        total = 0.0
        for k in range(3):
            rest = fold_of != k
            theta = solvers.ridge(_factor(design[rest], target[rest]), prior, strength)
            total += np.sum((design[~rest] @ theta.coefficients - target[~rest]) ** 2)
        return total

    error = left_out_error(strength)
    assert solution.report.cross_validation_rms == pytest.approx(np.sqrt(error / 60), rel=1e-9)
    assert error < min(left_out_error(strength * 3), left_out_error(strength / 3))


def test_relevance_determination_is_that_of_all_rows() -> None:
    """Against scikit-learn on every row, from the same scaled starting point."""
    from sklearn.linear_model import ARDRegression

    rng = np.random.default_rng(5)
    design = rng.normal(size=(200, 10))
    truth = np.array([2.0, -1.0, 0.5, 0, 0, 0, 0, 0, 0, 0])
    target = design @ truth + 0.1 * rng.normal(size=200)
    prior = np.ones(10)
    factor = _factor(design, target)
    common = solvers.bayesian(factor, prior).report
    scale, noise = common.prior_scale, common.noise
    full = ARDRegression(fit_intercept=False, tol=1e-9, alpha_1=0.0, alpha_2=0.0).fit(
        design * scale / noise, target / noise
    )
    solution = solvers.relevance_determination(factor, prior)
    np.testing.assert_allclose(solution.coefficients, full.coef_ * scale, atol=2e-3)
    assert solution.noise == pytest.approx(noise / np.sqrt(full.alpha_), rel=1e-2)
    assert solution.report.kept_functions < 10


@pytest.mark.parametrize("kind", ["tsvd", "rrqr"])
def test_truncating_solvers_drop_dependent_columns(kind: str) -> None:
    design, target, prior, _ = _problem(noise=0.0)
    doubled = np.column_stack([design, design[:, :3]])
    prior = np.concatenate([prior, prior[:3]])
    solution = solvers.solve([_factor(doubled, target)], prior, SolverConfig(kind=kind))
    assert solution.report.rank == design.shape[1]
    np.testing.assert_allclose(doubled @ solution.coefficients, target, atol=1e-8)


def test_lsqr_with_damping_is_ridge() -> None:
    design, target, prior, _ = _problem()
    factor = _factor(design, target)
    solution = solvers.solve([factor], prior, SolverConfig(kind="lsqr", strength=0.5))
    expected = solvers.ridge(factor, prior, 0.5)
    np.testing.assert_allclose(
        design @ solution.coefficients, design @ expected.coefficients, atol=1e-4
    )


@pytest.mark.parametrize("rows", [10, 90])
def test_unregularised_qr_refuses_an_undetermined_system(rows: int) -> None:
    design, target, prior, _ = _problem(rows=rows)
    design[:, 3] = design[:, 4]
    with pytest.raises(UserError, match="determine all 20 coefficients"):
        solvers.solve([_factor(design, target)], prior, SolverConfig(kind="qr"))


def test_no_rows_is_refused() -> None:
    with pytest.raises(UserError, match="no rows"):
        solvers.solve([empty_factor(3)], np.ones(3), SolverConfig())


def test_one_factor_gives_every_solver_on_the_reference_design() -> None:
    """Rows as ACEfit assembles them: every regularisation fits them to about its noise."""
    data = np.load(GOLDEN_DATA / "cuh_order3_design.npz")
    gamma = np.load(GOLDEN_DATA / "cuh_order3.npz")["gamma"]
    design, target = data["A"] * data["W"][:, None], data["Y"] * data["W"]
    factor = _factor(design, target)
    for kind in ("blr", "tsvd", "rrqr"):
        solution = solvers.solve([factor], gamma, SolverConfig(kind=kind))
        rms = np.sqrt(np.mean((design @ solution.coefficients - target) ** 2))
        assert rms < 0.01, kind
