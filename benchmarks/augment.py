"""Trees of partly relaxed children against dynamics, at equal calls of the teacher.

    python benchmarks/augment.py [--calls 400] [--seeds 3]

Two systems: copper with EMT (32 atoms) and LiF with the bundled foundation model (64 atoms). Each
way of sampling gets the same number of calls, and a student is fitted to what it labelled: every
structure of the trees; every tenth step of dynamics, half of them at each of two temperatures. The
test set is dynamics of its own at both temperatures. Writes benchmarks/results/augment.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

import distill
from distill.core.artifacts import write_text
from distill.core.work import WorkFolder
from distill.data.structures import write_structures
from distill.sampling.method import Sampler
from distill.sampling.methods.augment import Augment, AugmentConfig

TEMPERATURES = (300.0, 900.0)
EQUILIBRATION, SAVE_EVERY = 100.0, 10.0
RESULTS = Path(__file__).parent / "results" / "augment.md"


def systems() -> dict[str, tuple[Atoms, object]]:
    from distill.models.mace.adapter import load_model
    from distill.models.mace.family import Mace
    from distill.models.mace.foundation_store import find_foundation

    lif = bulk("LiF", "rocksalt", a=4.03, cubic=True) * (2, 2, 2)
    mace = Mace.of_module(load_model(find_foundation("bundled")), dtype="float32")
    return {
        "Cu, 32 atoms": (bulk("Cu", cubic=True) * 2, "ase.calculators.emt:EMT"),
        "LiF, 64 atoms": (lif, mace),
    }


def dynamics(atoms: Atoms, model: object, temperature: float, time: float, seed: int) -> list:
    options = {"equilibration_time": EQUILIBRATION, "save_every": SAVE_EVERY, "seed": seed}
    return distill.sample_md(atoms, model, temperature=temperature, time=time, **options)


def trees(atoms: Atoms, model: object, calls: int, seed: int) -> tuple[list[Atoms], int]:
    """Structures of a tree that takes the calls, and how many it took."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "start.xyz"
        write_structures(file, [atoms])
        children = calls
        while True:
            config = AugmentConfig(
                structures=str(file), children=children, temperature=TEMPERATURES[-1]
            )
            folder = WorkFolder(Path(scratch) / str(children), seed)
            (unit,) = Augment().units([config], Sampler(model, folder))
            unit.run()
            used = unit.numbers()["calls"]
            if used <= calls:
                return unit.structures(), used
            children = int(children * calls / used) - 1


def force_rmse(structures: list[Atoms], test: list[Atoms]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        student = distill.fit_student(structures, order=3, totaldegree=(12, 10, 8), rcut=5.0)
        forces = distill.evaluate(student, test).forces
    assert forces is not None
    return 1000 * forces.rmse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = [
        f"`python benchmarks/augment.py --calls {arguments.calls} --seeds {arguments.seeds}`",
        "",
        "Force RMSE of the student against its teacher on dynamics of 300 and 900 K, meV/Å: mean "
        "and range over seeds.",
        "",
        "| system | structures, trees | trees | structures, dynamics | dynamics |",
        "|---|---|---|---|---|",
    ]
    for name, (atoms, model) in systems().items():
        test = [a for t in TEMPERATURES for a in dynamics(atoms, model, t, 400.0, 100)]
        found: dict[str, list[float]] = {"trees": [], "dynamics": []}
        sizes = {}
        for seed in range(1, arguments.seeds + 1):
            tree, _ = trees(atoms, model, arguments.calls, seed)
            time = arguments.calls / 2 - EQUILIBRATION
            run = [a for t in TEMPERATURES for a in dynamics(atoms, model, t, time, seed)]
            for way, structures in (("trees", tree), ("dynamics", run)):
                found[way].append(force_rmse(structures, test))
                sizes[way] = len(structures)
        cells = [name]
        for way, errors in found.items():
            spread = f"{np.mean(errors):.1f} ({min(errors):.1f} to {max(errors):.1f})"
            cells += [str(sizes[way]), spread]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    write_text(RESULTS, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
