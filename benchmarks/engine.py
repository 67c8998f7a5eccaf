"""The student's engine: time per call against other evaluators, and how it scales.

    python benchmarks/engine.py [--out FOLDER] [--repeats N] [--largest ATOMS]

The student has the published basis (order 4, degrees 18 12 10 8, Cu and H, cutoff 6 Å: 2176
functions) with random coefficients, which cost what fitted ones do; so does the MACE of the
MP-small architecture with random weights. Where ace-jax is installed, it evaluates the very
student file; evaluators that are not installed are left out. Models are compared by the clock, in
turn on one core; what runs on one thread is measured in processor time, which other programs hardly
change; only the two threads need an idle machine. Prints tables and writes `engine.json` and
`engine.md`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.md.verlet import VelocityVerlet

from distill.compare.timing import time_models, timing_table_text
from distill.config import CalculatorConfig
from distill.core.artifacts import write_json, write_text
from distill.simulation.dynamics import velocity_verlet
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.engine.assembly import design_rows
from distill.student.engine.evaluate import species_indices
from distill.student.engine.neighbours import list_neighbours
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

FIRST_CALL = """
import time
start = time.perf_counter()
from ase.io import read
from distill.student.student_model import Student
Student.load({student!r}).predict(read({structure!r}))
print(time.perf_counter() - start)
"""


def main() -> None:
    """Measure, print the tables and write them."""
    arguments = _parse()
    out = Path(arguments.out)
    student, slab = published_student(), hydrogen_on_copper()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        student.save(folder / "student.npz")
        slab.write(folder / "slab.xyz")
        result: dict[str, Any] = {
            "functions": student.basis.n_functions,
            "calculators": _against_others(folder, slab, arguments.repeats),
            "first_call_s": _first_call(folder),
        }
    result["parts_ms"] = parts(student, slab, arguments.repeats)
    result["uncertainty_ms"] = uncertainty(student, slab, arguments.repeats)
    result["scaling"] = scaling(student, arguments.largest)
    result["molecular_dynamics"] = [
        row for atoms in (slab, slab.repeat(3)) for row in dynamics(student, atoms)
    ]
    result["load"] = os.getloadavg()[0]
    text = _tables(result)
    print(text)
    write_json(out / "engine.json", result)
    write_text(out / "engine.md", text + "\n")


def published_student() -> Student:
    """The published basis with random coefficients."""
    basis = build_basis(BasisSpec(("Cu", "H"), 4, (18.0, 12.0, 10.0, 8.0), rcut=6.0))
    generator = np.random.default_rng(0)
    coefficients = 1e-3 * generator.normal(size=basis.n_functions) / (1 + basis.gamma(1.0))
    return Student(basis=basis, coefficients=coefficients, e0={"Cu": 0.0, "H": 0.0})


def hydrogen_on_copper() -> Atoms:
    """54 Cu atoms in six layers and H2 above them, slightly displaced."""
    slab = fcc111("Cu", (3, 3, 6), vacuum=8.0, periodic=True)
    x, y, z = slab.positions[-1]
    slab += Atoms("H2", [[x, y, z + 2.0], [x + 0.75, y, z + 2.0]])
    slab.rattle(0.05, seed=0)
    return Atoms(slab.symbols, slab.positions, cell=slab.cell, pbc=True)


def mp_small() -> Any:
    """A MACE of the MP-small architecture with random weights, for Cu and H among 89 elements."""
    import torch
    from mace import modules  # before e3nn, which it lets load its constants

    from e3nn import o3  # isort: skip

    torch.set_default_dtype(torch.float64)
    numbers = list(range(1, 90))
    return modules.ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps("128x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=60.0,
        atomic_numbers=numbers,
        correlation=3,
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def parts(student: Student, atoms: Atoms, repeats: int) -> dict[str, float]:
    """What a call consists of, ms: medians on one thread."""
    species = species_indices(student.elements, atoms)
    neighbours = list_neighbours(atoms, student.cutoff)
    basis, potential = student.basis, student.potential
    return {
        "neighbour list": _median(lambda: list_neighbours(atoms, student.cutoff), 10 * repeats),
        "energy, forces, virial": _median(
            lambda: potential.evaluate_pairs(species, *neighbours), 10 * repeats
        ),
        "site basis": _median(lambda: student.descriptors(atoms), repeats),
        "design rows with forces and virial": _median(lambda: design_rows(basis, atoms), repeats),
    }


def uncertainty(student: Student, atoms: Atoms, repeats: int) -> dict[str, float]:
    """A prediction without and with uncertainties from 32 members, ms, in turn on one thread."""
    generator = np.random.default_rng(1)
    scatter = 1e-2 * generator.normal(size=(32, len(student.coefficients)))
    student = replace(student, committee=student.coefficients * (1 + scatter))
    model = UncertaintyModel(student)
    return _in_turn(
        {
            "prediction": lambda: student.predict(atoms),
            "with deviations of energy, energies, forces": lambda: model.predict(atoms),
        },
        10 * repeats,
    )


def scaling(student: Student, largest: int) -> list[dict[str, Any]]:
    """Time per atom by size, on one thread and two, with the neighbour list apart.

    `us_per_atom` is processor time; one thread and two are compared by the clock, least of many.
    """
    rows = []
    for repeat in (3, 5, 8, 14, 20, 30):
        atoms = bulk("Cu", cubic=True).repeat(repeat)
        atoms.rattle(0.05, seed=0)
        if len(atoms) > largest:
            break
        species = species_indices(student.elements, atoms)
        start = time.perf_counter()
        neighbours = list_neighbours(atoms, student.cutoff)
        search = time.perf_counter() - start
        repeats = max(3, 20_000 // len(atoms))

        def evaluate(threads: int, neighbours: Any = neighbours, species: Any = species) -> None:
            student.potential.evaluate_pairs(species, *neighbours, threads)

        one, two = (_least(lambda t=t: evaluate(t), repeats) for t in (1, 2))
        alone = _median(lambda: evaluate(1), repeats)
        rows.append(
            {
                "atoms": len(atoms),
                "neighbours_per_atom": len(neighbours.neighbour) / len(atoms),
                "us_per_atom": 1e3 * alone / len(atoms),
                "us_per_atom_one_thread": 1e3 * one / len(atoms),
                "us_per_atom_two_threads": 1e3 * two / len(atoms),
                "two_threads_times_one": one / two,
                "neighbour_list_us_per_atom": 1e6 * search / len(atoms),
            }
        )
    return rows


def dynamics(student: Student, atoms: Atoms) -> list[dict[str, Any]]:
    """Share of a velocity Verlet step that is not the evaluation itself, in ASE and compiled.

    The atoms move as copper does at 300 K, and the neighbour list is searched as often; they are
    given the mass of a heavy element, so that they go straight whatever the random student says.
    """
    atoms = atoms.copy()
    speed = 2e-3  # Å/fs: the root mean square of a component for Cu at 300 K
    atoms.set_masses([1e6] * len(atoms))
    generator = np.random.default_rng(2)
    atoms.set_velocities(speed * generator.normal(size=(len(atoms), 3)) / units.fs)
    species = species_indices(student.elements, atoms)
    neighbours = list_neighbours(atoms, student.cutoff)
    potential = student.potential
    moving = atoms.copy()
    moving.calc = student.calculator()
    in_ase = VelocityVerlet(moving, 0.5 * units.fs)
    compiled = velocity_verlet(atoms, student.calculator(), 0.5)
    steps = 32

    def evaluate() -> None:
        for _ in range(steps):
            potential.evaluate_pairs(species, *neighbours)

    times = _in_turn(
        {
            "evaluation": evaluate,
            "ASE": lambda: in_ase.run(steps),
            "distill": lambda: list(islice(compiled, steps)),
        },
        max(5, 2000 // len(atoms)),
    )
    alone = times["evaluation"] / steps
    return [
        {
            "driver": driver,
            "atoms": len(atoms),
            "step_ms": times[driver] / steps,
            "evaluation_ms": alone,
            "rest": times[driver] / steps / alone - 1,
        }
        for driver in ("ASE", "distill")
    ]


def _against_others(folder: Path, slab: Atoms, repeats: int) -> dict[str, Any]:
    student = str(folder / "student.npz")
    models: dict[str, CalculatorConfig] = {}
    if find_spec("mace") is not None:
        models |= _mp_small_calculators(folder)
    models["student"] = CalculatorConfig(path=student)
    if find_spec("ace_jax") is not None:
        os.environ["JAX_ENABLE_X64"] = "1"
        models["ace-jax, the same file"] = CalculatorConfig(
            path="ace_jax.calc:ACECalculator", args={"model": student}
        )
    return time_models(models, slab, repeats=repeats)


def _mp_small_calculators(folder: Path) -> dict[str, CalculatorConfig]:
    import warnings

    import torch

    warnings.filterwarnings("ignore", message=".*TorchScript type system.*")
    path = str(folder / "mp_small.model")
    torch.save(mp_small(), path)
    return {
        f"MACE, MP-small architecture, {dtype}": CalculatorConfig(
            path="mace.calculators:MACECalculator",
            args={"model_paths": path, "device": "cpu", "default_dtype": dtype},
        )
        for dtype in ("float64", "float32")
    }


def _first_call(folder: Path) -> dict[str, float]:
    """Seconds of a fresh process from import to the first prediction."""
    code = FIRST_CALL.format(
        student=str(folder / "student.npz"), structure=str(folder / "slab.xyz")
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "compiled")}
    seconds = []
    for _ in range(3):
        output = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(float(output.stdout))
    return {"compiling": seconds[0], "compiled before": min(seconds[1:])}


def _least(function: Callable[[], object], repeats: int) -> float:
    """Least time of a call, ms."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def _median(function: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call on one thread, ms."""
    return _in_turn({"": function}, repeats)[""]


