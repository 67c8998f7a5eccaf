"""Leave-one-structure-out errors of a linear fit, without fitting again.

A linear model that is too small for its data errs by more than its posterior says. How much more
is measured where it is fitted: for the weighted rows X of one structure, with residual r and
H = X Σ Xᵀ / σ² (Σ the posterior covariance, σ the row noise), the fit without that structure has
the residual (1 − H)⁻¹ r on it, with predicted covariance σ² (1 − H)⁻¹.

Source: Cook & Weisberg, Residuals and Influence in Regression (1982), section 2.2, for a group of
rows; Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), section 7.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.student.fit.accumulate import Block, DesignRows, weighted_rows
from distill.student.training_record import DeviationScale

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.solvers import Solution
    from distill.student.fit.training_set import Rows

MOST_STRUCTURES = 64
# Rows whose leverage is 1 to rounding carry no left-out error.
_LEAST_SLACK = 1e-9


def deviation_scale(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    solution: Solution,
    rng: np.random.Generator,
) -> DeviationScale | None:
    """Root mean square ratio of left-out errors to their predicted deviations, by kind of label.

    Parameters
    ----------
    design, structures, rows
        As in `accumulate.accumulate`; 64 structures at most are drawn.
    solution
        With a posterior; None is returned without one.
    rng
        Draws the structures.

    Returns
    -------
    DeviationScale or None
        1 where there are no such labels.
    """
    if solution.covariance_root is None or not solution.noise:
        return None
    n = len(solution.coefficients)
    chosen = rng.permutation(len(structures))[:MOST_STRUCTURES]
    ratios: dict[str, list[np.ndarray]] = {"energy": [], "forces": []}
    for index in sorted(int(k) for k in chosen):
        labels = rows[index]
        if labels.count == 0:
            continue
        matrix = weighted_rows(design, structures, rows, Block(0, (index,), labels.count), n)
        residual = matrix[:, -1] - matrix[:, :-1] @ solution.coefficients
        spread = matrix[:, :-1] @ solution.covariance_root / solution.noise
        values, vectors = np.linalg.eigh(np.eye(labels.count) - spread @ spread.T)
        inverse = (vectors / np.maximum(values, _LEAST_SLACK)) @ vectors.T
        ratio = (inverse @ residual) / (solution.noise * np.sqrt(np.diag(inverse)))
        energies = int(labels.energy is not None)
        forces = 0 if labels.forces is None else len(labels.forces)
        ratios["energy"].append(ratio[:energies])
        ratios["forces"].append(ratio[energies : energies + forces])
    return DeviationScale(
        **{name: _rms_or_one(np.concatenate([np.zeros(0), *v])) for name, v in ratios.items()}
    )


def _rms_or_one(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 1.0
