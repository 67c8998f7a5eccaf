"""Fit of an error model to the errors of a fit on structures that it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.assembly import site_descriptors
from distill.student.engine.evaluate import species_indices
from distill.student.error_model import (
    COMMON,
    LEAST_DEVIATION,
    ErrorModel,
    features_of,
)
from distill.student.uncertainty.committee import Committee, force_deviations

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.left_out import LeftOut
    from distill.student.parameters import StudentParameters

Array = NDArray[np.float64]

# With 32 members they fill whole vectors of the kernels.
COMPONENTS = 8
# Squared weight of a standardised feature against the mean log likelihood, and for each atom.
_PENALTY, _PENALTY_PER_ATOM = 0.01, 3.0
_MOST_SITES = 4000
# Of a variance over the mean one, while weights are sought.
_MOST_LOG = 50.0
_LEVEL, _HALF_WIDTH = 0.95, 1.959964


class _Sites(NamedTuple):
    """Atoms of one element in left-out structures; `errors` are those of forces, (N, 3)."""

    group: Array
    basis: Array
    deviation: Array
    forces: Array
    errors: Array

    @property
    def squared(self) -> Array:
        """Mean over components, (N,)."""
        return np.asarray(np.mean(np.square(self.errors), axis=1))


def fit_error_model(
    student: StudentParameters,
    structures: Sequence[Atoms],
    errors: Sequence[LeftOut],
    force_members: int,
    rng: np.random.Generator,
) -> ErrorModel | None:
    """The model that makes left-out errors most likely.

    Parameters
    ----------
    student
        Fitted to all structures.
    structures
        That `errors` index.
    errors
        On structures that were left out.
    force_members
        Members of the committee whose forces are evaluated, here and in predictions.
    rng
        Draws atoms where there are more than some thousand of an element.

    Returns
    -------
    ErrorModel or None
        None without a committee, or without left-out forces.
    """
    errors = [e for e in errors if len(e.forces)]
    if student.committee is None or len(student.committee) == 0 or not errors:
        return None
    sites = _collect(student, structures, errors, force_members, rng)
    n_elements, n = len(sites), student.basis.n_functions
    directions, means = np.zeros((COMPONENTS, n)), np.zeros((n_elements, COMPONENTS))
    weights, posterior = np.zeros((n_elements, COMMON + COMPONENTS)), np.zeros(n_elements)
    pooled = float(np.mean(np.concatenate([s.squared for s in sites])))
    scores = []
    for element, known in enumerate(sites):
        forms = _principal_directions(known.basis)
        # Site bases of two elements share no function.
        directions += forms
        if not len(known.group):
            weights[element, 0] = np.log(max(pooled, LEAST_DEVIATION**2))
            continue
        projections = known.basis @ forms.T
        means[element] = projections.mean(axis=0)
        features = features_of(known.deviation, known.forces, projections - means[element])
        weights[element], posterior[element] = _most_likely(features, known)
        scores.append(_unseen_scores(features, known))
    scale = _half_width(np.concatenate(scores)) / _HALF_WIDTH
    model = ErrorModel(directions, means, weights, posterior, np.ones(2), np.array([scale, 1.0]))
    return _with_energies(model, student, structures, errors, force_members)


def _collect(
    student: StudentParameters,
    structures: Sequence[Atoms],
    errors: Sequence[LeftOut],
    force_members: int,
    rng: np.random.Generator,
) -> list[_Sites]:
    committee = Committee(student, force_members)
    quota = max(_MOST_SITES // len(errors), 1)
    n = student.basis.n_functions
    empty = _Sites(np.zeros(0), np.zeros((0, n)), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3)))
    parts: list[list[_Sites]] = [[empty] for _ in student.elements]
    for left in errors:
        atoms = structures[left.number]
        found, basis = committee.evaluate(atoms), site_descriptors(student.basis, atoms)
        species = species_indices(student.elements, atoms)
        of_forces = left.forces.reshape(-1, 3)
        for element in set(species.tolist()):
            chosen = rng.permutation(np.flatnonzero(species == element))[:quota]
            parts[element].append(
                _Sites(
                    np.full(len(chosen), float(left.group)),
                    basis[chosen],
                    force_deviations(found.forces)[chosen],
                    found.mean.forces[chosen],
                    of_forces[chosen],
                )
            )
    return [_Sites(*map(np.concatenate, zip(*part, strict=True))) for part in parts]


def _principal_directions(basis: Array) -> Array:
    """Forms of unit variance along the principal components of standardised site bases."""
    directions = np.zeros((COMPONENTS, basis.shape[1]))
    if len(basis) < 2:
        return directions
    spread = basis.std(axis=0)
    varied = np.flatnonzero(spread > 1e-8 * spread.max())
    centred = (basis[:, varied] - basis[:, varied].mean(axis=0)) / spread[varied]
    values, vectors = np.linalg.eigh(centred.T @ centred / len(basis))
    count = min(COMPONENTS, len(varied), len(basis) - 1)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    count = int(np.sum(values > 1e-6 * values.max(initial=1.0)))
    forms = vectors[:, :count] / np.sqrt(values[:count]) / spread[varied, None]
    directions[:count, varied] = forms.T
    return directions


def _most_likely(features: Array, sites: _Sites) -> tuple[Array, float]:
    """Weights and a of one element: the least mean of log v + e²/v, with a penalty on weights."""
    from scipy.optimize import minimize

    mean = max(float(sites.squared.mean()), LEAST_DEVIATION**2)
    squared = sites.squared / mean
    posterior = np.maximum(sites.deviation, LEAST_DEVIATION) ** 2 / mean
    centre, width = features[:, 1:].mean(axis=0), features[:, 1:].std(axis=0)
    width = np.where(width > 1e-9, width, 1.0)
    standard = np.column_stack([np.ones(len(features)), (features[:, 1:] - centre) / width])
    penalty = np.full(standard.shape[1], _PENALTY + _PENALTY_PER_ATOM / len(squared))
    penalty[0] = 0.0

    def loss(x: Array) -> tuple[float, Array]:
        share = np.exp(x[0]) * posterior
        local = np.exp(np.clip(standard @ x[1:], -_MOST_LOG, _MOST_LOG))
        variance = share + local + 1e-12
        slope = 1.5 * (1 / variance - squared / variance**2) / len(squared)
        value = 1.5 * np.mean(np.log(variance) + squared / variance)
        gradient = np.append(slope @ share, standard.T @ (slope * local) + penalty * x[1:])
        return float(value + 0.5 * penalty @ x[1:] ** 2), gradient

    start = np.zeros(1 + standard.shape[1])
    start[1] = -1.0
    bounds = [(-15.0, 15.0)] * len(start)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = np.append(found[1], found[2:] / width)
    weights[0] += np.log(mean) - weights[1:] @ centre
    return weights, float(np.exp(found[0]))


def _unseen_scores(features: Array, sites: _Sites) -> Array:
    """Errors over deviations by weights that do not know the error's source."""
    groups = np.unique(sites.group, return_inverse=True)[1]
    halves = [groups % 2 == k for k in (0, 1)]
    if min(half.sum() for half in halves) < 2:
        halves = [np.ones(len(groups), bool)] * 2
    scores = []
    for tested, known in (halves, halves[::-1]):
        part = _Sites(*(values[known] for values in sites))
        weights, share = _most_likely(features[known], part)
        variance = share * sites.deviation**2 + np.exp(features @ weights)
        scores.append((np.abs(sites.errors) / np.sqrt(variance)[:, None])[tested].ravel())
    return np.concatenate(scores)


