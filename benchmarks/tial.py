"""Accuracy of the native fit on TiAl, against the figures published for ACEpotentials.

    python benchmarks/tial.py [--data FOLDER] [--out FOLDER]

The data folder (or DISTILL_REFERENCE_DATA) holds `acedata/TiAl_tutorial.xyz` (ACEsuit/ACEData).
Settings are those of the ACEpotentials tutorial: order 3, total degree 6, cutoff 5.5 Å, one-body
energies Ti -1586.0195 eV and Al -105.5954 eV, weights E/F/V 60/1/1 for FLD_TiAl and 5/1/1 for
TiAl_T5000, Bayesian linear regression with the smoothness prior p = 4, trained on every fifth
structure from the first, tested on every tenth from the second.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

PUBLISHED = {
    "train": {"energy": 4.155, "forces": 0.254, "virial": 58.742},
    "test": {"energy": 7.632, "forces": 0.274, "virial": 67.293},
}
UNITS = {"energy": "meV/atom", "forces": "eV/Å", "virial": "meV/atom"}
TOLERANCE = 1.10


def rmse(student, structures) -> dict[str, float]:
    """Root mean square errors, over structures, components and the six virial components.

    Quantities without labels are left out.
    """
    from distill.data.structures import reference_energy, reference_forces, reference_stress

    errors: dict[str, list[np.ndarray]] = {name: [] for name in UNITS}
    for atoms in structures:
        n = len(atoms)
        energy, forces, virial = student.predict(atoms)
        errors["energy"].append(np.array([1e3 * (energy - reference_energy(atoms)) / n]))
        errors["forces"].append((forces - reference_forces(atoms)).ravel())
        stress = reference_stress(atoms)
        if stress is not None:
            voigt = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            errors["virial"].append(1e3 * (voigt + stress * atoms.get_volume()) / n)
    return {
        name: float(np.sqrt(np.mean(np.concatenate(v) ** 2))) for name, v in errors.items() if v
    }


def main() -> None:
    """Fit, print the table and write `tial.json` and `tial.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("DISTILL_REFERENCE_DATA"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if options.data is None:
        parser.error("expected --data FOLDER or DISTILL_REFERENCE_DATA")

    from distill.config import LabelWeights, StudentConfig
    from distill.core.artifacts import write_json, write_text
    from distill.data.structures import read_structures
    from distill.student.fit.native_fit import fit

    structures = read_structures(
        Path(options.data) / "acedata" / "TiAl_tutorial.xyz",
        energy_key="energy",
        forces_key="force",
        virial_key="virial",
    )
    sets = {"train": structures[::5], "test": structures[1::10]}
    config = StudentConfig(
        backend="native",
        elements=["Ti", "Al"],
        order=3,
        totaldegree=6.0,
        rcut=5.5,
        e0={"Ti": -1586.0195, "Al": -105.5954},
        weights={
            "default": LabelWeights(energy=30, forces=1, virial=1),
            "FLD_TiAl": LabelWeights(energy=60, forces=1, virial=1),
            "TiAl_T5000": LabelWeights(energy=5, forces=1, virial=1),
        },
        smoothness=4,
    )
    start = time.perf_counter()
    result = fit(sets["train"], config, seed=0)
    seconds = time.perf_counter() - start
    found = {name: rmse(result.student, members) for name, members in sets.items()}
    worst = max(found[n][q] / v for n, table in PUBLISHED.items() for q, v in table.items())
    lines = [
        "# TiAl, against the figures published for ACEpotentials",
        "",
        f"{len(sets['train'])} training and {len(sets['test'])} test structures, "
        f"{result.student.basis.n_functions} functions, fitted in {seconds:.1f} s "
        f"(load of the machine {os.getloadavg()[0]:.1f}).",
        "",
        "| RMSE | here | published | ratio |",
        "|---|---|---|---|",
        *(
            f"| {name} {quantity} [{UNITS[quantity]}] | {found[name][quantity]:.4g} | "
            f"{value:.4g} | {found[name][quantity] / value:.3f} |"
            for name, published in PUBLISHED.items()
            for quantity, value in published.items()
        ),
        "",
        f"Largest ratio {worst:.3f}: {'within' if worst <= TOLERANCE else 'NOT within'} 10 %.",
    ]
    text = "\n".join(lines)
    print(text)
    write_text(options.out / "tial.md", text + "\n")
    write_json(
        options.out / "tial.json",
        {
            "here": found,
            "published": PUBLISHED,
            "units": UNITS,
            "largest_ratio": worst,
            "seconds": seconds,
            "functions": result.student.basis.n_functions,
        },
    )


if __name__ == "__main__":
    main()
