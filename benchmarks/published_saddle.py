"""The saddle of H2 on Cu(110) with the published H2/Cu MACE.

    DISTILL_REFERENCE_DATA=... python benchmarks/published_saddle.py

On the mirror plane of the path lies a saddle of second order, 48 meV above the one beside it.
Prints the barrier, the saddles of higher order that were left for it, and the negative eigenvalues
of the Hessian of all mobile atoms; 4 minutes of one core. Ends with 1 where the saddle is not one
of first order.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from distill.config import NebConfig, SlabConfig
from distill.models.cached_calculators import cached_calculator
from distill.simulation.hessian import curvature
from distill.simulation.neb import minimum_energy_path
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import build_slab

SLAB = SlabConfig(size=(3, 3), layers=4, fixed_layers=2, lattice_constant=3.6528)


def main() -> int:
    model = cached_calculator(
        Path(os.environ["DISTILL_REFERENCE_DATA"]) / "h2cu" / "MACE_model_swa.model",
        dtype="float64",
    )
    config = NebConfig(facet="110", slab=SLAB, images=7, fmax=0.03, max_steps=300, keep=0)
    path = minimum_energy_path(config, model)
    saddle = path.images[int(np.argmax(path.energies))]
    surface = np.flatnonzero(mobile_atoms(build_slab(SLAB, "110", SLAB.lattice_constant)))
    found = curvature(saddle, model, [*surface, len(saddle) - 2, len(saddle) - 1])
    negative = found.eigenvalues[found.eigenvalues < 0]
    print(
        f"barrier {path.barrier:.4f} eV, left for it: {', '.join(f'{e:.4f}' for e in path.left)} eV"
    )
    print(f"negative eigenvalues of {len(found.eigenvalues)}: {negative.round(2)} eV/Å²")
    return 0 if path.converged and len(negative) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
