"""H2 on a resting surface, as small as it can be."""

from distill.config import ScatteringConfig, SlabConfig

SLAB = SlabConfig(size=(3, 3), layers=2, fixed_layers=1, vacuum=13.0, lattice_constant=3.6)
SCATTERING = ScatteringConfig(
    slab=SLAB,
    facets=["111"],
    surface_temperatures=[0.0],
    states=[(0, 1)],
    collision_energies=[1.0],
    start_height=3.0,
    time_step=0.5,
    max_time=80.0,
    max_energy_error=0.5,
)
