"""Activation energy and prefactor of a diffusivity, with their joint distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.core.errors import UserError
from distill.metrics.statistics import percentile_interval
from distill.observables.diffusion.result import ArrheniusDifference, ArrheniusSummary

# Below this probability of a worse fit the scatter about the line is more than the errors allow.
_POOR_FIT = 0.05


@dataclass(frozen=True)
class Arrhenius:
    """D = D0 exp(−Ea / kT) fitted to diffusivities.

    Attributes
    ----------
    activation_energy
        eV.
    prefactor
        Å²/fs.
    activation_energy_interval, prefactor_interval
        Lower and upper ends.
    samples
        Joint samples of Ea (eV) and ln(D0 / Å²/fs), shape (n_samples, 2).
    temperatures
        That the fit rests on, K.
    chi_squared
        Sum of squared deviations over variances; None for two temperatures.
    p_value
        Probability of a worse fit by chance; None for two temperatures.
    scale
        Factor by which the samples were spread because the fit is poor; 1 otherwise.
    confidence
        Of the intervals.
    """

    activation_energy: float
    prefactor: float
    activation_energy_interval: tuple[float, float]
    prefactor_interval: tuple[float, float]
    samples: np.ndarray
    temperatures: tuple[float, ...]
    chi_squared: float | None
    p_value: float | None
    scale: float
    confidence: float

    def diffusivity(self, temperature: float) -> tuple[float, float, float]:
        """D at a temperature (K) with the ends of its interval, Å²/fs."""
        from ase.units import kB

        beta = 1 / (kB * temperature)
        line = np.exp(self.samples[:, 1] - self.samples[:, 0] * beta)
        low, high = percentile_interval(line, self.confidence)
        return float(self.prefactor * np.exp(-self.activation_energy * beta)), low, high

    def summary(self, kept: int = 500) -> ArrheniusSummary:
        """The fit with its first `kept` joint samples."""
        return ArrheniusSummary(
            activation_energy=self.activation_energy,
            activation_energy_interval=self.activation_energy_interval,
            prefactor=self.prefactor,
            prefactor_interval=self.prefactor_interval,
            correlation=float(np.corrcoef(self.samples.T)[0, 1]),
            temperatures=list(self.temperatures),
            chi_squared=self.chi_squared,
            p_value=self.p_value,
            scale=self.scale,
            confidence=self.confidence,
            activation_energy_samples=self.samples[:kept, 0].tolist(),
            log_prefactor_samples=self.samples[:kept, 1].tolist(),
        )


def fit_arrhenius(
    temperatures: Sequence[float],
    values: Sequence[float],
    samples: Sequence[np.ndarray],
    *,
    confidence: float = 0.95,
) -> Arrhenius:
    """Weighted straight line through ln D against 1/kT.

    Weights are the inverse variances of ln D. Every set of samples, one of each temperature, is
    fitted in the same way; under flat priors on Ea and ln D0 and Gaussian errors of ln D these
    fits are draws from the posterior. Where the points scatter about the line by more than
    their errors allow, the samples are spread by the Birge ratio (Birge, Phys. Rev. 40, 207
    (1932)).

    Parameters
    ----------
    temperatures
        K.
    values
        Diffusivities, Å²/fs.
    samples
        Of the bootstrap of each diffusivity, Å²/fs, all of the same length.
    confidence
        Of the intervals.

    Raises
    ------
    UserError
        If there are fewer than two different temperatures or a value is not positive.
    """
    from ase.units import kB
    from scipy.stats import chi2

    if len(set(temperatures)) < 2:
        raise UserError(
            f"an Arrhenius fit needs diffusivities at two temperatures or more, found "
            f"{len(set(temperatures))}; run longer where only an upper bound came out"
        )
    if min(values) <= 0:
        raise UserError(f"an Arrhenius fit needs positive diffusivities, found {min(values):.3g}")
    logs, log_samples = np.log(values), np.log(np.column_stack(samples))
    deviation = np.maximum(log_samples.std(axis=0, ddof=1), 1e-12)
    design = np.column_stack([-1 / (kB * np.asarray(temperatures)), np.ones(len(logs))])
    to_parameters = np.linalg.pinv(design / deviation[:, None]) / deviation
    energy, log_prefactor = to_parameters @ logs
    fits = log_samples @ to_parameters.T
    freedom = len(logs) - 2
    chi_squared = p_value = None
    scale = 1.0
    if freedom > 0:
        left = (logs - design @ (energy, log_prefactor)) / deviation
        chi_squared = float(left @ left)
        p_value = float(chi2.sf(chi_squared, freedom))
        if p_value < _POOR_FIT:
            scale = float(np.sqrt(chi_squared / freedom))
    fits = (energy, log_prefactor) + scale * (fits - (energy, log_prefactor))
    low, high = percentile_interval(fits[:, 1], confidence)
    return Arrhenius(
        activation_energy=float(energy),
        prefactor=float(np.exp(log_prefactor)),
        activation_energy_interval=percentile_interval(fits[:, 0], confidence),
        prefactor_interval=(float(np.exp(low)), float(np.exp(high))),
        samples=fits,
        temperatures=tuple(float(t) for t in temperatures),
        chi_squared=chi_squared,
        p_value=p_value,
        scale=scale,
        confidence=confidence,
    )


def arrhenius_difference(second: Arrhenius, first: Arrhenius) -> ArrheniusDifference:
    """Ea(second) − Ea(first) and ln D0(second) − ln D0(first), eV and 1, with intervals.

    The two fits must rest on independent runs.
    """
    count = min(len(first.samples), len(second.samples))
    # Samples of both are in random order, so pairing them row by row makes independent pairs.
    difference = second.samples[:count] - first.samples[:count]
    return ArrheniusDifference(
        activation_energy=second.activation_energy - first.activation_energy,
        activation_energy_interval=percentile_interval(difference[:, 0], first.confidence),
        log_prefactor=float(np.log(second.prefactor / first.prefactor)),
        log_prefactor_interval=percentile_interval(difference[:, 1], first.confidence),
        confidence=first.confidence,
    )
