"""Weights of energies and forces as given and by evidence: errors on structures held out.

    python benchmarks/weighting.py [--runs RUN …] [--mlearn FOLDER] [--out FOLDER]

On the bundled sets and, of a finished run in the folder RUN, on what it sampled and held out; with
a checkout of materialsvirtuallab/mlearn in FOLDER, as in benchmarks/zuo.py, on each element's
training and test file. Bases of three sizes, order 3, a cutoff of 5 Å, smoothness by evidence.
Writes weighting.json and weighting.md; what is there is not fitted again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase import Atoms
from zuo import ELEMENTS, read_set

import distill
from distill.core.artifacts import read_json, write_json, write_text
from distill.core.quantities import MEV
from distill.data.structures import read_structures

DEGREES = ([10, 8, 6], [14, 12, 9], [17, 15, 11])
WEIGHTINGS = ("given", "evidence")


def sets(options: argparse.Namespace) -> Iterator[tuple[str, list[Atoms], list[Atoms]]]:
    """Name, structures to fit and structures to look at."""
    for name in ("h2cu", "lif"):
        yield name, *(read_structures(f"bundled:{name}_{part}") for part in ("train", "test"))
    for run in options.runs:
        sampling = run / "sampling"
        yield run.name, *(read_structures(sampling / f"{n}.xyz") for n in ("selected", "held_out"))
    if options.mlearn is not None:
        data = options.mlearn / "data" if (options.mlearn / "data").is_dir() else options.mlearn
        for element in ELEMENTS:
            if (data / element / "training.json").is_file():
                yield (
                    element,
                    *(read_set(data / element / f"{n}.json") for n in ("training", "test")),
                )


def measured(
    train: list[Atoms], test: list[Atoms], degrees: list[float], how: str
) -> dict[str, Any]:
    """Errors of one fit, its size, its processor time and the weights that it chose."""
    start = time.process_time()
    student = distill.fit_student(
        train, order=3, totaldegree=degrees, rcut=5.0, weighting=how, threads=1
    )
    seconds = time.process_time() - start
    errors = distill.evaluate(student, test)
    report = student.training.solver
    assert report is not None and errors.energy_per_atom is not None and errors.forces is not None
    return {
        "functions": student.basis.n_functions,
        "energy": MEV * errors.energy_per_atom.rmse,
        "forces": MEV * errors.forces.rmse,
        "elements": {e: MEV * found.rmse for e, found in errors.forces_by_element.items()},
        "factor": (report.weight_factors or {}).get("energy", 1.0),
        "seconds": seconds,
    }


def table(found: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| set (fitted + looked at) | functions | energies, given → evidence [meV/atom] "
        "| forces, given → evidence [meV/Å] | factor on 30 | processor time |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in found.items():
        for pair in result["fits"].values():
            if len(pair) == len(WEIGHTINGS):
                given, chosen = (pair[how] for how in WEIGHTINGS)
                lines.append(
                    f"| {name} ({result['train']} + {result['test']}) | {given['functions']} "
                    f"| {given['energy']:.2f} → {chosen['energy']:.2f} "
                    f"| {given['forces']:.1f} → {chosen['forces']:.1f} "
                    f"| {chosen['factor']:.3f} "
                    f"| {given['seconds']:.0f} → {chosen['seconds']:.0f} s |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", default=[])
    parser.add_argument("--mlearn", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    kept = options.out / "weighting.json"
    found: dict[str, Any] = read_json(kept, dict[str, Any]) if kept.is_file() else {}
    for name, train, test in sets(options):
        result = found.setdefault(name, {"train": len(train), "test": len(test), "fits": {}})
        for degrees in DEGREES:
            pair = result["fits"].setdefault(" ".join(map(str, degrees)), {})
            for how in WEIGHTINGS:
                if how not in pair:
                    pair[how] = measured(train, test, degrees, how)
                    write_json(kept, found)
        print(table({name: result}), flush=True)
    write_text(
        options.out / "weighting.md", f"# Weights of energies and forces\n\n{table(found)}\n"
    )


if __name__ == "__main__":
    main()
