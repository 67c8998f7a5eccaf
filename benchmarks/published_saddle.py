"""Saddles of H2 on copper with the published H2/Cu MACE.

    DISTILL_REFERENCE_DATA=... python benchmarks/published_saddle.py [--facet 110]

On the mirror plane of the path on Cu(110) lies a saddle of second order, 48 meV above the one
beside it. Prints the barrier, the saddles of higher order that were left for it, and the negative
eigenvalues of the Hessian of all mobile atoms; 4 minutes of one core. Ends with 1 where the saddle
is not one of first order.
"""

from __future__ import annotations

import argparse
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

FACETS = ("111", "100", "110", "211")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facet", choices=FACETS, default="110")
    facet = parser.parse_args().facet
    slab = SlabConfig(size=(3, 3), layers=4, fixed_layers=2, lattice_constant=3.6528)
    model = cached_calculator(
        Path(os.environ["DISTILL_REFERENCE_DATA"]) / "h2cu" / "MACE_model_swa.model",
        dtype="float64",
    )
    config = NebConfig(facet=facet, slab=slab, images=7, fmax=0.03, max_steps=300, keep=0)
    path = minimum_energy_path(config, model)
    saddle = path.images[int(np.argmax(path.energies))]
    surface = np.flatnonzero(mobile_atoms(build_slab(slab, facet, slab.lattice_constant)))
    found = curvature(saddle, model, [*surface, len(saddle) - 2, len(saddle) - 1])
    negative = found.eigenvalues[found.eigenvalues < 0]
    left = ", ".join(f"{energy:.4f}" for energy in path.left) or "none"
    print(f"Cu({facet}), {len(saddle)} atoms: barrier {path.barrier:.4f} eV, left for it: {left}")
    print(f"negative eigenvalues of {len(found.eigenvalues)}: {negative.round(2)} eV/Å²")
    return 0 if path.converged and len(negative) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
