"""Plausible made-up results of the observables of crystals: diffusion and bulk properties."""

from __future__ import annotations

import numpy as np
from ase.units import kB

from distill.observables.bulk.result import (
    BulkDifference,
    BulkProperties,
    BulkResult,
    DensityOfStates,
    Dispersion,
    EquationOfState,
    FiguresOfMerit,
    Phonons,
    PropertyDifference,
)
from distill.observables.diffusion.result import (
    ArrheniusDifference,
    ArrheniusSummary,
    DiffusionAt,
    DiffusionDifference,
    DiffusionResult,
    DiffusionSettings,
    DiffusivitySummary,
    ModelDiffusion,
)

TEMPERATURES = (400.0, 500.0, 700.0)


def diffusion_result() -> DiffusionResult:
    """A teacher with one upper bound, at the lowest temperature, and a student."""
    rng = np.random.default_rng(0)
    difference = ArrheniusDifference(
        activation_energy=0.01,
        activation_energy_interval=(-0.03, 0.05),
        log_prefactor=0.1,
        log_prefactor_interval=(-0.9, 1.1),
        confidence=0.95,
    )
    return DiffusionResult(
        settings=DiffusionSettings(
            defect="interstitial",
            element="Li",
            defects=1,
            atoms=65,
            formula="Li33F32",
            jump_length=2.0,
            ensemble="nvt",
            counting="tracer",
            confidence=0.95,
            published=(0.27, (0.25, 0.3)),
        ),
        models={
            "teacher": _diffusion(0.24, 0.02, TEMPERATURES[0], rng),
            "student": _diffusion(0.25, 0.02, None, rng),
        },
        differences={
            "student": DiffusionDifference(to="teacher", arrhenius=difference, log_diffusivity=[])
        },
    )


def _diffusion(energy, prefactor, bounded, rng) -> ModelDiffusion:
    points = []
    for temperature in TEMPERATURES:
        value = prefactor * np.exp(-energy / (kB * temperature))
        is_bound = temperature == bounded
        number = DiffusivitySummary(
            value=None if is_bound else value,
            interval=None if is_bound else (0.8 * value, 1.3 * value),
            upper_bound=3 * value if is_bound else None,
            reason="no jump was seen" if is_bound else "",
            late_window=value,
            jumps=0.0 if is_bound else 40.0,
            time=2e5,
            blocks=8,
            intercept=0.1,
            lags=[100.0, 200.0],
            msd=[0.2, 0.4],
            msd_interval=([0.1, 0.3], [0.3, 0.5]),
        )
        points.append(
            DiffusionAt(
                temperature=temperature, diffusivity=number, collective=None, kinisi=None, runs=[]
            )
        )
    energies = energy + 0.02 * rng.standard_normal(200)
    return ModelDiffusion(
        lattice_scale=1.0,
        temperatures=points,
        arrhenius=ArrheniusSummary(
            activation_energy=energy,
            activation_energy_interval=(energy - 0.04, energy + 0.04),
            prefactor=prefactor,
            prefactor_interval=(0.5 * prefactor, 2 * prefactor),
            correlation=0.9,
            temperatures=[t for t in TEMPERATURES if t != bounded],
            chi_squared=None,
            p_value=None,
            scale=1.0,
            confidence=0.95,
            activation_energy_samples=energies.tolist(),
            log_prefactor_samples=(np.log(prefactor) + (energies - energy) / 0.045).tolist(),
        ),
        arrhenius_reason="",
        nanoseconds_per_day=12.0,
    )


def bulk_result() -> BulkResult:
    """Energy-volume curves and phonons of teacher and student."""
    difference = BulkDifference(
        to="teacher",
        properties={"lattice_constant": PropertyDifference(value=0.01, interval=(0.0, 0.02))},
    )
    return BulkResult(
        formula="Li4F4",
        confidence=0.95,
        models={"teacher": _bulk(1.0), "student": _bulk(1.02)},
        differences={"student": difference},
        merit=FiguresOfMerit(reference="teacher", models={}),
        given={"lattice_constant": 3.43, "bulk_modulus_GPa": 70.0},
    )


def _bulk(scale) -> BulkProperties:
    volumes = 40.0 * scale * np.linspace(0.94, 1.06, 9)
    energies = -24.0 + 0.01 * (volumes - 40.0 * scale) ** 2
    length = (40.0 * scale) ** (1 / 3)
    return BulkProperties(
        equation_of_state=EquationOfState(
            scale=scale,
            lattice_constant=length,
            lattice_constant_interval=(length - 0.01, length + 0.01),
            volume=40.0 * scale,
            volume_interval=(39.5 * scale, 40.5 * scale),
            volume_per_atom=5.0 * scale,
            energy=-24.0,
            energy_interval=(-24.01, -23.99),
            energy_per_atom=-3.0,
            bulk_modulus=0.43,
            bulk_modulus_interval=(0.4, 0.46),
            bulk_modulus_GPa=69.0,
            bulk_modulus_GPa_interval=(64.0, 74.0),
            bulk_modulus_derivative=4.5,
            bulk_modulus_derivative_interval=(4.0, 5.0),
            rms_residual=1e-5,
            volumes=volumes.tolist(),
            energies=energies.tolist(),
            confidence=0.95,
        ),
        elastic_constants=None,
        thermal_expansion=[],
        phonons=Phonons(
            dispersion=Dispersion(
                labels=["G", "X"],
                positions=[0.0, 0.2],
                distance=[0.0, 0.1, 0.2],
                frequencies=[[0.0, 1.0 * scale], [2.0, 3.0], [4.0, 5.0 * scale]],
            ),
            density_of_states=DensityOfStates(frequency=[0.0, 2.0, 5.0], density=[0.0, 0.4, 0.1]),
            free_energy=[],
            lowest_frequency=0.0,
            stable=True,
            quasi_harmonic=None,
        ),
    )
