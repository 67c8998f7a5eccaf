"""The fits of the same data side by side: errors, time of the fit, time of an evaluation.

The native one, and those of ACEpotentials from rows of the native kernels and from its own.

    python benchmarks/backends.py [--train FILE] [--test FILE] [--structure FILE] [--out FOLDER]

The evaluations run in turn on one pinned core: the native engine, and ACEpotentials both as
released and with its gradient made type-stable. Without Julia the native column alone is measured,
and the reason is said.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from distill.compare.timing import time_models, timing_table_text
from distill.config import CalculatorConfig, LabelWeights, SolverConfig, StudentConfig
from distill.core.artifacts import write_json, write_text
from distill.core.progress import format_duration
from distill.data.structures import read_structures, reference_energy, reference_forces
from distill.student.fit.native_fit import fit as native_fit
from distill.student.julia import acepotentials
from distill.student.student_model import Student

MEV = 1000.0
NATIVE_FILE = "native.npz"


def main() -> None:
    """Fit, measure, print the tables and write `backends.json` and `.md`."""
    arguments = _parse()
    train, test = read_structures(arguments.train), read_structures(arguments.test)
    config = StudentConfig(
        order=arguments.order,
        totaldegree=arguments.totaldegree,
        rcut=arguments.rcut,
        weights={"default": LabelWeights()},
        solver=SolverConfig(committee=arguments.committee),
        threads=arguments.threads,
    )
    with tempfile.TemporaryDirectory() as name:
        fits, timing, reason = _measure(config, train, test, arguments.structure, Path(name))
    text = f"""# The fits of the same data

{len(train)} training and {len(test)} test structures; order {config.order}, total degree
{config.totaldegree}, cutoff {config.rcut} Å. ACEpotentials' times of fit include starting and
compiling Julia.

```
{_table(fits, reason)}
```

```
{timing_table_text(timing)}
```
"""
    print(text)
    write_text(arguments.out / "backends.md", text)
    result = {"fits": fits, "timing": timing, "julia": reason or "ready"}
    write_json(arguments.out / "backends.json", result)


def _measure(
    config: StudentConfig,
    train: Sequence[Atoms],
    test: Sequence[Atoms],
    structure: str | None,
    folder: Path,
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Fits with their errors, timing, and why Julia was not run if it was not."""
    start = time.monotonic()
    native = native_fit(train, config, seed=1)
    fits: dict[str, Any] = {"native": {"fit_s": time.monotonic() - start}}
    native.student.save(folder / NATIVE_FILE)
    students = {"native": native.student}
    reason = acepotentials.available()
    for assembly in ("native", "julia") if reason is None else ():
        name = f"acepotentials, {assembly} rows"
        start = time.monotonic()
        changed = config.model_copy(update={"assembly": assembly})
        julia = acepotentials.fit(train, changed, seed=1, folder=folder / assembly)
        fits[name] = {"fit_s": time.monotonic() - start}
        students[name] = julia.student
    for name, student in students.items():
        fits[name] |= {"train": _rmse(student, train), "test": _rmse(student, test)}
    timed = read(structure, index=0) if structure else test[0]
    return fits, time_models(_models(folder, reason), timed), reason


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", default="bundled:h2cu_train")
    parser.add_argument("--test", default="bundled:h2cu_test")
    parser.add_argument("--structure", help="structure for the timing; the first test structure")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--totaldegree", type=float, nargs="+", default=[10, 8, 6])
    parser.add_argument("--rcut", type=float, default=6.0)
    parser.add_argument("--committee", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def _models(out: Path, reason: str | None) -> dict[str, str | CalculatorConfig]:
    models: dict[str, str | CalculatorConfig] = {"native engine": str(out / NATIVE_FILE)}
    if reason is None:
        path = str((out / "julia" / acepotentials.MODEL_FILE).resolve())
        for name, mended in (("as released", False), ("gradient mended", True)):
            models[f"ACEpotentials, {name}"] = CalculatorConfig(
                path="distill.student.julia.acepotentials:JuliaCalculator",
                args={"path": path, "mended": mended},
            )
    return models


def _rmse(student: Student, structures: Sequence[Atoms]) -> dict[str, float]:
    """Root mean square errors: energy in meV/atom, forces in meV/Å."""
    energies, forces = [], []
    for atoms in structures:
        energy, force, _ = student.predict(atoms)
        energies.append((energy - (reference_energy(atoms) or 0.0)) / len(atoms))
        forces.append((force - reference_forces(atoms)).ravel())
    return {
        "energy_meV_per_atom": MEV * float(np.sqrt(np.mean(np.square(energies)))),
        "forces_meV_per_A": MEV * float(np.sqrt(np.mean(np.concatenate(forces) ** 2))),
    }


def _table(fits: dict[str, Any], reason: str | None) -> str:
    lines = [f"{'fit':<26} {'time':>12} {'train E':>9} {'F':>8} {'test E':>9} {'F':>8}"]
    for name, found in fits.items():
        errors = [
            found[part][key]
            for part in ("train", "test")
            for key in ("energy_meV_per_atom", "forces_meV_per_A")
        ]
        cells = " ".join(f"{value:>{w}.2f}" for value, w in zip(errors, (9, 8, 9, 8), strict=True))
        lines.append(f"{name:<26} {format_duration(found['fit_s']):>12} {cells}")
    lines.append("E: RMSE, meV/atom; F: RMSE, meV/Å")
    if reason is not None:
        lines.append(f"ACEpotentials was not run: {reason}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
