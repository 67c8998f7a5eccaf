"""Time and memory of the native fit at the size of the published H2/Cu student.

    python benchmarks/fit.py [--full] [--sizes 40 80 160] [--threads 2] [--out FOLDER]

Slabs of 54 Cu atoms with an H2 molecule (order 4, total degree [18, 12, 10, 8], cutoff 6 Å: 2176
functions), energies and forces from ASE's EMT. Each size runs in a process of its own, so that its
peak memory is its own. Without --full a few small sizes are measured, and the time for 2200
structures is extrapolated from them, which the output says; with it 2200 are fitted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

PUBLISHED_SIZE = 2200
SMALL_SIZES = (40, 80, 160)
# (structures, atoms of Cu): the set on which evidence maximisation in ace-jax 0.4.1 was seen to
# take over ten minutes on two cores (60 structures of 18 atoms, 2984 functions).
SMALL_SLABS = (60, 16)
LIMIT_MINUTES, LIMIT_GB = 30.0, 6.0
TITLES = (
    "structures", "atoms", "functions", "rows", "assembly_s", "solve_s", "processor_s", "peak_gb",
)  # fmt: skip


def slabs(count: int, copper: int) -> list[Atoms]:
    """Rattled Cu(111) slabs with an H2 molecule near or above the surface, labelled by EMT."""
    from ase.build import add_adsorbate, fcc111
    from ase.calculators.emt import EMT

    from distill.data.structures import set_labels

    size = (3, 3, copper // 9) if copper % 9 == 0 else (2, 2, copper // 4)
    structures = []
    for index in range(count):
        rng = np.random.default_rng(np.random.SeedSequence([7, index]))
        atoms = fcc111("Cu", size, a=3.65, vacuum=8.0, periodic=True)
        height, bond = rng.uniform(1.0, 4.0), rng.uniform(0.7, 1.6)
        tilt = rng.normal(size=3)
        tilt *= bond / np.linalg.norm(tilt)
        add_adsorbate(atoms, "H", height + 1.0, position=tuple(rng.uniform(0, 5, 2)))
        atoms += Atoms("H", positions=[atoms.positions[-1] + tilt])
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        structures.append(set_labels(atoms, energy=energy, forces=forces))
    return structures


def measure(count: int, copper: int, threads: int) -> dict[str, Any]:
    """Fit `count` slabs and return times (s), peak memory (GB) and sizes."""
    from distill.config import StudentConfig
    from distill.student.fit.native_fit import fit

    config = StudentConfig(backend="native", threads=threads)
    fit(slabs(2, 16), config.model_copy(update={"order": 1, "totaldegree": 2.0}), seed=0)
    structures = slabs(count, copper)
    start = time.process_time()
    result = fit(structures, config, seed=0)
    processor = time.process_time() - start
    return {
        "structures": count,
        "atoms": copper + 2,
        "functions": result.student.basis.n_functions,
        "rows": result.student.training.rows,
        "threads": threads,
        "assembly_s": result.assembly_seconds,
        "solve_s": result.solve_seconds,
        "processor_s": processor,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def run_case(count: int, copper: int, threads: int) -> dict[str, Any]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--case", str(count), str(copper)]
    command += ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print the table and write `fit.json` and `fit.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="fit 2200 structures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SMALL_SIZES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--case", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(*options.case, options.threads)))
        return

    from distill.core.artifacts import write_json, write_text

    sizes = options.sizes + [PUBLISHED_SIZE] * options.full
    cases = [(count, 54) for count in sizes] + [SMALL_SLABS]
    print(f"native fit on {options.threads} threads; wall and processor times in s, memory in GB")
    print("".join(f"{title:>12}" for title in TITLES))
    found = []
    for case in cases:
        row = run_case(*case, options.threads)
        found.append(row)
        print("".join(f"{row[title]:>12.4g}" for title in TITLES), flush=True)
    text, result = report(found, options.full, os.getloadavg()[0])
    print("\n" + text)
    write_text(options.out / "fit.md", text + "\n")
    write_json(options.out / "fit.json", result)


def report(found: list[dict[str, Any]], full: bool, load: float) -> tuple[str, dict[str, Any]]:
    """Table and figures of the cases measured, and of the published size with them."""
    large = [row for row in found if row["atoms"] == 56]
    counts = np.array([row["structures"] for row in large], dtype=float)
    slope, start = np.polyfit(counts, [row["assembly_s"] for row in large], 1)
    processor = np.polyfit(counts, [row["processor_s"] for row in large], 1)
    if full:
        minutes, how = (large[-1]["assembly_s"] + large[-1]["solve_s"]) / 60, "measured"
    elif slope > 0:
        minutes = (start + slope * PUBLISHED_SIZE + large[-1]["solve_s"]) / 60
        how = "EXTRAPOLATED from the sizes above, not measured"
    else:
        raise SystemExit("the machine is too busy for times that mean something; nothing written")
    peak = max(row["peak_gb"] for row in large)
    lines = [
        "# The native fit",
        "",
        "Order 4, degrees 18 12 10 8, cutoff 6 Å, energies and forces. Wall and processor times in "
        "s, peak memory in GB; processor times include starting.",
        "",
        f"| {' | '.join(TITLES)} |",
        "|---" * len(TITLES) + "|",
        *("| " + " | ".join(f"{row[title]:.4g}" for title in TITLES) + " |" for row in found),
        "",
        f"A structure takes {1e3 * slope:.0f} ms by the clock and {1e3 * processor[0]:.0f} ms of "
        f"processor time, in which a line misses the measured times by at most "
        f"{_misfit(counts, large, processor):.0%}.",
        "",
        f"{PUBLISHED_SIZE} structures: {minutes:.1f} min ({how}), {large[-1]['threads']} threads, "
        f"peak memory {peak:.2g} GB; limits {LIMIT_MINUTES:g} min and {LIMIT_GB:g} GB. Load of the "
        f"machine in the end: {load:.1f}.",
    ]
    return "\n".join(lines), {
        "cases": found,
        "assembly_ms_per_structure": 1e3 * slope,
        "processor_ms_per_structure": 1e3 * float(processor[0]),
        "published_size_minutes": minutes,
        "published_size_is": how,
        "peak_gb": peak,
        "load": load,
    }


def _misfit(counts: np.ndarray, rows: list[dict[str, Any]], line: np.ndarray) -> float:
    """Largest relative distance of the processor times from a line."""
    times = np.array([row["processor_s"] for row in rows])
    return float(np.max(np.abs(np.polyval(line, counts) / times - 1)))


if __name__ == "__main__":
    main()
