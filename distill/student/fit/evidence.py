"""Evidence over the strength and the power of the smoothness prior, one triangle a step.

With D = √λ γ(p) the diagonal of the prior and [R d; 0 ρ] the factor of the rows, everything is in
the triangle [T t; 0 ε] of the rows [R d; 0 ρ; D 0]: the coefficients T⁻¹ t, their covariance
σ² T⁻¹ T⁻ᵀ, the regularised squared error ε², and with them the log evidence and its slopes by λ and
p. A step takes some n³ operations, where a singular value decomposition takes twenty times as many.

The rows of a kind of labels may have a common factor √ω on their weights that the evidence chooses
too, where kinds have factors R_k of their own: R is the triangle of all √ω_k R_k, and the weighted
labels' evidence becomes that of the labels by N_k/2 ln ω_k, N_k rows being of the kind.

Source: MacKay, Neural Computation 4, 415 (1992), for the evidence and its slopes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distill.student.fit.triangular_factor import Factor, merge

Array = NDArray[np.float64]

# Powers of the smoothness prior among which the evidence chooses.
SMOOTHNESS_RANGE = (0.05, 6.0)
_START_POWER = 2.0
# ln λ, from rounding level of the largest γ-scaled column to beyond it.
_STRENGTHS = np.log(10.0) * np.arange(-18.0, 3.0, 2.0)
_MOST_STEPS = 40
_POWER_STEP = 1e-4
# ln ω: of weights ten thousand times smaller and larger.
_MOST_LOG_WEIGHT = 2.0 * np.log(1e4)

# Diagonal D, (n,) -> triangle [T t; 0 ε], (n + 1, n + 1).
Regularise = Callable[[Array], Array]


@dataclass(frozen=True)
class Posterior:
    """The regularised fit of one prior.

    Attributes
    ----------
    triangle
        [T t; 0 ε], (n + 1, n + 1), upper.
    diagonal
        D, (n,).
    rows
        Number of rows of the regression.
    power, strength
        p and λ, of which D is made.
    log_weights
        ln ω of the kinds of labels whose weights are chosen, (kinds,).
    log_scale
        Σ N_k/2 ln ω_k.
    """

    triangle: Array
    diagonal: Array
    rows: int
    power: float
    strength: float
    log_weights: Array = field(default_factory=lambda: np.zeros(0))
    log_scale: float = 0.0

    @cached_property
    def coefficients(self) -> Array:
        """θ = T⁻¹ t, (n,)."""
        from scipy.linalg import solve_triangular

        triangle, target = self.triangle[:-1, :-1], self.triangle[:-1, -1]
        return np.asarray(solve_triangular(triangle, target, check_finite=False))

    @cached_property
    def inverse(self) -> Array:
        """T⁻¹, (n, n), upper; times the noise it is a root of the coefficients' covariance."""
        from scipy.linalg import lapack

        inverse, info = lapack.dtrtri(self.triangle[:-1, :-1])
        if info != 0:
            raise np.linalg.LinAlgError(f"the regularised triangle is singular in column {info}")
        return np.triu(inverse)

    @property
    def noise(self) -> float:
        """Standard deviation σ of a weighted row that the evidence is largest at."""
        return float(abs(self.triangle[-1, -1]) / np.sqrt(self.rows))

    @cached_property
    def log_evidence(self) -> float:
        """Log marginal likelihood of the rows at the best noise."""
        pivots = np.abs(np.diag(self.triangle)[:-1])
        return float(
            np.sum(np.log(self.diagonal / pivots))
            - 0.5 * self.rows * (np.log(2 * np.pi * self.error / self.rows) + 1.0)
            + self.log_scale
        )

    @property
    def error(self) -> float:
        """Regularised squared error ε²."""
        return max(float(self.triangle[-1, -1] ** 2), float(np.finfo(float).tiny))

    @cached_property
    def shrinkage(self) -> Array:
        """Share of each coefficient that the prior, and not the rows, determines, (n,)."""
        return np.asarray(self.diagonal**2 * np.sum(self.inverse**2, axis=1))

    def slopes(self) -> Array:
        """Derivatives of the log evidence by ln D², (n,)."""
        pull = self.rows * (self.diagonal * self.coefficients) ** 2 / self.error
        return np.asarray(0.5 * (1.0 - self.shrinkage - pull))


