"""Which candidates teach a linear student most: greedy D-optimal design on its own label rows.

A structure's energy and forces are rows X of the student's regression. With the posterior
covariance Σ = L Lᵀ and the row noise σ, labelling it shrinks the volume of the posterior by
log det(1 + X Σ Xᵀ / σ²) / 2 nats. The greedy choice of the largest gain, with Σ updated after each,
is within 1 − 1/e of the best set, because the gain is submodular; and for the same reason a gain
computed earlier bounds the present one, so that few are computed again.

Source: Lindley, Ann. Math. Stat. 27, 986 (1956), and MacKay, Neural Computation 4, 590 (1992), for
the gain; Minoux, in Optimization Techniques (1978), for the lazy evaluation; as an active set for
potentials, Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from distill.artifacts import atomic_path
from distill.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from distill.config import StudentConfig
    from distill.student.basis import Basis
    from distill.student.fit import Fit


@dataclass(frozen=True)
class Posterior:
    """What a fit knows of its coefficients.

    Attributes
    ----------
    root
        L with L Lᵀ the posterior covariance, shape (n, k).
    noise
        Standard deviation of a weighted row.
    """

    root: np.ndarray
    noise: float

    @classmethod
    def of(cls, fit: Fit) -> Posterior:
        """The posterior of a fit.

        Raises
        ------
        UserError
            If its solver has none.
        """
        root, noise = fit.solution.covariance_root, fit.solution.noise
        if root is None or not noise:
            raise UserError(
                "driven.student.solver has no posterior, so the student has no uncertainty: "
                "expected blr, ard or ridge"
            )
        return cls(root, noise)

    def save(self, path: Path) -> None:
        """Write the arrays; `load` reads them."""
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, root=self.root, noise=self.noise)

    @classmethod
    def load(cls, path: Path) -> Posterior:
        """The posterior that `save` wrote.

        Raises
        ------
        UserError
            If the file is missing or damaged.
        """
        try:
            with np.load(path) as data:
                return cls(data["root"], float(data["noise"]))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): remove it, then run again") from None


def most_informative(
    candidates: Sequence[Atoms],
    basis: Basis,
    config: StudentConfig,
    posterior: Posterior,
    count: int,
) -> list[int]:
    """Indices of the candidates to label, the one of largest gain first.

    Parameters
    ----------
    candidates
        With any REF_ labels, which say which rows each will have; the values are not used.
    basis
        The student's.
    config
        The student's, for the row weights.
    posterior
        Of the student's fit.
    count
        Structures to choose at most.
    """
    rows = [_scaled_rows(atoms, basis, config, posterior.noise) for atoms in candidates]
    root = posterior.root
    # The smallest entry of a heap comes first; the round a gain was computed in says if it is old.
    heap = [(-_gain(matrix @ root), index, 0) for index, matrix in enumerate(rows)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        gain, index, computed = heapq.heappop(heap)
        if computed < len(chosen):
            gain = -_gain(rows[index] @ root)
            heapq.heappush(heap, (gain, index, len(chosen)))
            continue
        chosen.append(index)
        root = _after(root, rows[index])
    return chosen


def _gain(spread: np.ndarray) -> float:
    """log det(1 + S Sᵀ), S of shape (rows, k)."""
    small = spread @ spread.T
    small[np.diag_indices_from(small)] += 1.0
    return float(np.linalg.slogdet(small)[1])


def _after(root: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The root of the posterior covariance once a structure's rows are known too."""
    spread = matrix @ root
    precision = spread.T @ spread
    precision[np.diag_indices_from(precision)] += 1.0
    lower = np.linalg.cholesky(precision)
    return solve_triangular(lower, root.T, lower=True).T


def _scaled_rows(atoms: Atoms, basis: Basis, config: StudentConfig, noise: float) -> np.ndarray:
    """Weighted rows of a structure over the noise, shape (rows, n)."""
    from distill.student.accumulate import Block, weighted_rows
    from distill.student.fit import design_of
    from distill.student.training_set import rows_of

    nothing = (0.0, np.zeros((len(atoms), 3)), np.zeros(6))
    labels = rows_of(atoms, nothing, config.weights)
    block = Block(0, (0,), labels.count)
    matrix = weighted_rows(design_of(basis), [atoms], [labels], block, basis.n_functions)
    return np.asarray(matrix[:, :-1]) / noise
