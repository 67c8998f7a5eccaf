"""Under what molecules meet surfaces: facet, temperature, state, collision energy, incidence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from distill.simulation.config import ScatteringCase, ScatteringConfig
from distill.systems.slabs import USER_SLAB

Place = tuple[str, float]
# More than these narrow an interval by little, at the correlation of outcomes on one surface.
_MOST_SNAPSHOTS = 500


@dataclass(frozen=True)
class Condition:
    """Facet, surface temperature (K), state, collision energy (eV), polar angle (degrees)."""

    facet: str
    temperature: float
    v: int
    j: int
    energy: float
    polar_angle: float = 0.0

    @property
    def name(self) -> str:
        """Stem of file names and key of tables."""
        name = f"{self.facet}_{self.temperature:g}K_v{self.v}J{self.j}_{self.energy:g}eV"
        return f"{name}_{self.polar_angle:g}deg" if self.polar_angle else name

    @property
    def place(self) -> Place:
        """The surface: facet and temperature."""
        return self.facet, self.temperature


def conditions(config: ScatteringConfig) -> list[Condition]:
    """The conditions of every case in turn, each once.

    Those of a case are every combination of its facets, temperatures, states, collision energies
    and polar angles, in that order.
    """
    found = [
        condition for case in config.cases or [ScatteringCase()] for condition in _of(config, case)
    ]
    return list(dict.fromkeys(found))


def _of(config: ScatteringConfig, case: ScatteringCase) -> list[Condition]:
    def own(name: str) -> list[Any]:
        given = getattr(case, name)
        return getattr(config, name) if given is None else given

    facets = [USER_SLAB] if config.slab.file else own("facets")
    angles = [config.polar_angle] if case.polar_angles is None else case.polar_angles
    return [
        Condition(facet, temperature, v, j, energy, angle)
        for facet, temperature, (v, j), energy, angle in product(
            facets, own("surface_temperatures"), own("states"), own("collision_energies"), angles
        )
    ]


def places(config: ScatteringConfig) -> list[Place]:
    """Surfaces that the conditions name: facet and temperature (K)."""
    return list(dict.fromkeys(condition.place for condition in conditions(config)))


def snapshots_of(config: ScatteringConfig) -> int:
    """Snapshots of each surface at a temperature: as asked for, or one for each trajectory.

    The conditions share them, so that further conditions leave those as they are.
    """
    return config.snapshots or min(config.trajectories, _MOST_SNAPSHOTS)


def normal_energy(energy: float, polar_angle: float) -> float:
    """Energy (eV) of the motion along the surface normal, at degrees from it."""
    return energy * float(np.cos(np.radians(polar_angle))) ** 2