def _in_turn(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor times of calls on one thread, ms, one after the other in many rounds."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.thread_time()
            function()
            times[name].append(time.thread_time() - start)
    return {name: 1e3 * float(np.median(found)) for name, found in times.items()}


def _tables(result: dict[str, Any]) -> str:
    lines = [
        "# The student's engine",
        "",
        f"Order 4, degrees 18 12 10 8, Cu and H, cutoff 6 Å: {result['functions']} functions. "
        "54 Cu atoms and H2.",
        "",
        "## One call",
        "",
        "```",
        timing_table_text(result["calculators"]),
        "```",
        "",
        "## What a call consists of (one thread, processor time)",
        "",
        "| part | ms |",
        "|---|---|",
        *(f"| {name} | {value:.3g} |" for name, value in result["parts_ms"].items()),
        "",
        "## Size and threads (bulk Cu, neighbour list apart)",
        "",
        "Processor time on one thread, then the least times by the clock on one and two.",
        "",
        "| atoms | µs/atom | one thread | two threads | gain | neighbour list µs/atom |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['atoms']} | {r['us_per_atom']:.2f} | {r['us_per_atom_one_thread']:.2f} | "
            f"{r['us_per_atom_two_threads']:.2f} | {r['two_threads_times_one']:.2f} | "
            f"{r['neighbour_list_us_per_atom']:.2f} |"
            for r in result["scaling"]
        ),
        "",
        "## Uncertainties from 32 members (one thread, processor time)",
        "",
        "| call | ms | times a prediction |",
        "|---|---|---|",
        *(
            f"| {name} | {value:.3g} | {value / result['uncertainty_ms']['prediction']:.2f} |"
            for name, value in result["uncertainty_ms"].items()
        ),
        "",
        "## Velocity Verlet dynamics (one thread, processor time)",
        "",
        "Steps in ASE, and compiled ones looked at one by one; neighbour searches included.",
        "",
        "| driver | atoms | step ms | evaluation ms | all else |",
        "|---|---|---|---|---|",
        *(
            f"| {r['driver']} | {r['atoms']} | {r['step_ms']:.3g} | {r['evaluation_ms']:.3g} | "
            f"{r['rest']:.0%} |"
            for r in result["molecular_dynamics"]
        ),
        "",
        f"First call in a fresh process: {result['first_call_s']['compiling']:.1f} s when the "
        f"kernels are compiled, {result['first_call_s']['compiled before']:.1f} s afterwards.",
        f"Load of the machine (2 cores) in the end: {result['load']:.1f}.",
    ]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path(__file__).parent / "results")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--largest", type=int, default=110_000, help="atoms of the largest system")
    return parser.parse_args()


if __name__ == "__main__":
    main()
