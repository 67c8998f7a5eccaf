"""Linear solvers on the triangular factor of the regression.

With the weighted rows [A | y] = Q [R d; 0 ρ], everything that a least-squares fit asks of the data
is in R (n × n), d (n), ρ² and the number of rows. All solvers work on X = R P⁻¹, where P is the
diagonal of the smoothness prior, and return θ = P⁻¹ c, so one factorisation serves every
regularisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.errors import UserError

if TYPE_CHECKING:
    from distill.config import SolverConfig

_PANEL = 64
_GRID_POINTS = 241
DEFAULT_RTOL = 1e-9
# Looser tolerances (ACEfit has 1e-6) end long before the small singular values are resolved.
LSQR_TOLERANCE = 1e-10
LSQR_ITERATIONS = 20_000


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

    def squared_error(self, coefficients: np.ndarray) -> float:
        """‖A θ − y‖² of coefficients θ, shape (n,)."""
        misfit = self.triangle[:-1, :-1] @ coefficients - self.target
        return float(misfit @ misfit) + self.rest


@dataclass(frozen=True)
class Solution:
    """Coefficients and what the solver learned.

    Attributes
    ----------
    coefficients
        θ, shape (n,).
    report
        Scalars for people: solver, strength or noise, effective number of parameters, …
    covariance_root
        L with L Lᵀ the posterior covariance of θ, shape (n, k), or None where the solver has no
        posterior.
    noise
        Standard deviation of a weighted row about the model, or None.
    """

    coefficients: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)
    covariance_root: np.ndarray | None = None
    noise: float | None = None


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
    triangle, _, _, info = lapack.dtpqrt(
        columns,
        min(_PANEL, columns),
        first.triangle,
        np.array(second.triangle, order="F"),
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
    factor = factors[0] if len(factors) == 1 else merge_all(factors)
    if factor.rows == 0:
        raise UserError("the fit has no rows: no structure carries a label with nonzero weight")
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
    report = {
        "solver": "blr",
        "noise": float(noise),
        "prior_scale": float(noise / np.sqrt(strength)),
        "effective_parameters": float(np.sum(s**2 / shrunk)),
        "log_evidence": _log_evidence(strength, s, z, factor.rest, factor.rows),
        **_condition(s),
    }
    root = vt.T * (noise / np.sqrt(shrunk)) / prior[:, None]
    return Solution(solution, report, root, float(noise))


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
    return _ridge_from_svd(factor, prior, strength, u, s, vt, {"solver": name})


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
    report = {
        "solver": "ridge",
        "folds": len(folds),
        "cross_validation_rms": float(np.sqrt(errors[best] / total.rows)),
    }
    return _ridge_from_svd(total, prior, float(strengths[best]), u, s, vt, report)


def relevance_determination(factor: Factor, prior: np.ndarray) -> Solution:
    """Automatic relevance determination: an evidence-chosen prior scale for each coefficient.

    scikit-learn's `ARDRegression` on the triangular system. Its Gamma hyperprior on the noise
    stands in exactly for the rows that the factorisation folded away: with N − n rows more and
    ρ² more squared error, the update of the noise is that of all N rows. Columns and target are
    scaled by the solution of `bayesian`, so that the starting point is the common prior.

    Source: Tipping, J. Mach. Learn. Res. 1, 211 (2001); MacKay (1994).
    """
    from sklearn.linear_model import ARDRegression

    common = bayesian(factor, prior)
    noise, scale = common.report["noise"], common.report["prior_scale"]
    design = factor.design(prior) * (scale / noise)
    target = factor.target / noise
    n = factor.n_functions
    model = ARDRegression(
        fit_intercept=False,
        alpha_1=max(factor.rows - n, 0) / 2,
        alpha_2=factor.rest / noise**2 / 2,
        max_iter=300,
        tol=1e-3 * np.sqrt(n),
    ).fit(design, target)
    kept = np.flatnonzero(model.coef_)
    row_noise = float(noise / np.sqrt(model.alpha_))
    back = scale / prior
    root = np.zeros((n, len(kept)))
    values, vectors = np.linalg.eigh(model.sigma_)
    root[kept] = vectors * np.sqrt(np.maximum(values, 0.0)) * back[kept, None]
    report = {"solver": "ard", "noise": row_noise, "kept_functions": len(kept)}
    return Solution(model.coef_ * back, report, root, row_noise)


def truncated_svd(factor: Factor, prior: np.ndarray, rtol: float) -> Solution:
    """Least squares within the singular vectors whose singular value exceeds rtol × the largest."""
    u, s, vt = _svd(factor.design(prior))
    kept = s > rtol * s[0]
    c = vt[kept].T @ ((u[:, kept].T @ factor.target) / s[kept])
    report = {"solver": "tsvd", "rtol": rtol, "rank": int(kept.sum()), **_condition(s)}
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
    return Solution(c / prior, {"solver": "rrqr", "rtol": rtol, "rank": rank})


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
    report = {"solver": "lsqr", "damp": damp, "iterations": int(iterations), "stop": int(stop)}
    return Solution(c / prior, report)


def draw_committee(solution: Solution, members: int, rng: np.random.Generator) -> np.ndarray | None:
    """Coefficients drawn from the posterior, shape (members, n), or None without a posterior."""
    if solution.covariance_root is None or members == 0:
        return None
    root = solution.covariance_root
    return solution.coefficients + rng.standard_normal((members, root.shape[1])) @ root.T


def _ridge_from_svd(
    factor: Factor,
    prior: np.ndarray,
    strength: float,
    u: np.ndarray,
    s: np.ndarray,
    vt: np.ndarray,
    report: dict[str, Any],
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
    full = {
        **report,
        "strength": strength,
        "noise": noise,
        "effective_parameters": effective,
        **_condition(s),
    }
    return Solution(solution, full, root, noise)


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


def _condition(s: np.ndarray) -> dict[str, float]:
    smallest = max(float(s[-1]), float(np.finfo(float).tiny))
    return {"condition_number": float(s[0]) / smallest}


def _check_info(routine: str, info: int) -> None:
    if info != 0:
        raise RuntimeError(f"LAPACK {routine} refused argument {-info}")
