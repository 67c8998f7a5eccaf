"""Products as nodes against products by coupled pairs: time of the student's engine in both forms.

    python -P benchmarks/products.py [--out FOLDER] [--rounds N]

Models with random coefficients are evaluated in turn in both forms, on atoms with few neighbours,
so that products take most of the time; least processor time of one thread. Prints a table with the
gain that counted operations say, which the engine's choice rests on, and writes `products.md`.
`-P`, because a script of this folder has the name of a package that Numba looks for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

from distill.core.artifacts import write_text
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


def main() -> None:
    """Measure, print the table and write it."""
    arguments = _parse()
    lines = [
        "# Products as nodes and by coupled pairs",
        "",
        "| basis | nodes, µs/atom | pairs | gain | gain as estimated |",
        "|---|---|---|---|---|",
    ]
    for name, spec in BASES.items():
        basis = build_basis(spec)
        pairs = pair_evaluator_of(basis)
        assert pairs is not None, name
        nodes_time, pairs_time = measure(basis, [all_as_nodes(basis), pairs], arguments.rounds)
        plan = plan_products(basis.coupling.products, pairs.layout.n_one_particle)
        saved = (
            1e-3 * (node_cost(plan) - node_cost(pairs.layout) - pair_cost(pairs.layout.pairs)) / 8
        )
        lines.append(
            f"| {name} | {nodes_time:.2f} | {pairs_time:.2f} | {nodes_time - pairs_time:.2f} | "
            f"{saved:.2f} |"
        )
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    write_text(Path(arguments.out) / "products.md", text + "\n")


def measure(basis: Basis, evaluators: list[Evaluator], rounds: int) -> list[float]:
    """Least processor time of each form in turn, µs an atom."""
    atoms = bulk("Cu", cubic=True, a=5.6).repeat(4)  # 12 to 18 neighbours
    atoms.symbols = np.random.default_rng(0).choice(basis.elements, len(atoms))
    coefficients = np.random.default_rng(1).normal(size=basis.n_functions)
    none = dict.fromkeys(basis.elements, 0.0)
    potentials = [
        Potential(
            basis.elements, basis.cutoff, evaluator.layout,
            fold_weights(basis, coefficients, none, evaluator),
        )
        for evaluator in evaluators
    ]  # fmt: skip
    species = species_indices(basis.elements, atoms)
    neighbours = list_neighbours(atoms, basis.cutoff)
    least = [np.inf] * len(potentials)
    for potential in potentials:
        potential.evaluate_pairs(species, *neighbours)
    for _ in range(rounds):
        for k, potential in enumerate(potentials):
            start = time.thread_time()
            potential.evaluate_pairs(species, *neighbours)
            least[k] = min(least[k], time.thread_time() - start)
    return [1e6 * each / len(atoms) for each in least]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
