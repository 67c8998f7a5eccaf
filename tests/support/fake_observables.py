"""Plausible made-up results of every observable."""

from __future__ import annotations

import numpy as np
from fake_crystals import bulk_result, diffusion_result
from fake_spectra import rdf_result, vdos_result

from distill.metrics.statistics import wilson
from distill.observables.barriers.result import BarriersResult, Profile, StationaryPoint
from distill.observables.gates.result import Drift, ForceChecks, GatesResult, HotRuns
from distill.observables.sticking.result import (
    ConditionSticking,
    ModelSticking,
    MultilevelSticking,
    PairedSticking,
    PrecisionReport,
    StickingResult,
)


def stationary(negative: int) -> StationaryPoint:
    """A saddle (1) or a minimum (0) of two atoms."""
    return StationaryPoint(
        atoms=[16, 17],
        lowest_eigenvalues=[-3.4] * negative + [0.3, 1.2, 2.5, 4.0, 6.1][: 6 - negative],
        negative=negative,
        lowest_wave_number=-1350.0 if negative else 210.0,
        zero_point_energy=0.2,
        imaginary_mode=[[0.7, 0.0, 0.1], [-0.7, 0.0, 0.1]] if negative else None,
    )


def barriers_result() -> BarriersResult:
    """One path by reference, teacher and student."""
    x = np.linspace(0, 3.6, 9)
    shape = np.sin(np.pi * np.clip((x - 0.6) / 2.6, 0, 1)) ** 2

    def path(height, end):
        energy = height * shape + end * (x / x[-1]) ** 3
        return Profile(
            distance=x.tolist(),
            energy=energy.tolist(),
            barrier=float(energy.max()),
            reaction_energy=end,
            converged=True,
            fmax=0.04,
            steps=31,
            calls=280,
            began_with="interpolation",
            ends_fmax=(0.004, 0.003),
            ends_relaxed=(True, True),
            initial=stationary(0),
            saddle=stationary(1),
            final=stationary(0),
            zero_point_barrier=float(energy.max()) - 0.05,
            crossover_temperature=310.0,
        )

    profiles = {
        "reference": path(0.71, -0.22),
        "teacher": path(0.74, -0.19),
        "student": path(0.735, -0.18),
    }
    return BarriersResult(paths={"Cu(111) bridge": profiles})


def sticking_condition(**changes) -> ConditionSticking:
    """One condition; `changes` are its fields."""

    def model(dissociated, trajectories):
        proportion = wilson(dissociated, trajectories)
        return ModelSticking(
            probability=proportion.value,
            interval=proportion.interval,
            trajectories=trajectories,
            outcomes={"dissociated": dissociated, "scattered": trajectories - dissociated},
            mean_force_calls=900.0,
        )

    fields = {
        "name": "111_300K_v0j1_0.8eV",
        "facet": "111",
        "temperature": 300.0,
        "v": 0,
        "j": 1,
        "energy": 0.8,
        "teacher": model(9, 20),
        "student": model(92, 200),
        "paired": PairedSticking(
            difference=-0.05,
            interval=(-0.19, 0.09),
            trajectories=20,
            only_first=0,
            only_second=1,
        ),
        "two_level": MultilevelSticking(
            probability=0.41, interval=(0.26, 0.56), trajectories=200, pairs=20
        ),
        "precision": {
            role: PrecisionReport(asked=None, half_width=0.1, reached=True, needed=None)
            for role in ("teacher", "student")
        },
    }
    return ConditionSticking(**fields | changes)


def sticking_result(*conditions, **changes) -> StickingResult:
    """Sticking under one condition, or those given."""
    fields = {
        "confidence": 0.95,
        "initial_conditions_from": "teacher",
        "precision": None,
        "conditions": list(conditions) or [sticking_condition()],
        "published": [],
        "force_calls": {"surfaces": 5000, "teacher": 18000, "student": 180000},
    }
    return StickingResult(**fields | changes)


def gates_result():
    """A sound student of a teacher whose forces are a gradient."""
    forces = ForceChecks(gradient_residual=2e-5, curl=1e-4)
    return GatesResult(
        model="student",
        time=2000.0,
        time_step=1.0,
        hot=[
            HotRuns(temperature=300.0, times=[2000.0, 2000.0], problems=[]),
            HotRuns(temperature=600.0, times=[2000.0, 1999.0], problems=["too hot"]),
        ],
        energy_drift=Drift(value=-0.002, interval=(-0.01, 0.006)),
        momentum_drift=1e-9,
        extensivity=2e-12,
        smoothness=3e-4,
        forces={"teacher": forces, "student": forces},
        looks=60,
        outside=3,
    )


# Made-up results by observable; those that the registry knows are in the run.
FAKES = {
    "barriers": barriers_result,
    "sticking": sticking_result,
    "diffusion": diffusion_result,
    "bulk": bulk_result,
    "rdf": rdf_result,
    "vdos": vdos_result,
    "gates": gates_result,
}
