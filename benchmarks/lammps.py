"""The C++ engine and `pair_style distill`: time per atom against other ways to run a student.

    python benchmarks/lammps.py [--out FOLDER] [--rounds N] [--largest ATOMS]

The students have random coefficients, which cost what fitted ones do: the published basis (order 4,
degrees 18 12 10 8, Cu and H, cutoff 6 Å) on a free block of copper with 57 neighbours an atom, and
Si of order 4 and degree 20 where `--silicon` asks for it. Engines are called in turn on one
neighbour list, in processor time of one thread, so that other programs hardly matter; LAMMPS is
timed by its own clock, as the least of several runs, and wants an idle machine. What is not
installed is left out. Prints tables and writes `lammps.json` and `lammps.md`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from engine import published_student

from distill.core.artifacts import write_json, write_text
from distill.deploy.c_engine import CEngine
from distill.deploy.export.lammps_arrays import lammps_bytes
from distill.deploy.export.lammps_format import lammps_arrays
from distill.deploy.lammps_build import build_lammps
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.engine.evaluate import species_indices
from distill.student.engine.neighbours import list_neighbours
from distill.student.student_model import Student

INPUT = """
units metal
atom_style atomic
boundary p p p
read_data {folder}/atoms.data
mass * 1e6
pair_style distill {style}
pair_coeff * * Cu H
neighbor 0.5 bin
velocity all create 300 1
timestep 0.0005
fix 1 all nve
thermo {steps}
run {steps}
"""


def main() -> None:
    """Measure, print the tables and write them."""
    arguments = _parse()
    build = build_lammps(quiet=True)
    student = published_student()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {"engines": {}, "lammps": []}
        for label, model, atoms in _cases(student, arguments.silicon):
            result["engines"][label] = engines(
                folder, build.library, model, atoms, arguments.rounds
            )
        if build.executable is not None:
            sizes = [r for r in (3, 5, 8, 14, 20, 30) if 4 * r**3 <= arguments.largest]
            result["lammps"] = [
                lammps(folder, build.executable, student, copper(repeat)) for repeat in sizes
            ]
    result["load"] = os.getloadavg()[0]
    text = _tables(result)
    print(text)
    write_json(Path(arguments.out) / "lammps.json", result)
    write_text(Path(arguments.out) / "lammps.md", text + "\n")


def copper(repeat: int) -> Atoms:
    """Bulk copper, rattled: 78 neighbours an atom."""
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    return atoms


def cluster(symbol: str, lattice: float, repeat: int, every: int = 0) -> Atoms:
    """A free block of a crystal, rattled, with H in place of some atoms."""
    atoms = bulk(symbol, cubic=True, a=lattice).repeat(repeat)
    atoms.rattle(0.05, seed=1)
    atoms.pbc = False
    if every:
        atoms.symbols[::every] = "H"
    return atoms


def silicon_student() -> Student:
    """Si, order 4, total degree 20."""
    basis = build_basis(BasisSpec(("Si",), 4, (20.0,) * 4, rcut=5.5))
    generator = np.random.default_rng(0)
    coefficients = 1e-3 * generator.normal(size=basis.n_functions) / (1 + basis.gamma(1.0))
    return Student(basis=basis, coefficients=coefficients, e0={"Si": 0.0})


def engines(
    folder: Path, library: Path, student: Student, atoms: Atoms, rounds: int
) -> dict[str, Any]:
    """Least and median processor time of energy, forces and virial, µs an atom, in turn."""
    file = folder / "student.ace"
    file.write_bytes(lammps_bytes(lammps_arrays(student)))
    species = species_indices(student.elements, atoms)
    neighbours = list_neighbours(atoms, student.cutoff)
    expected = student.potential.evaluate_pairs(species, *neighbours)
    calls: dict[str, Callable[[], object]] = {
        "numba": lambda: student.potential.evaluate_pairs(species, *neighbours)
    }
    found: dict[str, Any] = {}
    for precision in ("double", "mixed"):
        engine = CEngine(library, file, precision)
        call, told = engine.prepared(species, *neighbours)
        call(1)
        found[f"C++, {precision}"] = {
            "force_difference": float(np.abs(told().forces - expected.forces).max())
        }
        calls[f"C++, {precision}"] = lambda call=call: call(1)
    if find_spec("ace_jax") is not None:
        student.save(folder / "student.npz")
        calls["ace-jax's C++ kernel"] = _ace_jax(folder / "student.npz", student, atoms)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(1e6 * (time.process_time() - start) / len(atoms))
    for name, measured in times.items():
        found.setdefault(name, {})
        found[name] |= {"least": min(measured), "median": float(np.median(measured))}
    return {
        "atoms": len(atoms),
        "neighbours": len(neighbours.neighbour) / len(atoms),
        "instructions": engine.instructions,
        "times": found,
    }


def _ace_jax(path: Path, student: Student, atoms: Atoms) -> Callable[[], object]:
    """The kernel that ace-jax compiles for LAMMPS; it knows no periodic images."""
    import jax
    import jax.numpy as jnp
    from ace_jax.eval import ffi, lean, load

    jax.config.update("jax_enable_x64", True)
    loaded = load(str(path))
    model = lean(loaded[0] if isinstance(loaded, tuple) else loaded, radial_table=True)
    ffi.register(ffi.library())
    kinds = len(student.elements)
    _, forces = ffi.lammps_fns(model, kinds, list(range(kinds)), student.cutoff)
    first, neighbour, _ = list_neighbours(atoms, student.cutoff)
    counts = np.diff(first)
    centre = np.repeat(np.arange(len(atoms)), counts)
    table = np.zeros((int(counts.max()), len(atoms)), np.int32)
    table[np.arange(len(neighbour)) - first[centre], centre] = neighbour
    graph = Graph(jnp.asarray(table), jnp.asarray(counts.astype(np.int32)))
    species = jnp.asarray(species_indices(student.elements, atoms), jnp.int32)
    compiled = jax.jit(lambda positions: forces(positions, species, graph))
    positions = jnp.asarray(atoms.positions)
    return lambda: compiled(positions).block_until_ready()


class Graph(NamedTuple):
    """Neighbours as ace-jax takes them: (most neighbours, atoms) and (atoms,)."""

    neighbors: Any
    num_neighbors: Any


def lammps(folder: Path, executable: Path, student: Student, atoms: Atoms) -> dict[str, Any]:
    """µs an atom and step of LAMMPS' loop: one and two ranks, and mixed."""
    from ase.io import write

    write(
        folder / "atoms.data", atoms, format="lammps-data", specorder=["Cu", "H"],
        atom_style="atomic",
    )  # fmt: skip
    (folder / "student.ace").write_bytes(lammps_bytes(lammps_arrays(student)))
    steps = max(10, 40_000 // len(atoms))
    row: dict[str, Any] = {"atoms": len(atoms), "steps": steps}
    script = folder / "in.lammps"
    for label, style, ranks in (
        ("one rank", "", 1),
        ("two ranks", "", 2),
        ("one rank, mixed", "precision mixed", 1),
    ):
        script.write_text(INPUT.format(folder=folder, steps=steps, style=style))
        found = [_loop(executable, script, ranks, folder / "student.ace") for _ in range(3)]
        row[label] = 1e6 * min(seconds for seconds, _ in found) / steps / len(atoms)
        row[f"{label}, pair"] = 1e6 * min(pair for _, pair in found) / steps / len(atoms)
    return row


def _loop(executable: Path, script: Path, ranks: int, file: Path) -> tuple[float, float]:
    """Seconds of LAMMPS' loop and of the pair style within it."""
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMP_NUM_THREADS": "1",
        "DISTILL_STUDENT": str(file),
    }
    command = ["mpirun", "-n", str(ranks), str(executable), "-in", str(script), "-log", "none"]
    text = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
    loop = re.search(r"Loop time of (\S+)", text)
    pair = re.search(r"^Pair\s*\|\s*\S+\s*\|\s*(\S+)", text, re.MULTILINE)
    assert loop and pair, text
    return float(loop[1]), float(pair[1])


