"""Evidence over the strength and the power of the smoothness prior, one triangle a step.

With D = √λ γ(p) the diagonal of the prior and [R d; 0 ρ] the factor of the rows, everything is in
the triangle [T t; 0 ε] of the rows [R d; 0 ρ; D 0]: the coefficients T⁻¹ t, their covariance
σ² T⁻¹ T⁻ᵀ, the regularised squared error ε², and with them the log evidence and its slopes by λ and
p. A step takes some n³ operations, where a singular value decomposition takes twenty times as many.

Source: MacKay, Neural Computation 4, 415 (1992), for the evidence and its slopes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """

    triangle: Array
    diagonal: Array
    rows: int
    power: float
    strength: float

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
        error = max(float(self.triangle[-1, -1] ** 2), np.finfo(float).tiny)
        pivots = np.abs(np.diag(self.triangle)[:-1])
        return float(
            np.sum(np.log(self.diagonal / pivots))
            - 0.5 * self.rows * (np.log(2 * np.pi * error / self.rows) + 1.0)
        )

    @cached_property
    def shrinkage(self) -> Array:
        """Share of each coefficient that the prior, and not the rows, determines, (n,)."""
        return np.asarray(self.diagonal**2 * np.sum(self.inverse**2, axis=1))

    def slopes(self) -> Array:
        """Derivatives of the log evidence by ln D², (n,)."""
        error = max(float(self.triangle[-1, -1] ** 2), np.finfo(float).tiny)
        pull = self.rows * (self.diagonal * self.coefficients) ** 2 / error
        return np.asarray(0.5 * (1.0 - self.shrinkage - pull))


def most_evident(
    regularise: Regularise,
    prior: Callable[[float], Array],
    rows: int,
    *,
    design: Array,
    power: float | None = None,
    gain: float = 1e-3,
) -> Posterior:
    """The posterior of the prior that has the greatest evidence, over λ and, unless given, p.

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
    """
    from scipy.optimize import minimize

    first = _START_POWER if power is None else power
    norms = np.einsum("ij,ij->j", design, design) / prior(first) ** 2
    strengths = _STRENGTHS + np.log(max(float(norms.max(initial=0.0)), np.finfo(float).tiny))
    best: Posterior | None = None

    def posterior(log_strength: float, p: float) -> Posterior:
        nonlocal best
        diagonal = np.exp(0.5 * log_strength) * prior(p)
        found = Posterior(
            regularise(diagonal), diagonal, rows, float(p), float(np.exp(log_strength))
        )
        if best is None or found.log_evidence > best.log_evidence:
            best = found
        return found

    def loss(x: Array) -> tuple[float, Array]:
        p = float(x[1]) if power is None else power
        found = posterior(float(x[0]), p)
        slopes = found.slopes()
        climb = (np.log(prior(p + _POWER_STEP)) - np.log(prior(p - _POWER_STEP))) / _POWER_STEP
        gradient = [slopes.sum()] if power is not None else [slopes.sum(), slopes @ climb]
        return -found.log_evidence, -np.array(gradient)

    values = [posterior(float(value), first).log_evidence for value in strengths]
    top = int(np.argmax(values))
    x = [float(strengths[top])] if power is not None else [float(strengths[top]), first]
    bounds = [(strengths[0], strengths[-1]), SMOOTHNESS_RANGE][: len(x)]
    minimize(
        loss,
        x,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": gain / max(abs(values[top]), 1.0), "maxfun": _MOST_STEPS},
    )
    assert best is not None
    return best


def regularised(factor: Factor) -> Regularise:
    """Triangles of a factor with a diagonal below it, by the triangle-on-triangle QR."""

    def triangle(diagonal: Array) -> Array:
        below = Factor(np.diag(np.append(diagonal, 0.0)), len(diagonal))
        return merge(Factor(np.array(factor.triangle, order="F"), factor.rows), below).triangle

    return triangle
