"""The native fit and `ace-jax fit` on one set, one basis and one machine, side by side.

    python benchmarks/fit_ace_jax.py [--structures 60] [--limit MINUTES] [--out FOLDER]

Both get the same file of slabs of 16 Cu atoms with H2 (energies and forces from ASE's EMT), the
same basis (order 4, total degree [18, 12, 10, 8], cutoff 6 Å: 2176 functions, read by ace-jax from
a student file), the same row weights and the same method: Bayesian linear regression with one
noise and one prior scale, chosen by the evidence. Each runs in processes of its own on all cores:
native, ace-jax, native. Wall times depend on what else runs; processor times hardly do. Prints the
table and writes `fit_ace_jax.json` and `fit_ace_jax.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fit import slabs
from tial import rmse

from distill.config import StudentConfig
from distill.core.artifacts import write_json, write_text
from distill.core.progress import format_duration
from distill.data.structures import read_structures, write_structures
from distill.student.fit.native_fit import fit
from distill.student.student_model import Student

COPPER_ATOMS = 16
WEIGHTS = {"default": {"E": 30.0, "F": 1.0, "V": 1.0}}
GOAL = 10.0


def main() -> None:
    """Fit with both, print the table and write it."""
    options = _parse()
    if options.native:
        _native(*options.native)
        return
    command = shutil.which("ace-jax", path=str(Path(sys.executable).parent))
    if command is None:
        raise SystemExit("ace-jax is not installed: pip install ace-jax")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, basis = folder / "train.xyz", folder / "native.npz"
        write_structures(data, slabs(options.structures, COPPER_ATOMS))
        native = [sys.executable, __file__, "--native", str(data), str(basis)]
        foreign = [
            command, "fit", "--model", str(basis), "--train", str(data),
            "--energy-key", "REF_energy", "--force-key", "REF_forces",
            "--weights", json.dumps(WEIGHTS), "--noise", "shared", "--r0", "2.55",
            "--out", str(folder / "ace_jax"),
        ]  # fmt: skip
        limit = 60 * options.limit
        runs = [
            {"fit": "native"} | _timed(native, limit),
            {"fit": "ace-jax"} | _timed(foreign, limit),
            {"fit": "native"} | _timed(native, limit),
        ]
        errors = {"native": _errors(basis, data)}
        found = sorted((folder / "ace_jax").glob("**/model.npz"))
        if found:
            errors["ace-jax"] = _errors(found[0], data)
    result = {
        "structures": options.structures,
        "atoms": COPPER_ATOMS + 2,
        "ace_jax": version("ace-jax"),
        "runs": runs,
        "errors": errors,
        "times_faster": {
            clock: runs[1][clock] / max(runs[0][clock], runs[2][clock])
            for clock in ("wall_s", "processor_s")
        },
    }
    text = _table(result)
    print(text)
    write_json(options.out / "fit_ace_jax.json", result)
    write_text(options.out / "fit_ace_jax.md", text + "\n")


def _native(data: Path, out: Path) -> None:
    """The native fit as a process of its own: from the file to the student."""
    fit(
        read_structures(data), StudentConfig(backend="native", threads=os.cpu_count()), seed=0
    ).student.save(out)


def _timed(command: list[str], limit: float) -> dict[str, Any]:
    """Run a command to its end or for `limit` seconds; times in s."""
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        finished = False
    else:
        finished = True
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": time.perf_counter() - start,
        "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "finished": finished,
        "load_before": load,
    }


def _errors(model: Path, data: Path) -> dict[str, float]:
    """Training errors (RMSE), by the one engine."""
    return rmse(Student.load(model), read_structures(data))


def _table(result: dict[str, Any]) -> str:
    lines = [
        "# Fitting: native and ace-jax side by side",
        "",
        f"{result['structures']} structures of {result['atoms']} atoms, order 4, degrees 18 12 10 "
        f"8, cutoff 6 Å, 2176 functions; ace-jax {result['ace_jax']}; Bayesian linear regression, "
        "noise and prior scale from the evidence. Times of whole processes, from the file of "
        "structures to the model file; load is the machine's average before the run.",
        "",
        "| fit | wall | processor | load | train energy [meV/atom] | train forces [eV/Å] |",
        "|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        errors = result["errors"].get(run["fit"])
        cells = (
            f"{errors['energy']:.3g} | {errors['forces']:.3g}" if errors else "no model written |"
        )
        more = "" if run["finished"] else "over "
        lines.append(
            f"| {run['fit']} | {more}{format_duration(run['wall_s'])} | "
            f"{more}{format_duration(run['processor_s'])} | {run['load_before']:.1f} | {cells} |"
        )
    gain = result["times_faster"]
    least = "" if all(run["finished"] for run in result["runs"]) else "at least "
    lines += [
        "",
        f"The native fit is {least}{gain['wall_s']:.0f} times faster by the clock and "
        f"{least}{gain['processor_s']:.0f} times in processor time (goal {GOAL:g}).",
    ]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=60)
    parser.add_argument("--limit", type=float, default=60.0, help="minutes for each fit")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--native", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
