"""How many force calls trajectories of molecules on surfaces will take, before they are run."""

from __future__ import annotations

from typing import NamedTuple

from distill.simulation.conditions import conditions, places, snapshots_of
from distill.simulation.config import ScatteringConfig

# A molecule is on its way for so long, fs (1680 calls of 0.1 fs were counted at 0.6 eV).
_TRAJECTORY = 170.0


class ScatteringCounts(NamedTuple):
    """What a section of scattering comes to.

    Attributes
    ----------
    atoms
        Of slab and molecule.
    conditions
        How many there are.
    calls
        Of a trajectory.
    surfaces, snapshots
        Thermal surfaces, and snapshots of each.
    surface_calls
        Of all of them.
    """

    atoms: int
    conditions: int
    calls: float
    surfaces: int
    snapshots: int
    surface_calls: float


def scattering_counts(config: ScatteringConfig) -> ScatteringCounts:
    """The counts of a section."""
    slab, atoms = config.slab, 2
    if not slab.file:
        atoms += slab.size[0] * slab.size[1] * slab.layers
    snapshots = snapshots_of(config)
    time = snapshots * (config.thermalisation_time / 10 + config.snapshot_interval)
    hot = sum(temperature > 0 for _, temperature in places(config))
    return ScatteringCounts(
        atoms=atoms,
        conditions=len(conditions(config)),
        calls=min(_TRAJECTORY, config.max_time) / config.time_step,
        surfaces=hot,
        snapshots=snapshots,
        surface_calls=hot * time / config.surface_time_step,
    )
