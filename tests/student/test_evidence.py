"""The evidence from triangles against the textbook, and its slopes against differences."""

from __future__ import annotations

import numpy as np
import pytest

from distill.student.fit import solvers
from distill.student.fit.evidence import Kinds, Posterior, most_evident, regularised
from distill.student.fit.triangular_factor import Factor, factor_rows

_LEVELS = np.repeat(np.arange(1.0, 9.0), 3)


def _factor(rows: int = 60, seed: int = 1) -> Factor:
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(rows, len(_LEVELS)))
    target = design @ (rng.normal(size=len(_LEVELS)) / _LEVELS**2) + 0.05 * rng.normal(size=rows)
    return factor_rows(np.asfortranarray(np.column_stack([design, target])))


def _posterior(factor: Factor, log_squares: np.ndarray) -> Posterior:
    diagonal = np.exp(0.5 * log_squares)
    return Posterior(regularised(factor)(diagonal), diagonal, factor.rows, 0.0, 1.0)


def test_the_slopes_are_those_of_the_log_evidence() -> None:
    factor = _factor()
    at = np.linspace(-2.0, 1.0, len(_LEVELS))
    slopes = _posterior(factor, at).slopes()
    for index in (0, 7, 23):
        step = np.zeros(len(at))
        step[index] = 1e-4
        up, down = (_posterior(factor, at + sign * step).log_evidence for sign in (1, -1))
        assert slopes[index] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("rows", [60, 30])
def test_for_a_given_power_it_is_bayesian_regression(rows: int) -> None:
    factor, prior = _factor(rows), _LEVELS**1.5
    known = solvers.bayesian(factor, prior)
    found = most_evident(
        regularised(factor),
        lambda power: _LEVELS**power,
        factor.rows,
        design=factor.triangle[:-1, :-1],
        power=1.5,
    )
    assert found.log_evidence == pytest.approx(known.report.log_evidence, abs=0.01)
    assert found.noise == pytest.approx(known.noise, rel=0.05)
    strength = (known.report.noise / known.report.prior_scale) ** 2
    there = _posterior(factor, np.log(strength * prior**2))
    assert there.log_evidence == pytest.approx(known.report.log_evidence, rel=1e-9)
    np.testing.assert_allclose(there.coefficients, known.coefficients, rtol=1e-6, atol=1e-10)
    root = there.noise * there.inverse
    np.testing.assert_allclose(
        root @ root.T, known.covariance_root @ known.covariance_root.T, rtol=1e-5, atol=1e-10
    )


def test_the_power_found_is_the_best_of_many() -> None:
    factor = _factor(200)

    def best(power: float | None) -> Posterior:
        return most_evident(
            regularised(factor),
            lambda p: _LEVELS**p,
            factor.rows,
            design=factor.triangle[:-1, :-1],
            power=power,
        )

    found = best(None)
    others = [best(float(power)).log_evidence for power in np.linspace(0.5, 5.0, 10)]
    assert found.log_evidence > max(others) - 0.01
    assert found.power == pytest.approx(2.0, abs=0.7)


def _kinds(noises: tuple[float, ...], rows: tuple[int, ...], seed: int = 3) -> Kinds:
    """Rows of one linear model, each kind with noise of its own."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=len(_LEVELS)) / _LEVELS**2
    factors = []
    for noise, count in zip(noises, rows, strict=True):
        design = rng.normal(size=(count, len(_LEVELS)))
        target = design @ coefficients + noise * rng.normal(size=count)
        factors.append(factor_rows(np.asfortranarray(np.column_stack([design, target]))))
    return Kinds(factors[0], factors[1:])


def test_the_slopes_by_weights_are_those_of_the_log_evidence() -> None:
    kinds = _kinds((0.05, 0.5, 0.01), (80, 15, 40))
    at = np.array([0.7, -0.4])

    def posterior(log_weights: np.ndarray) -> Posterior:
        factor = kinds.weighted(log_weights)
        diagonal = 0.3 * _LEVELS**1.5
        scale = 0.5 * float(kinds.counts @ log_weights)
        triangle = regularised(factor)(diagonal)
        return Posterior(triangle, diagonal, factor.rows, 1.5, 0.09, log_weights, scale)

    slopes = kinds.slopes(posterior(at))
    for index in (0, 1):
        step = 1e-4 * np.eye(2)[index]
        up, down = (posterior(at + sign * step).log_evidence for sign in (1, -1))
        assert slopes[index] == pytest.approx((up - down) / 2e-4, rel=1e-5)
    balanced = posterior(at)
    for _ in range(50):
        balanced = posterior(kinds.balanced(balanced))
    np.testing.assert_allclose(kinds.slopes(balanced), 0.0, atol=1e-6)


@pytest.mark.parametrize("power", [None, 1.5])
def test_the_weights_found_are_those_of_the_noise(power: float | None) -> None:
    kinds = _kinds((0.05, 0.5, 0.01), (2000, 800, 600))
    whole = kinds.weighted(np.zeros(2))
    found = most_evident(
        regularised(whole),
        lambda p: _LEVELS**p,
        whole.rows,
        design=whole.triangle[:-1, :-1],
        power=power,
        kinds=kinds,
    )
    np.testing.assert_allclose(np.exp(0.5 * found.log_weights), [0.1, 5.0], rtol=0.08)
    assert found.noise == pytest.approx(0.05, rel=0.05)
