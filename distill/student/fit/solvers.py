"""Linear solvers on the triangular factor of the regression.

All solvers work on X = R P⁻¹, where R is the triangle of a `factor.Factor` and P the diagonal of
the smoothness prior, and return θ = P⁻¹ c, so one factorisation serves every regularisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.student.fit.evidence import Kinds, most_evident, regularised
from distill.student.fit.triangular_factor import Factor, merge_all
from distill.student.training_record import SolverReport

if TYPE_CHECKING:
    from distill.student.config import SolverConfig

_GRID_POINTS = 241
DEFAULT_RTOL = 1e-9
# Looser tolerances (ACEfit has 1e-6) end long before the small singular values are resolved.
LSQR_TOLERANCE = 1e-10
LSQR_ITERATIONS = 20_000
# Log evidence that a step of its search gains at least; weights of labels need no more digits.
_EVIDENCE_GAIN = 1e-3
_WEIGHTS_GAIN = 0.1
_RELEVANCE_ITERATIONS = 200
# Log evidence that counts as a gain, and iterations without one before the end.
_RELEVANCE_GAIN = 0.1
_RELEVANCE_PATIENCE = 10


@dataclass(frozen=True)
class Solution:
    """Coefficients and what the solver learned.

    Attributes
    ----------
    coefficients
        θ, shape (n,).
    report
        What there is to say of it.
    covariance_root
        L with L Lᵀ the posterior covariance of θ, shape (n, k), or None where the solver has no
        posterior.
    noise
        Standard deviation of a weighted row about the model, or None.
    weights
        Factors on the weights of the sets of rows, where they were chosen, else ().
    """

    coefficients: np.ndarray
    report: SolverReport
    covariance_root: np.ndarray | None = None
    noise: float | None = None
    weights: tuple[float, ...] = ()


def solve(factors: Sequence[Factor], prior: np.ndarray, config: SolverConfig) -> Solution:
    """Solve the regression.

    Parameters
    ----------
    factors
        Factors of disjoint sets of rows; they are the folds of cross-validation where the solver
        needs it, and merged otherwise.
    prior
        Diagonal γ > 0 of the smoothness prior, shape (n,).
    config
        The solver and its options.

    Raises
    ------
    UserError
        If there are fewer rows than the solver needs, or the system is singular for it.
    """
    factor = _merged(factors)
    if config.kind == "blr":
        return bayesian(factor, prior)
    if config.kind == "ridge":
        if config.strength is None:
            return cross_validated_ridge(factors, factor, prior)
        return ridge(factor, prior, config.strength)
    if config.kind == "qr":
        return ridge(factor, prior, config.strength or 0.0, name="qr")
    if config.kind == "ard":
        return relevance_determination(factor, prior)
    if config.kind == "tsvd":
        return truncated_svd(factor, prior, config.rtol or DEFAULT_RTOL)
    if config.kind == "rrqr":
        return rank_revealing_qr(factor, prior, config.rtol or DEFAULT_RTOL)
    return lsqr(factor, prior, config.strength or 0.0)


def bayesian(factor: Factor, prior: np.ndarray) -> Solution:
    """Bayesian linear regression whose noise and prior scale maximise the evidence.

    Prior c ~ N(0, 1/α), rows ~ N(x·c, 1/β). With λ = α/β the best β is known in closed form,
    N / (ρ² + Σ z² λ/(s² + λ)), which leaves a maximum over λ alone; on the singular values s of
    X, with z = Uᵀ d, each step costs O(n).

    Source: MacKay, Neural Computation 4, 415 (1992); Bishop, Pattern Recognition and Machine
    Learning (2006), section 3.5.
    """
    u, s, vt = _svd(factor.design(prior))
    z = u.T @ factor.target
    strength = _most_evident_strength(s, z, factor.rest, factor.rows)
    shrunk = s**2 + strength
    regularised_error = factor.rest + float(np.sum(z**2 * strength / shrunk))
    noise = np.sqrt(regularised_error / factor.rows)
    solution = vt.T @ (s * z / shrunk) / prior
    report = SolverReport(
        solver="blr",
        noise=float(noise),
        prior_scale=float(noise / np.sqrt(strength)),
        effective_parameters=float(np.sum(s**2 / shrunk)),
        log_evidence=_log_evidence(strength, s, z, factor.rest, factor.rows),
        condition_number=_condition(s),
    )
    root = vt.T * (noise / np.sqrt(shrunk)) / prior[:, None]
    return Solution(solution, report, root, float(noise))


def by_evidence(
    factors: Sequence[Factor],
    prior: Callable[[float], np.ndarray],
    *,
    power: float | None = None,
    kinds: bool = False,
) -> Solution:
    """`bayesian` with more that has the greatest evidence: the prior's power, weights of labels.

    See `fit.evidence` for the method.

    Parameters
    ----------
    factors
        Factors of disjoint sets of rows.
    prior
        Diagonal γ > 0 of the smoothness prior, shape (n,), of a power.
    power
        The power; if not given it is chosen, from 0.05 to 6, and in the report.
    kinds
        Each set of rows after the first has a factor on its weights that is chosen, from 1e-4 to
        1e4, and in the solution.

    Raises
    ------
    UserError
        If there are no rows.
    """
    factor = _merged(factors)
    found = most_evident(
        regularised(factor),
        prior,
        factor.rows,
        design=factor.triangle[:-1, :-1],
        power=power,
        kinds=Kinds(factors[0], factors[1:]) if kinds else None,
        gain=_WEIGHTS_GAIN if kinds else _EVIDENCE_GAIN,
    )
    report = SolverReport(
        solver="blr",
        noise=found.noise,
        prior_scale=float(found.noise / np.sqrt(found.strength)),
        effective_parameters=float(factor.n_functions - found.shrinkage.sum()),
        log_evidence=found.log_evidence,
        smoothness=found.power if power is None else None,
    )
    return Solution(
        found.coefficients,
        report,
        found.noise * found.inverse,
        found.noise,
        (1.0, *np.exp(0.5 * found.log_weights).tolist()) if kinds else (),
    )


def ridge(factor: Factor, prior: np.ndarray, strength: float, *, name: str = "ridge") -> Solution:
    """Minimise ‖X c − y‖² + strength² ‖c‖² (ACEfit's `QR(lambda = strength)` with the same prior).

    Raises
    ------
    UserError
        If strength is 0 and the rows do not determine every coefficient.
    """
    u, s, vt = _svd(factor.design(prior))
    if strength == 0 and (factor.rows < len(s) or s[-1] <= s[0] * len(s) * np.finfo(float).eps):
        raise UserError(
            f"student.solver: '{name}' without regularisation needs rows that determine all "
            f"{len(s)} coefficients, found {factor.rows} rows of rank "
            f"{int(np.sum(s > s[0] * len(s) * np.finfo(float).eps))}; set strength (for example "
            "1e-3), choose kind blr or rrqr, add structures, or lower totaldegree"
        )
    return _ridge_from_svd(factor, prior, strength, u, s, vt, SolverReport(solver=name))


def cross_validated_ridge(folds: Sequence[Factor], total: Factor, prior: np.ndarray) -> Solution:
    """Ridge whose strength has the least squared error on left-out structures.

    Parameters
    ----------
    folds
        Factors of disjoint sets of structures, at least two.
    total
        Their merged factor.
    prior
        Diagonal of the smoothness prior, shape (n,).
    """
    if len(folds) < 2:
        raise UserError(
            "student.solver: ridge with a cross-validated strength needs at least 2 structures; "
            "set strength, or choose kind blr"
        )
    u, s, vt = _svd(total.design(prior))
    strengths = np.sqrt(_strength_grid(s))[::4]
    errors = np.zeros(len(strengths))
    for left_out, fold in enumerate(folds):
        rest = merge_all([f for k, f in enumerate(folds) if k != left_out])
        fold_u, fold_s, fold_vt = _svd(rest.design(prior))
        filters = fold_s[:, None] / (fold_s[:, None] ** 2 + strengths**2)
        solutions = fold_vt.T @ (filters * (fold_u.T @ rest.target)[:, None])
        misfit = fold.design(prior) @ solutions - fold.target[:, None]
        errors += np.sum(misfit**2, axis=0) + fold.rest
    best = int(np.argmin(errors))
    report = SolverReport(
        solver="ridge",
        folds=len(folds),
        cross_validation_rms=float(np.sqrt(errors[best] / total.rows)),
    )
    return _ridge_from_svd(total, prior, float(strengths[best]), u, s, vt, report)


def relevance_determination(factor: Factor, prior: np.ndarray) -> Solution:
    """Automatic relevance determination: an evidence-chosen prior scale for each coefficient.

    MacKay's fixed point, from the common scale of `bayesian`: with c_j = σ_j u_j, the posterior of
    u follows from the QR factorisation of [X diag(σ) / noise; 1], which stays exact where the
    normal equations (as in scikit-learn's `ARDRegression`) lose the small singular values. With
    γ_j = 1 − Var(u_j), the updates are σ_j² = c_j² / γ_j and noise² = ‖y − X c‖² / (N − Σ γ). A
    function whose σ_j² falls below 1e-4 of the common one is dropped.

    Source: MacKay (1992); Tipping, J. Mach. Learn. Res. 1, 211 (2001).
    """
    common = bayesian(factor, prior)
    noise, scale = common.report.noise, common.report.prior_scale
    assert noise is not None and scale is not None
    design = factor.design(prior)
    kept = np.arange(factor.n_functions)
    scales = np.full(factor.n_functions, scale)
    best = (-np.inf, kept, scales, noise)
    iteration = stale = 0
    # The fixed point is not monotone: a few worse steps are allowed before it ends.
    while iteration < _RELEVANCE_ITERATIONS and stale < _RELEVANCE_PATIENCE and len(kept):
        iteration += 1
        mean, root, log_determinant = _scaled_posterior(design[:, kept], factor, scales, noise)
        c = scales * mean
        misfit = design[:, kept] @ c - factor.target
        error = float(misfit @ misfit) + factor.rest
        evidence = -0.5 * (
            factor.rows * np.log(2 * np.pi * noise**2)
            + error / noise**2
            + float(mean @ mean)
            + log_determinant
        )
        stale = 0 if evidence > best[0] + _RELEVANCE_GAIN else stale + 1
        if evidence > best[0]:
            best = (float(evidence), kept, scales, noise)
        determined = np.clip(1.0 - np.sum(root**2, axis=1), 1e-12, 1.0)
        noise = float(np.sqrt(error / max(factor.rows - float(determined.sum()), 1.0)))
        scales = np.abs(c) / np.sqrt(determined)
        relevant = scales > 1e-2 * scale
        kept, scales = kept[relevant], scales[relevant]
    evidence, kept, scales, noise = best
    mean, root, _ = _scaled_posterior(design[:, kept], factor, scales, noise)
    back = scales / prior[kept]
    solution = np.zeros(factor.n_functions)
    solution[kept] = back * mean
    covariance_root = np.zeros((factor.n_functions, len(kept)))
    covariance_root[kept] = back[:, None] * root
    report = SolverReport(
        solver="ard",
        noise=noise,
        kept_functions=len(kept),
        log_evidence=evidence,
        iterations=iteration,
    )
    return Solution(solution, report, covariance_root, noise)


def truncated_svd(factor: Factor, prior: np.ndarray, rtol: float) -> Solution:
    """Least squares within the singular vectors whose singular value exceeds rtol × the largest."""
    u, s, vt = _svd(factor.design(prior))
    kept = s > rtol * s[0]
    c = vt[kept].T @ ((u[:, kept].T @ factor.target) / s[kept])
    report = SolverReport(
        solver="tsvd", rtol=rtol, rank=int(kept.sum()), condition_number=_condition(s)
    )
    return Solution(c / prior, report)


def rank_revealing_qr(factor: Factor, prior: np.ndarray, rtol: float) -> Solution:
    """Basic solution of a column-pivoted QR, cut where its diagonal falls below rtol × the first.

    Source: Golub & Van Loan, Matrix Computations, section 5.5.7; LAPACK geqp3.
    """
    from scipy.linalg import qr, solve_triangular

    q, r, order = qr(factor.design(prior), mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(r))
    rank = int(np.sum(diagonal > rtol * diagonal[0]))
    c = np.zeros(factor.n_functions)
    c[order[:rank]] = solve_triangular(r[:rank, :rank], q[:, :rank].T @ factor.target)
    return Solution(c / prior, SolverReport(solver="rrqr", rtol=rtol, rank=rank))


def lsqr(factor: Factor, prior: np.ndarray, damp: float) -> Solution:
    """Iterative least squares, on the triangular system.

    Source: Paige & Saunders, ACM Trans. Math. Softw. 8, 43 (1982); scipy.sparse.linalg.lsqr.
    """
    from scipy.sparse.linalg import lsqr as scipy_lsqr

    c, stop, iterations = scipy_lsqr(
        factor.design(prior),
        factor.target,
        damp=damp,
        atol=LSQR_TOLERANCE,
        btol=LSQR_TOLERANCE,
        conlim=0.0,
        iter_lim=LSQR_ITERATIONS,
    )[:3]
    report = SolverReport(solver="lsqr", strength=damp, iterations=int(iterations), stop=int(stop))
    return Solution(c / prior, report)


def draw_committee(solution: Solution, members: int, rng: np.random.Generator) -> np.ndarray | None:
    """Coefficients drawn from the posterior, shape (members, n), or None without a posterior."""
    if solution.covariance_root is None or members == 0:
        return None
    root = solution.covariance_root
    return solution.coefficients + rng.standard_normal((members, root.shape[1])) @ root.T


def _merged(factors: Sequence[Factor]) -> Factor:
    factor = factors[0] if len(factors) == 1 else merge_all(factors)
    if factor.rows == 0:
        raise UserError("the fit has no rows: no structure carries a label with nonzero weight")
    return factor


def _ridge_from_svd(
    factor: Factor,
    prior: np.ndarray,
    strength: float,
    u: np.ndarray,
    s: np.ndarray,
    vt: np.ndarray,
    report: SolverReport,
) -> Solution:
    """Ridge solution; its posterior takes the noise from the residual (N − effective) degrees."""
    z = u.T @ factor.target
    shrunk = s**2 + strength**2
    solution = vt.T @ (s * z / shrunk) / prior
    effective = float(np.sum(s**2 / shrunk))
    error = factor.rest + float(np.sum((z * strength**2 / shrunk) ** 2))
    freedom = factor.rows - effective
    noise = float(np.sqrt(error / freedom)) if freedom > 0.5 else None
    root = None
    if noise is not None and strength > 0:
        root = vt.T * (noise / np.sqrt(shrunk)) / prior[:, None]
    found = {
        "strength": strength,
        "noise": noise,
        "effective_parameters": effective,
        "condition_number": _condition(s),
    }
    return Solution(solution, report.model_copy(update=found), root, noise)


def _scaled_posterior(
    design: np.ndarray, factor: Factor, scales: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior of u = c / scales: mean, root of the covariance, log determinant of its inverse."""
    from scipy.linalg import qr, solve_triangular

    k = design.shape[1]
    stacked = np.vstack([design * (scales / noise), np.eye(k)])
    q, r = qr(stacked, mode="economic", overwrite_a=True, check_finite=False)
    mean = solve_triangular(r, q[: len(design)].T @ (factor.target / noise))
    root = solve_triangular(r, np.eye(k))
    return mean, root, 2.0 * float(np.sum(np.log(np.abs(np.diag(r)))))


def _svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.linalg import svd

    return svd(matrix, overwrite_a=True, check_finite=False)


def _strength_grid(s: np.ndarray) -> np.ndarray:
    """Candidates for λ (a squared strength), from rounding level to beyond the largest s²."""
    top = max(float(s[0]) ** 2, np.finfo(float).tiny)
    return top * np.logspace(-22, 2, _GRID_POINTS)


def _log_evidence(
    strength: float | np.ndarray, s: np.ndarray, z: np.ndarray, rest: float, rows: int
) -> Any:
    """Log evidence at the best noise for each λ in `strength` (a scalar or shape (k,))."""
    lam = np.atleast_1d(strength)[:, None]
    share = lam / (s**2 + lam)
    error = np.maximum(rest + np.sum(z**2 * share, axis=1), np.finfo(float).tiny)
    value = 0.5 * (np.sum(np.log(share), axis=1) - rows * (np.log(2 * np.pi * error / rows) + 1.0))
    return value if np.ndim(strength) else float(value[0])


def _most_evident_strength(s: np.ndarray, z: np.ndarray, rest: float, rows: int) -> float:
    """λ = α/β of largest evidence: the best of a grid, then Brent's method around it."""
    from scipy.optimize import minimize_scalar

    grid = np.log(_strength_grid(s))
    values = _log_evidence(np.exp(grid), s, z, rest, rows)
    best = int(np.argmax(values))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(
        lambda x: -_log_evidence(float(np.exp(x)), s, z, rest, rows),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def _condition(s: np.ndarray) -> float | None:
    """Condition number, None where it is beyond all numbers."""
    smallest = max(float(s[-1]), float(np.finfo(float).tiny))
    number = float(s[0]) / smallest
    return number if np.isfinite(number) else None