def _cases(student: Student, silicon: bool) -> list[tuple[str, Student, Atoms]]:
    cases = [("published basis, Cu and H", student, cluster("Cu", 3.62, 6, 28))]
    if silicon:
        cases.append(("Si, order 4, degree 20", silicon_student(), cluster("Si", 5.43, 4)))
    return cases


def _tables(result: dict[str, Any]) -> str:
    lines = ["# The C++ engine and LAMMPS", ""]
    for label, found in result["engines"].items():
        lines += [
            f"## {label}: {found['atoms']} atoms, {found['neighbours']:.0f} neighbours an atom",
            "",
            f"Processor time of one thread, neighbour list apart; {found['instructions']}.",
            "",
            "| engine | µs/atom, least | median | numba takes, times | forces differ, eV/Å |",
            "|---|---|---|---|---|",
        ]
        numba = found["times"]["numba"]
        for name, row in found["times"].items():
            differ = row.get("force_difference")
            lines.append(
                f"| {name} | {row['least']:.2f} | {row['median']:.2f} | "
                f"{numba['median'] / row['median']:.2f} | "
                f"{'' if differ is None else f'{differ:.1e}'} |"
            )
        lines.append("")
    if result["lammps"]:
        columns = ["one rank", "one rank, pair", "two ranks", "one rank, mixed"]
        lines += [
            "## LAMMPS, velocity Verlet, µs an atom and step",
            "",
            f"| atoms | {' | '.join(columns)} | one rank over two |",
            "|---|" + "---|" * (len(columns) + 1),
        ]
        for row in result["lammps"]:
            cells = [f"{row[name]:.2f}" if name in row else "" for name in columns]
            gain = row["one rank"] / row["two ranks"]
            lines.append(f"| {row['atoms']} | {' | '.join(cells)} | {gain:.2f} |")
        lines.append("")
    lines.append(f"Load of the machine ({os.cpu_count()} cores) in the end: {result['load']:.1f}.")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--largest", type=int, default=110_000, help="atoms of the largest system")
    parser.add_argument("--silicon", action="store_true", help="Si, order 4, degree 20, as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
