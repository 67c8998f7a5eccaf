"""Arrhenius fits of synthetic Brownian motion whose activation energy is known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import kB

from distill.core.errors import UserError
from distill.observables.diffusion.arrhenius import arrhenius_difference, fit_arrhenius
from distill.observables.diffusion.diffusivity import diffusivity

ENERGY, PREFACTOR = 0.25, 0.2
TEMPERATURES = (400.0, 500.0, 650.0, 900.0)


def true_diffusivity(temperature: float) -> float:
    return PREFACTOR * np.exp(-ENERGY / (kB * temperature))


def noisy(seed: int, error: float = 0.1, energy: float = ENERGY) -> tuple[list, list]:
    """Values and samples of ln D with Gaussian errors."""
    generator = np.random.default_rng(seed)
    exact = [PREFACTOR * np.exp(-energy / (kB * t)) for t in TEMPERATURES]
    values = [d * np.exp(generator.normal(scale=error)) for d in exact]
    samples = [d * np.exp(generator.normal(scale=error, size=2000)) for d in values]
    return values, samples


def brownian_fit(seed: int) -> object:
    """Diffusivities of short Brownian trajectories at each temperature, then the fit."""
    generator = np.random.default_rng(seed)
    values, samples = [], []
    for temperature in TEMPERATURES:
        scale = np.sqrt(2 * true_diffusivity(temperature) * 10.0)
        runs = []
        for _ in range(4):
            track = np.cumsum(generator.normal(scale=scale, size=(400, 1, 3)), axis=0)
            runs.append(track + generator.normal(scale=0.05, size=track.shape))
        found = diffusivity(
            runs,
            10.0,
            defects=1,
            jump_length=0.5,
            fit_start=30.0,
            fit_end=300.0,
            generator=generator,
        )
        assert found.value is not None
        values.append(found.value)
        samples.append(found.samples)
    return fit_arrhenius(TEMPERATURES, values, samples)


def test_exact_diffusivities_give_back_energy_and_prefactor() -> None:
    values = [true_diffusivity(t) for t in TEMPERATURES]
    fit = fit_arrhenius(TEMPERATURES, values, [np.full(10, v) for v in values])
    assert fit.activation_energy == pytest.approx(ENERGY, abs=1e-9)
    assert fit.prefactor == pytest.approx(PREFACTOR, rel=1e-9)


def test_intervals_cover_the_truth_from_trajectories() -> None:
    trials = 60
    energy_hits = prefactor_hits = 0
    for trial in range(trials):
        fit = brownian_fit(trial)
        low, high = fit.activation_energy_interval
        energy_hits += low <= ENERGY <= high
        low, high = fit.prefactor_interval
        prefactor_hits += low <= PREFACTOR <= high
    # Below 51 of 60 would come less than once in a thousand times at 95 %.
    assert energy_hits >= 51
    assert prefactor_hits >= 51


def test_covariance_is_that_of_weighted_least_squares() -> None:
    values, samples = noisy(1)
    fit = fit_arrhenius(TEMPERATURES, values, samples)
    design = np.column_stack([-1 / (kB * np.array(TEMPERATURES)), np.ones(4)])
    expected = np.linalg.inv(design.T @ design / 0.1**2)
    assert np.cov(fit.samples.T) / fit.scale**2 == pytest.approx(expected, rel=0.15)
    assert fit.summary().correlation > 0.9


def test_scatter_beyond_the_errors_widens_the_interval() -> None:
    values, samples = noisy(2, error=0.02)
    values[1] *= 1.5
    fit = fit_arrhenius(TEMPERATURES, values, samples)
    assert fit.p_value < 0.01
    assert fit.scale > 2
    good = fit_arrhenius(TEMPERATURES, *noisy(2, error=0.02))
    width = np.ptp(fit.activation_energy_interval) / np.ptp(good.activation_energy_interval)
    assert width == pytest.approx(fit.scale / good.scale, rel=0.3)


def test_prediction_at_a_measured_temperature() -> None:
    fit = fit_arrhenius(TEMPERATURES, *noisy(3, error=0.01))
    value, low, high = fit.diffusivity(500.0)
    assert low < value < high
    assert value == pytest.approx(true_diffusivity(500.0), rel=0.05)


def test_difference_of_two_models_has_an_interval_that_covers() -> None:
    hits, trials = 0, 100
    for trial in range(trials):
        first = fit_arrhenius(TEMPERATURES, *noisy(2 * trial))
        second = fit_arrhenius(TEMPERATURES, *noisy(2 * trial + 1, energy=ENERGY + 0.02))
        low, high = arrhenius_difference(second, first).activation_energy_interval
        hits += low <= 0.02 <= high
    assert hits >= 88


def test_one_temperature_is_refused() -> None:
    with pytest.raises(UserError, match="two temperatures or more"):
        fit_arrhenius([500.0], [1e-4], [np.full(10, 1e-4)])