@dataclass(frozen=True)
class Kinds:
    """Rows by kind of label: those whose weights stay, and kinds whose weights are chosen.

    Attributes
    ----------
    fixed
        Factor of the rows whose weights stay.
    free
        Factor of each other kind.
    """

    fixed: Factor
    free: Sequence[Factor]

    def weighted(self, log_weights: Array) -> Factor:
        """Factor of all rows, those of the free kinds times √ω."""
        total = Factor(np.array(self.fixed.triangle, order="F"), self.fixed.rows)
        for factor, root in zip(self.free, np.exp(0.5 * log_weights), strict=True):
            total = merge(total, Factor(root * factor.triangle, factor.rows))
        return total

    @property
    def counts(self) -> Array:
        """Number of rows of each free kind, (kinds,)."""
        return np.array([float(factor.rows) for factor in self.free])

    def slopes(self, found: Posterior) -> Array:
        """Derivatives of the log evidence by ln ω, (kinds,)."""
        determined, errors = self._shares(found)
        weights = np.exp(found.log_weights)
        return np.asarray(
            0.5 * (self.counts - weights * determined - found.rows * weights * errors / found.error)
        )

    def balanced(self, found: Posterior) -> Array:
        """ln ω for which the slopes are zero at the same coefficients, (kinds,)."""
        determined, errors = self._shares(found)
        per_row = determined + found.rows * errors / found.error + np.finfo(float).tiny
        return np.clip(np.log(self.counts / per_row), -_MOST_LOG_WEIGHT, _MOST_LOG_WEIGHT)

    def _shares(self, found: Posterior) -> tuple[Array, Array]:
        """Of each free kind at ω = 1: trace of its part of the hat matrix, squared error."""
        determined, errors = [], []
        for factor in self.free:
            height = min(factor.rows, factor.n_functions)
            design = factor.triangle[:height, :-1]
            determined.append(float(np.sum((design @ found.inverse) ** 2)))
            misfit = design @ found.coefficients - factor.target[:height]
            errors.append(float(misfit @ misfit) + factor.rest)
        return np.array(determined), np.array(errors)


def most_evident(
    regularise: Regularise,
    prior: Callable[[float], Array],
    rows: int,
    *,
    design: Array,
    power: float | None = None,
    gain: float = 1e-3,
    kinds: Kinds | None = None,
) -> Posterior:
    """The posterior of the prior that has the greatest evidence, over λ and, unless given, p.

    With kinds also over the weights of their labels; `regularise` is then of ω = 1.

    Parameters
    ----------
    regularise
        Gives the triangle of a diagonal D: see `regularised`, for a factor.
    prior
        γ of a power, (n,).
    rows
        Number of rows of the regression.
    design
        What has the column norms of the rows, (any, n); they set the strengths to start from.
    power
        The power, where it is not to be chosen.
    gain
        The search ends where a step gains less than this in log evidence.
    kinds
        Rows by kind of label.
    """
    from scipy.optimize import minimize

    first = _START_POWER if power is None else power
    norms = np.einsum("ij,ij->j", design, design) / prior(first) ** 2
    strengths = _STRENGTHS + np.log(max(float(norms.max(initial=0.0)), np.finfo(float).tiny))
    best: Posterior | None = None

    def posterior(log_strength: float, p: float, log_weights: Array) -> Posterior:
        nonlocal best
        diagonal = np.exp(0.5 * log_strength) * prior(p)
        triangle, log_scale = regularise, 0.0
        if kinds is not None and np.any(log_weights):
            triangle = regularised(kinds.weighted(log_weights))
            log_scale = 0.5 * float(kinds.counts @ log_weights)
        found = Posterior(
            triangle(diagonal),
            diagonal,
            rows,
            float(p),
            float(np.exp(log_strength)),
            log_weights.copy(),
            log_scale,
        )
        if best is None or found.log_evidence > best.log_evidence:
            best = found
        return found

    def loss(x: Array) -> tuple[float, Array]:
        p = float(x[1]) if power is None else power
        found = posterior(float(x[0]), p, x[len(x) - free :])
        slopes = found.slopes()
        gradient = [slopes.sum()]
        if power is None:
            climb = (np.log(prior(p + _POWER_STEP)) - np.log(prior(p - _POWER_STEP))) / _POWER_STEP
            gradient.append(slopes @ climb)
        if kinds is not None:
            gradient.extend(kinds.slopes(found))
        return -found.log_evidence, -np.array(gradient)

    free = 0 if kinds is None else len(kinds.free)
    values = [posterior(float(s), first, np.zeros(free)).log_evidence for s in strengths]
    assert best is not None
    x = [float(np.log(best.strength))] if power is not None else [np.log(best.strength), first]
    bounds = [(strengths[0], strengths[-1]), SMOOTHNESS_RANGE][: len(x)]
    if kinds is not None:
        x.extend(kinds.balanced(best))
        bounds.extend([(-_MOST_LOG_WEIGHT, _MOST_LOG_WEIGHT)] * free)
    minimize(
        loss,
        x,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": gain / max(abs(max(values)), 1.0), "maxfun": _MOST_STEPS},
    )
    return best


def regularised(factor: Factor) -> Regularise:
    """Triangles of a factor with a diagonal below it, by the triangle-on-triangle QR."""

    def triangle(diagonal: Array) -> Array:
        below = Factor(np.diag(np.append(diagonal, 0.0)), len(diagonal))
        return merge(Factor(np.array(factor.triangle, order="F"), factor.rows), below).triangle

    return triangle
