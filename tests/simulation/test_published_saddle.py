"""The saddle of H2 on Cu(110) with the published H2/Cu MACE."""

import numpy as np
import pytest

from distill.config import NebConfig, SlabConfig
from distill.models.cached_calculators import cached_calculator
from distill.simulation.hessian import curvature
from distill.simulation.neb import minimum_energy_path
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import build_slab

pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.physics]

SLAB = SlabConfig(size=(3, 3), layers=4, fixed_layers=2, lattice_constant=3.6528)


def test_the_path_over_copper_110_leaves_its_mirror(reference_data):
    """On the mirror plane lies a saddle of second order, 48 meV higher."""
    model = cached_calculator(reference_data / "h2cu" / "MACE_model_swa.model", dtype="float64")
    config = NebConfig(facet="110", slab=SLAB, images=7, fmax=0.03, max_steps=300, keep=0)
    path = minimum_energy_path(config, model)
    assert path.converged
    assert round(path.barrier, 3) <= 0.646
    assert all(left > 0.69 for left in path.left)
    saddle = path.images[int(np.argmax(path.energies))]
    every = np.flatnonzero(mobile_atoms(build_slab(SLAB, "110", SLAB.lattice_constant)))
    found = curvature(saddle, model, [*every, len(saddle) - 2, len(saddle) - 1])
    assert np.sum(found.eigenvalues < 0) == 1
    assert found.eigenvalues[0] < -1
