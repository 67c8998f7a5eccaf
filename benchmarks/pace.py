"""The student's engine beside ML-PACE, the same model on the same neighbour lists, one core.

    python benchmarks/pace.py --source LAMMPS_USER_PACE --build BUILD student.npz student.yace
        [--out FOLDER] [--repeats N]

SOURCE is a checkout of github.com/ICAMS/lammps-user-pace and BUILD its CMake build folder
(`cmake -S SOURCE -B BUILD -DCMAKE_BUILD_TYPE=Release && make -C BUILD pace`); `student.yace` is
what `distill export` wrote for `student.npz`. ML-PACE also runs with the radial series cut to a few
functions, which has the same products: what a potential fitted in its own basis would cost. Both
compute energies and forces of a 56-atom H2/Cu slab and of 3 x 9 of them, 1512 atoms. Each figure is
the least processor time of many runs, in turn. Prints a table and writes `pace.json` and `pace.md`;
forces are compared on the way.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.core.artifacts import write_json, write_text
from distill.student.engine.evaluate import Evaluation, species_indices
from distill.student.engine.neighbours import list_neighbours
from distill.student.student_model import Student
from distill.systems.slabs import timing_slab

SHORT_SERIES = 20
ROUNDS = 2


def main() -> None:
    """Compile the driver, measure, print the table and write it."""
    arguments = _parse()
    student = Student.load(arguments.student)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = _compile(Path(arguments.source), Path(arguments.build), folder)
        full, short = Path(arguments.yace), folder / "short.yace"
        short.write_text(_with_short_series(full.read_text(encoding="utf-8")), encoding="utf-8")
        slab = timing_slab("111")
        rows = [
            _measure(student, atoms, program, {"as exported": full, "short series": short},
                     folder, arguments.repeats)
            for atoms in (slab, slab.repeat((3, 9, 1)))
        ]  # fmt: skip
    functions = len(re.findall(r"rank: 1,", full.read_text(encoding="utf-8")))
    result = {
        "functions": student.basis.n_functions,
        "series": functions // len(student.elements) ** 2,
        "rows": rows,
    }
    text = _table(result)
    print(text)
    out = Path(arguments.out)
    write_json(out / "pace.json", result)
    write_text(out / "pace.md", text)


def _measure(
    student: Student,
    atoms: Atoms,
    program: Path,
    files: dict[str, Path],
    folder: Path,
    repeats: int,
) -> dict[str, Any]:
    """Least µs an atom of the student and of ML-PACE, and how far their forces are apart."""
    species = species_indices(student.elements, atoms)
    near = list_neighbours(atoms, student.cutoff)
    _write_input(folder / "input", atoms, species, near)
    count = max(1, repeats * 56 // len(atoms))

    def once() -> Evaluation:
        return student.potential.evaluate_pairs(species, *near)

    result, times = once(), {"student": np.inf}
    difference = 0.0
    for _ in range(ROUNDS):
        for _ in range(count):
            start = time.process_time()
            once()
            times["student"] = min(times["student"], time.process_time() - start)
        for label, path in files.items():
            for algorithm in ("product", "recursive"):
                key = f"{algorithm}, {label}"
                forces, seconds = _run(program, path, folder, algorithm, count, atoms, near)
                times[key] = min(times.get(key, np.inf), seconds)
                if label == "as exported":
                    difference = max(difference, float(np.abs(forces - result.forces).max()))
    return {
        "atoms": len(atoms),
        "us_per_atom": {name: 1e6 * value / len(atoms) for name, value in times.items()},
        "force_difference": difference,
    }


def _write_input(path: Path, atoms: Atoms, species: np.ndarray, near: Any) -> None:
    """Atoms, then an image for each entry of the list, as LAMMPS' ghosts are."""
    owner = np.repeat(np.arange(len(atoms)), np.diff(near.first))
    images = atoms.positions[owner] + near.vectors
    kinds = np.concatenate([species, species[near.neighbour]])
    with open(path, "wb") as handle:
        for values in (
            np.array([len(atoms), len(kinds), len(owner)], np.int32),
            kinds.astype(np.int32),
            np.vstack([atoms.positions, images]),
            near.first.astype(np.int32),
            (len(atoms) + np.arange(len(owner))).astype(np.int32),
        ):
            handle.write(values.tobytes())


