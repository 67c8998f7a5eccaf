"""Errors of a linear fit on structures that it leaves out, without fitting again.

A linear model that is too small for its data errs by more than its posterior says. How much more,
and where, is measured where it is fitted: for the weighted rows X of what is left out, with
residual r and H = X Σ Xᵀ / σ² (Σ the posterior covariance, σ the row noise), the fit without them
has the residual (1 − H)⁻¹ r on them, with predicted covariance σ² (1 − H)⁻¹. Frames of one
trajectory resemble each other, so what is left out is all that is from one source.

Source: Cook & Weisberg, Residuals and Influence in Regression (1982), section 2.2, for a group of
rows; Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), section 7.10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.data.splits import sources_of
from distill.student.fit.accumulate import Block, DesignRows, weighted_rows
from distill.student.training_record import DeviationScale

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.solvers import Solution
    from distill.student.fit.training_set import Rows

MOST_STRUCTURES = 128
# Of one source. A longer one is left out in stretches.
MOST_TOGETHER = 12
# Rows whose leverage is 1 to rounding carry no left-out error.
_LEAST_SLACK = 1e-9

Array = NDArray[np.float64]


class LeftOut(NamedTuple):
    """Errors of a fit on a structure that it left out, and what the fit's posterior says of them.

    Attributes
    ----------
    number
        Of the structure.
    group
        Number of what was left out together.
    energy, energy_deviation, energy_noise
        Label minus model, and the standard deviations of the model by the posterior and of the
        label by the row noise, (0,) or (1,), eV.
    forces, force_deviation, force_noise
        The same of the force components, (0,) or (3 N,), eV/Å.
    """

    number: int
    group: int
    energy: Array
    energy_deviation: Array
    energy_noise: Array
    forces: Array
    force_deviation: Array
    force_noise: Array


def left_out_errors(
    design: DesignRows,
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    solution: Solution,
    rng: np.random.Generator,
    *,
    threads: int = 1,
) -> list[LeftOut]:
    """Errors on structures under fits without them and all else of their source.

    Parameters
    ----------
    design, structures, rows
        As in `accumulate.accumulate`; sources are drawn until 128 structures are.
    solution
        With a posterior; nothing is returned without one.
    rng
        Draws the sources.
    threads
        That take the groups; the result is the same for any number of them.
    """
    if solution.covariance_root is None or not solution.noise:
        return []

    def of_group(group: int, members: tuple[int, ...]) -> list[LeftOut]:
        starts = np.cumsum([0, *(rows[k].count for k in members)])
        block = Block(0, members, int(starts[-1]))
        matrix = weighted_rows(design, structures, rows, block, len(solution.coefficients))
        residual = matrix[:, -1] - matrix[:, :-1] @ solution.coefficients
        spread = matrix[:, :-1] @ root
        error, variance = _without(spread, residual)
        return [
            _left_out(index, group, rows[index], int(start), error, variance, solution)
            for index, start in zip(members, starts, strict=False)
        ]

    root = solution.covariance_root / solution.noise
    groups = list(_groups(structures, rows, rng))
    with ThreadPoolExecutor(threads) as executor:
        return list(chain.from_iterable(executor.map(of_group, range(len(groups)), groups)))


def deviation_scale(errors: Sequence[LeftOut]) -> DeviationScale | None:
    """Root mean square ratio of left-out errors to their predicted deviations, by kind of label.

    The predicted deviations are those of model and label together. 1 where there are no such
    labels, None without any left-out structure.
    """
    if not errors:
        return None
    energy = [e.energy / np.hypot(e.energy_deviation, e.energy_noise) for e in errors]
    forces = [e.forces / np.hypot(e.force_deviation, e.force_noise) for e in errors]
    return DeviationScale(energy=_rms_or_one(energy), forces=_rms_or_one(forces))


def _groups(
    structures: Sequence[Atoms], rows: Sequence[Rows], rng: np.random.Generator
) -> Iterator[tuple[int, ...]]:
    """Structures that are left out together."""
    sources: dict[str, list[int]] = {}
    for index, source in enumerate(sources_of(structures)):
        if rows[index].count:
            sources.setdefault(source, []).append(index)
    stretches = [
        tuple(members[start : start + MOST_TOGETHER])
        for members in sources.values()
        for start in range(0, len(members), MOST_TOGETHER)
    ]
    drawn = 0
    for k in rng.permutation(len(stretches)):
        if drawn >= MOST_STRUCTURES:
            return
        drawn += len(stretches[k])
        yield stretches[k]


def _without(spread: Array, residual: Array) -> tuple[Array, Array]:
    """(1 − U Uᵀ)⁻¹ r, and the diagonal of that inverse, from the smaller of two matrices."""
    rows, parameters = spread.shape
    if rows <= parameters:
        root = _inverse_root(spread)
        return root.T @ (root @ residual), np.sum(root**2, axis=0)
    # (1 − U Uᵀ)⁻¹ = 1 + U (1 − Uᵀ U)⁻¹ Uᵀ (Woodbury).
    turned = _inverse_root(spread.T) @ spread.T
    return residual + turned.T @ (turned @ residual), 1.0 + np.sum(turned**2, axis=0)


def _inverse_root(spread: Array) -> Array:
    """A root R of (1 − U Uᵀ)⁻¹ = Rᵀ R, where U Uᵀ has eigenvalues from 0 to 1."""
    from scipy.linalg.lapack import dtrtri

    rest = (1.0 + _LEAST_SLACK) * np.eye(len(spread)) - spread @ spread.T
    try:
        return np.asarray(dtrtri(np.linalg.cholesky(rest), lower=True)[0])
    except np.linalg.LinAlgError:
        # A posterior that is known to fewer digits gives leverages beyond 1.
        values, vectors = np.linalg.eigh(rest)
        return np.asarray((vectors / np.sqrt(np.maximum(values, _LEAST_SLACK))).T)


def _left_out(
    index: int,
    group: int,
    labels: Rows,
    start: int,
    error: Array,
    variance: Array,
    solution: Solution,
) -> LeftOut:
    """One structure's share of a group, without the weights of its rows."""
    noise = solution.noise
    assert noise is not None

    def part(stop: int, weight: float) -> tuple[Array, Array, Array]:
        rows = slice(start, stop)
        label = np.full(stop - start, noise / weight if stop > start else 0.0)
        model = label * np.sqrt(np.maximum(variance[rows] - 1.0, 0.0))
        return error[rows] / weight if stop > start else np.zeros(0), model, label

    energy = part(start + int(labels.energy is not None), labels.energy_weight)
    start += len(energy[0])
    forces = 0 if labels.forces is None else len(labels.forces)
    return LeftOut(index, group, *energy, *part(start + forces, labels.forces_weight))


def _rms_or_one(parts: Sequence[Array]) -> float:
    values = np.concatenate(parts)
    return float(np.sqrt(np.mean(values**2))) if len(values) else 1.0