def _half_width(scores: Array) -> float:
    """What 95 % of scores do not exceed, of a further score that is like them."""
    rank = min(np.ceil(_LEVEL * (len(scores) + 1)) / len(scores), 1.0)
    return float(np.quantile(scores, rank, method="higher"))


def _with_energies(
    model: ErrorModel,
    student: StudentParameters,
    structures: Sequence[Atoms],
    errors: Sequence[LeftOut],
    force_members: int,
) -> ErrorModel:
    """With the two numbers and the scale of energies, from left-out energies."""
    committee = Committee(student, force_members, model.directions)
    table = []
    for left in errors:
        if len(left.energy):
            atoms = structures[left.number]
            found = committee.evaluate(atoms)
            species = species_indices(student.elements, atoms)
            spread = force_deviations(found.forces)
            of_forces = model.force_errors(species, spread, found.mean.forces, found.projections)
            deviation = np.sqrt(np.mean(np.square(found.energies.sum(axis=0))))
            table.append(
                (left.energy[0], deviation, np.sqrt(np.sum(of_forces**2)) / model.scales[0])
            )
    if not table:
        return model
    error, deviation, sites = np.array(table).T
    energy = _shares(error**2, np.column_stack([deviation, sites]) ** 2)
    predicted = np.hypot(energy[0] * deviation, energy[1] * sites) + np.finfo(float).tiny
    scale = _half_width(np.abs(error) / predicted) / _HALF_WIDTH
    return replace(model, energy=energy, scales=np.array([model.scales[0], scale]))


def _shares(squared: Array, parts: Array) -> Array:
    """Roots of the shares of variances that make errors most likely, one for each column."""
    from scipy.optimize import minimize

    floor = 1e-9 * np.mean(squared) + np.finfo(float).tiny

    def loss(x: Array) -> float:
        variance = parts @ np.exp(2 * x) + floor
        return float(np.mean(np.log(variance) + squared / variance))

    start = 0.5 * np.log((squared.mean() + floor) / np.maximum(parts.mean(axis=0), floor))
    bounds = [(x - 15.0, x + 5.0) for x in start]
    return np.exp(minimize(loss, start - 0.35, method="L-BFGS-B", bounds=bounds).x)
