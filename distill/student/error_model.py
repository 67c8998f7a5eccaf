"""How large a student's errors are, from site to site: a model of their variance.

The posterior says how well labels determine coefficients. It knows nothing of what a basis of
finite size cannot describe, which is most of the error of a fit to clean labels, and differs from
site to site by more than the posterior does. Both enter the variance of a force component,

    v = a d² + exp(w₀ + w_d log d + w_F log |F| + Σ_k w_k p_k),

with d the committee's deviation of the force on the atom, |F| the predicted force (root mean square
component) and p_k principal components of the atom's site basis, cut off three standard deviations
from their mean. Each element has weights of its own, which make errors most likely on structures
that the fit left out with all else of their source. The energy of a structure errs by a share of
the committee's deviation, and by a length times the root of the sum of its atoms' v. Last, both are
scaled so that 95 % of errors lie within 1.96 deviations on sources that the weights do not know.

Source: Harvey, Econometrica 44, 461 (1976), for variances log-linear in features; Vovk, Ann. Math.
Artif. Intell. 74, 9 (2015), for the scale (cross-conformal prediction). `benchmarks/uncertainty.py`
compares other ways, among them pointwise optimal parameter sets (Swinburne & Perez, 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Weights before those of components.
COMMON = 3
# eV/Å: a committee's deviation that is none, and a force below which it says no more of the error.
LEAST_DEVIATION, _LEAST_FORCE = 1e-7, 0.02
_CUT = 3.0


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Variance of a student's errors.

    Attributes
    ----------
    directions
        Linear forms of an atom's site basis, (components, n_functions).
    means
        Of them over the training sites of each element, (elements, components).
    weights
        w_0, w_d, w_F and w_k of each element, (elements, 3 + components).
    posterior
        a of each element, (elements,).
    energy
        Share of the committee's deviation, and length in Å, (2,).
    scales
        Factors by conformal calibration on deviations of forces and energies, (2,).
    """

    directions: Array
    means: Array
    weights: Array
    posterior: Array
    energy: Array
    scales: Array

    def force_errors(
        self, species: Integers, deviation: Array, forces: Array, projections: Array
    ) -> Array:
        """Standard deviation of the error of a force component on each atom, (N,), eV/Å.

        Parameters
        ----------
        species
            Element of each atom, (N,).
        deviation
            Of the committee, of a force component on each atom, (N,), eV/Å.
        forces
            The student's, (N, 3), eV/Å.
        projections
            `directions` times the site basis of each atom, (N, components).
        """
        features = features_of(deviation, forces, projections - self.means[species])
        local = np.exp(np.einsum("ik,ik->i", features, self.weights[species]))
        variance = self.posterior[species] * deviation**2 + local
        return np.asarray(self.scales[0] * np.sqrt(variance))

    def energy_error(self, deviation: float, force_errors: Array) -> float:
        """Standard deviation of the error of an energy, eV.

        Parameters
        ----------
        deviation
            Of the committee, eV.
        force_errors
            Of its atoms, as `force_errors` gives them.
        """
        share, length = self.energy
        sites = length / self.scales[0] * np.sqrt(np.sum(force_errors**2))
        return float(self.scales[1] * np.hypot(share * deviation, sites))


def features_of(deviation: Array, forces: Array, centred: Array) -> Array:
    """1, log d, log |F| and the cut principal components, (N, 3 + components)."""
    size = np.sqrt(np.mean(np.square(forces), axis=1) + _LEAST_FORCE**2)
    logs = [np.log(np.maximum(deviation, LEAST_DEVIATION)), np.log(size)]
    return np.column_stack([np.ones(len(size)), *logs, np.clip(centred, -_CUT, _CUT)])
