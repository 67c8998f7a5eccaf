"""Plausible made-up results of the observables of densities: distances and vibrations."""

from __future__ import annotations

import numpy as np

from distill.observables.rdf.result import (
    ModelRdf,
    PairCurve,
    PairDifference,
    RdfResult,
    TemperatureRdf,
)
from distill.observables.vdos.result import (
    ModelVdos,
    PartDensity,
    PartDifference,
    TemperatureVdos,
    VdosResult,
)


def rdf_result() -> RdfResult:
    """Copper at one temperature, its student a little less ordered than its teacher."""
    r = np.linspace(0.05, 5.95, 60)
    difference = PairDifference(
        divergence=3e-4,
        noise_floor=1e-4,
        excess=2e-4,
        excess_interval=(1e-4, 4e-4),
        coordination=-0.02,
        coordination_interval=(-0.05, 0.01),
    )
    entry = TemperatureRdf(
        temperature=300.0,
        block_time=500.0,
        radii={"Cu-Cu": 3.1},
        models={"teacher": _distances(r, 0.15, 12.0), "student": _distances(r, 0.16, 11.98)},
        differences={"student": {"Cu-Cu": difference}},
    )
    return RdfResult(
        structure="Cu32",
        distances=r.tolist(),
        confidence=0.95,
        baseline="teacher",
        temperatures=[entry],
        calls={"teacher": 4000, "student": 4000},
    )


def _distances(r: np.ndarray, width: float, coordination: float) -> ModelRdf:
    g = 4 * np.exp(-((r - 2.55) ** 2) / (2 * width**2)) + (r > 3.1)
    curve = PairCurve(
        g=g.tolist(),
        g_interval=[(0.95 * value, 1.05 * value) for value in g.tolist()],
        running=(coordination * np.cumsum(g) / g.sum()).tolist(),
        coordination=coordination,
        coordination_interval=(coordination - 0.03, coordination + 0.03),
    )
    return ModelRdf(pairs={"Cu-Cu": curve}, mean_temperature=301.0, blocks=8, runs=2)


def vdos_result() -> VdosResult:
    """Copper at one temperature, its student a little stiffer than its teacher."""
    frequencies = np.linspace(0.0, 10.0, 51)
    difference = PartDifference(
        mean_frequency=0.01,
        mean_frequency_interval=(-0.01, 0.03),
        overlap=0.98,
        overlap_interval=(0.96, 0.99),
    )
    entry = TemperatureVdos(
        temperature=300.0,
        models={
            "teacher": _vibrations(frequencies, 5.0),
            "student": _vibrations(frequencies, 5.05),
        },
        differences={"student": {"all": difference}},
    )
    return VdosResult(
        structure="Cu32",
        frequencies=frequencies.tolist(),
        degrees_of_freedom=93,
        confidence=0.95,
        baseline="teacher",
        temperatures=[entry],
        calls={"teacher": 4000, "student": 4000},
    )


def _vibrations(frequencies: np.ndarray, mean: float) -> ModelVdos:
    density = 23.0 * np.exp(-((frequencies - mean) ** 2) / 4)
    part = PartDensity(
        density=density.tolist(),
        density_interval=[(0.9 * value, 1.1 * value) for value in density.tolist()],
        mean_frequency=mean,
        mean_frequency_interval=(mean - 0.1, mean + 0.1),
    )
    return ModelVdos(parts={"all": part}, mean_temperature=299.0, runs=2)
