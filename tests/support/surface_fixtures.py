"""Small surfaces that the sampling tests share."""

from __future__ import annotations

import pytest

from distill.config import ScatteringConfig, SlabConfig


@pytest.fixture
def slab_config() -> SlabConfig:
    """Two layers of 3 x 3, as the fast potentials need."""
    return SlabConfig(size=(3, 3), layers=2, fixed_layers=1, vacuum=13.0, lattice_constant=3.6)


@pytest.fixture
def scattering_config(slab_config: SlabConfig) -> ScatteringConfig:
    """Two fast conditions on a resting surface."""
    return ScatteringConfig(
        slab=slab_config,
        facets=["111"],
        surface_temperatures=[0.0],
        states=[(0, 1)],
        collision_energies=[0.5, 1.0],
        trajectories=2,
        start_height=3.0,
        time_step=0.25,
        max_time=100.0,
        save_every=2.0,
    )