def _run(
    program: Path, yace: Path, folder: Path, algorithm: str, count: int, atoms: Atoms, near: Any
) -> tuple[np.ndarray, float]:
    """Forces (N, 3), eV/Å, and the least seconds of a call."""
    command = [program, yace, folder / "input", folder / "output", algorithm, str(count)]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    values, n = np.fromfile(folder / "output"), len(atoms)
    everyone = values[n:-count].reshape(-1, 3)
    forces = everyone[:n].copy()
    np.add.at(forces, near.neighbour, everyone[n:])
    return forces, float(values[-count:].min())


def _with_short_series(text: str) -> str:
    """A `.yace` text with the radial series cut to a few functions."""
    length = int(re.search(r"nradbasemax: (\d+)", text)[1])  # type: ignore[index]
    lines = []
    for line in text.splitlines():
        match = re.search(r"rank: 1,.*ns: \[(\d+)\]", line)
        if match and int(match[1]) > SHORT_SERIES:
            continue
        if "radcoefficients" in line:
            start, numbers = line.split("radcoefficients: ")
            numbers = re.sub(
                r"\[([^\[\]]+)\]",
                lambda row: "[" + ", ".join(row[1].split(", ")[:SHORT_SERIES]) + "]",
                numbers,
            )
            start = start.replace(f"nradbasemax: {length}", f"nradbasemax: {SHORT_SERIES}")
            line = f"{start}radcoefficients: {numbers}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _compile(source: Path, build: Path, folder: Path) -> Path:
    program = folder / "pace_driver"
    libraries = [build / "libpace.a", *build.rglob("libyaml-cpp-pace.a"), *build.glob("libcnpy.a")]
    includes = [source, *(source / name for name in ("ML-PACE", "yaml-cpp/include"))]
    command = ["g++", "-O3", "-march=native", "-std=c++17", "-DEXTRA_C_PROJECTIONS",
               "-DCOMPUTE_B_GRAD", *(f"-I{include}" for include in includes),
               f"-I{source / 'wigner-cpp/include'}",
               str(Path(__file__).with_name("pace_driver.cpp")), "-o", str(program),
               *map(str, libraries), "-lz"]  # fmt: skip
    subprocess.run(command, check=True)
    return program


def _table(result: dict[str, Any]) -> str:
    names = list(result["rows"][0]["us_per_atom"])
    lines = [
        "# The student's engine beside ML-PACE",
        "",
        f"{result['functions']} functions; radial series of {result['series']}, or cut to "
        f"{SHORT_SERIES}; µs an atom for energy and forces on one core, neighbour list apart, "
        "least processor time of many runs.",
        "",
        "| evaluator | " + " | ".join(f"{row['atoms']} atoms" for row in result["rows"]) + " |",
        "|---|" + "---|" * len(result["rows"]),
    ]
    for name in names:
        cells = [
            f"{row['us_per_atom'][name]:.3g}"
            + (
                f" ({row['us_per_atom'][name] / row['us_per_atom']['student']:.3g} times the "
                "student's)"
                if name != "student"
                else ""
            )
            for row in result["rows"]
        ]
        title = name if name == "student" else f"ML-PACE, {name}"
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    largest = max(row["force_difference"] for row in result["rows"])
    lines += ["", f"Forces of the exported file differ by up to {largest:.2g} eV/Å.", ""]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="student .npz")
    parser.add_argument("yace", help="what `distill export` wrote for it")
    parser.add_argument("--source", required=True, help="checkout of lammps-user-pace")
    parser.add_argument("--build", required=True, help="its build folder")
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    parser.add_argument("--repeats", type=int, default=30, help="calls of 56 atoms in a round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
