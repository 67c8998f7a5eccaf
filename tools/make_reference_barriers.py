"""Make the bundled reference path: H2 dissociating on Cu, with the published H2/Cu MACE.

    python tools/make_reference_barriers.py --model MACE_model_swa.model

Writes the images of a climbing band on a 2 x 2 slab of four layers as `h2cu_neb_cu111.xyz`, with
energies (eV, relative to free atoms) and forces (eV/Å). The model is
`models/h2cu/pes/MACE_model_swa.model` of github.com/wgst/ml-gas-surface (MIT licence): Stark et
al., J. Phys. Chem. C 127, 24168 (2023).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from bundling import BUNDLED_FOLDER, describe, package_versions, write_compact_extxyz

from distill.config import NebConfig, SlabConfig
from distill.core.artifacts import sha256, write_json
from distill.core.errors import ChecksFailed
from distill.core.progress import say
from distill.simulation.neb import minimum_energy_path

IMAGES = 11
FMAX = 0.02  # eV/Å


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the published H2/Cu MACE")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="folder of the path")
    parser.add_argument("--facet", choices=("111", "100", "110", "211"), default="111")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    from mace.calculators import MACECalculator

    calculator = MACECalculator(
        model_paths=str(arguments.model), device="cpu", default_dtype="float64"
    )
    slab = SlabConfig(
        size=(3, 2) if arguments.facet == "211" else (2, 2), layers=4, fixed_layers=2, vacuum=14.0
    )
    config = NebConfig(
        facet=arguments.facet,
        slab=slab,
        images=IMAGES,
        fmax=FMAX,
        max_steps=600,
        hessian="mobile",
    )
    path = minimum_energy_path(config, calculator)
    if not path.converged:
        raise ChecksFailed(f"the path did not converge: {path.fmax:.3f} eV/Å")
    saddle = path.saddle
    if saddle is None or saddle.negative != 1:
        raise ChecksFailed(f"the path ends on no saddle of first order: {saddle}")
    name = f"h2cu_neb_cu{arguments.facet}"
    file = arguments.output / f"{name}.xyz"
    write_compact_extxyz(file, path.images)
    write_json(
        arguments.output / f"{name}.provenance.json",
        {
            "file": file.name,
            "sha256": sha256(file),
            "made_by": "tools/make_reference_barriers.py",
            "options": {"facet": arguments.facet},
            "settings": config.model_dump(mode="json"),
            "reference_method": {
                "name": "published H2/Cu MACE, models/h2cu/pes/MACE_model_swa.model",
                "origin": "https://github.com/wgst/ml-gas-surface, commit 3d50b156",
                "licence": "MIT",
                "sha256": sha256(arguments.model),
                "level_of_theory": "trained on FHI-aims calculations with an SRP functional",
            },
            "licence": "MIT, as this project",
            "energy_zero": "free atoms: the energy of one H and of one Cu atom is 0",
            "units": {"energy": "eV", "forces": "eV/Å", "positions": "Å"},
            "result": {
                "barrier_eV": path.barrier,
                "reaction_energy_eV": float(path.energies[-1]),
                "zero_point_barrier_eV": path.zero_point_barrier,
                "crossover_temperature_K": saddle.crossover_temperature,
                "lowest_eigenvalues_eV_per_A2": saddle.eigenvalues[:6],
                "end_points_are_minima": [end.is_minimum for end in path.ends],
                "left_for_a_lower_saddle_eV": path.left,
                "largest_force_eV_per_A": path.fmax,
                "steps": path.steps,
                "force_calls": path.calls,
            },
            "versions": package_versions("ase", "mace-torch", "numpy", "torch"),
            "contents": describe(path.images),
        },
    )
    say(f"barrier on Cu({arguments.facet}) {path.barrier:.3f} eV, {path.steps} steps, in {file}")


if __name__ == "__main__":
    main()
