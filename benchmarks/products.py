"""Products as nodes against products by coupled pairs: time of the student's engines in both forms.

    python -P benchmarks/products.py [--out FOLDER] [--rounds N]

Models with random coefficients are evaluated in turn in both forms, on atoms with few neighbours,
so that products take most of the time, by the numba engine and, where CMake and a compiler are,
the C++ engine; least processor time of one thread. Prints a table with the gain that counted
operations say, which the choice of the form rests on, and writes `products.md`.
`-P`, because a script of this folder has the name of a package that Numba looks for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from distill.core.artifacts import write_text
from distill.core.errors import UserError
from distill.core.progress import say
from distill.deploy.c_engine import CEngine
from distill.deploy.export.lammps_arrays import lammps_bytes
from distill.deploy.export.lammps_format import arrays_of
from distill.deploy.lammps_build import build_lammps
from distill.student.basis.basis import Basis, BasisSpec, build_basis
from distill.student.engine.evaluate import Potential, species_indices
from distill.student.engine.neighbours import list_neighbours
from distill.student.engine.pair_tables import node_cost, pair_cost
from distill.student.engine.products import plan_products
from distill.student.engine.tables import Evaluator, all_as_nodes, fold_weights, pair_evaluator_of

BASES = {
    "Cu H, order 3, 8 7 6": BasisSpec(("Cu", "H"), 3, (8.0, 7.0, 6.0)),
    "Cu H, order 4, 18 12 10 8": BasisSpec(("Cu", "H"), 4, (18.0, 12.0, 10.0, 8.0)),
    "Cu H O, order 3, 10 9 8": BasisSpec(("Cu", "H", "O"), 3, (10.0, 9.0, 8.0)),
    "Si, order 3, 16": BasisSpec(("Si",), 3, (16.0,) * 3),
    "Si, order 4, 12": BasisSpec(("Si",), 4, (12.0,) * 4),
    "Si, order 4, 16": BasisSpec(("Si",), 4, (16.0,) * 4),
    "Si, order 4, 20": BasisSpec(("Si",), 4, (20.0,) * 4),
    "Si, order 5, 10": BasisSpec(("Si",), 5, (10.0,) * 5, wL=1.0),
}


ENGINES = ("numba", "C++, double", "C++, mixed")


def main() -> None:
    """Measure, print the table and write it."""
    arguments = _parse()
    library = _library()
    measured = ENGINES if library else ENGINES[:1]
    titles = [f"{engine}, {form}" for form in ("nodes", "pairs") for engine in measured]
    titles += ["gain of numba", "gain as estimated"]
    lines = [
        "# Products as nodes and by coupled pairs, µs an atom",
        "",
        f"| basis | {' | '.join(titles)} |",
        "|---" * (1 + len(titles)) + "|",
    ]
    for name, spec in BASES.items():
        basis = build_basis(spec)
        pairs = pair_evaluator_of(basis)
        assert pairs is not None, name
        times = measure(basis, [all_as_nodes(basis), pairs], library, arguments.rounds)
        plan = plan_products(basis.coupling.products, pairs.layout.n_one_particle)
        saved = (
            1e-3 * (node_cost(plan) - node_cost(pairs.layout) - pair_cost(pairs.layout.pairs)) / 8
        )
        numbers = [*times, times[0] - times[len(measured)], saved]
        lines.append(f"| {name} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    write_text(Path(arguments.out) / "products.md", text + "\n")


def _library() -> Path | None:
    try:
        return build_lammps(quiet=True).library
    except UserError as error:
        say(f"without the C++ engine: {error}")
        return None


def measure(
    basis: Basis, evaluators: list[Evaluator], library: Path | None, rounds: int
) -> list[float]:
    """Least processor time of each engine in each form in turn, µs an atom."""
    atoms = bulk("Cu", cubic=True, a=5.6).repeat(4)  # 12 to 18 neighbours
    atoms.symbols = np.random.default_rng(0).choice(basis.elements, len(atoms))
    coefficients = np.random.default_rng(1).normal(size=basis.n_functions)
    none = dict.fromkeys(basis.elements, 0.0)
    calls = [
        call
        for evaluator in evaluators
        for call in _calls(
            Potential(
                basis.elements, basis.cutoff, evaluator.layout,
                fold_weights(basis, coefficients, none, evaluator),
            ),
            atoms,
            library,
        )
    ]  # fmt: skip
    least = [np.inf] * len(calls)
    for call in calls:
        call()
    for _ in range(rounds):
        for k, call in enumerate(calls):
            start = time.thread_time()
            call()
            least[k] = min(least[k], time.thread_time() - start)
    return [1e6 * each / len(atoms) for each in least]


def _calls(
    potential: Potential, atoms: Atoms, library: Path | None
) -> Iterator[Callable[[], object]]:
    """A call of each engine on one thread, the neighbour list apart."""
    species = species_indices(potential.elements, atoms)
    neighbours = list_neighbours(atoms, potential.cutoff)
    yield lambda: potential.evaluate_pairs(species, *neighbours)
    if library is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.ace"
        file.write_bytes(lammps_bytes(arrays_of(potential)))
        for precision in ("double", "mixed"):
            engine = CEngine(library, file, precision)
            call, _ = engine.prepared(species, *neighbours)
            # The engine lives as long as its call.
            yield lambda call=call, engine=engine: call(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
