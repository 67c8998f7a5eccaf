"""Which uncertainty of a student's forces follows their error, on two bundled systems.

    python -m benchmarks.uncertainty [--system NAME] [--out FOLDER]

A student is fitted to a part of the kinds of structures of a set. Validation structures are of the
same kinds, and scale every candidate but the student's own so that 95 % of their errors lie inside
1.96 deviations; they are what a choice is made on. Test structures are of these kinds too. The
other kinds are out of distribution: the two open facets of copper, and LiF with a vacancy or an
interstitial, whose ratio of elements is another. The bundled structures are drawn one by one, so
that each is a source of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.structures import config_type, read_structures, reference_forces
from distill.metrics.calibration import LEVELS, rank_correlation, rms
from distill.student.config import StudentConfig
from distill.student.engine.assembly import design_rows
from distill.student.fit.fit_result import Fit
from distill.student.fit.native_fit import fit
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

CONFIG = StudentConfig(order=3, totaldegree=[10, 8, 5], rcut=5.5, zbl=False)
# Structures of a set at most, and force rows of each that pointwise optima are taken of.
TRAIN, TESTED, POPS_ROWS = 100, 25, 8
COPPER = ("h2_cu111", "h2_cu100", "cu_slab_111", "cu_slab_100", "cu_bulk", "h2")
CRYSTAL = ("lif_bulk", "lif_strained", "lif_thermal")

# Of a structure: the student's forces and what a candidate expects them to err by, (N,), eV/Å.
Candidate = Callable[[Any], tuple[np.ndarray, np.ndarray]]


def some(structures: list[Any], count: int, rng: np.random.Generator) -> list[Any]:
    """So many of them."""
    return [structures[k] for k in sorted(rng.permutation(len(structures))[:count])]


def of_kinds(structures: list[Any], kinds: tuple[str, ...]) -> list[Any]:
    """Those of these config types, with forces."""
    return [a for a in structures if config_type(a) in kinds and reference_forces(a) is not None]


def sets() -> dict[str, dict[str, list[Any]]]:
    """Structures by system and part."""
    rng = np.random.default_rng(0)
    read = {
        name: read_structures(f"bundled:{name}", require=())
        for name in ("h2cu_train", "h2cu_validation", "h2cu_test", "lif_train", "lif_test")
    }
    facets = ("h2_cu110", "h2_cu211")
    crystal = rng.permutation(np.arange(len(of_kinds(read["lif_train"], CRYSTAL))))
    known = [of_kinds(read["lif_train"], CRYSTAL)[k] for k in crystal]
    return {
        "H2/Cu": {
            "train": some(of_kinds(read["h2cu_train"], COPPER), TRAIN, rng),
            "validation": some(of_kinds(read["h2cu_validation"], COPPER), TESTED, rng),
            "test": some(of_kinds(read["h2cu_test"], COPPER), TESTED, rng),
            "other facets": some(of_kinds(read["h2cu_test"], facets), TESTED, rng),
        },
        "LiF": {
            "train": known[TESTED:],
            "validation": known[:TESTED],
            "test": of_kinds(read["lif_test"], CRYSTAL),
            "vacancy": some(of_kinds(read["lif_train"], ("lif_vacancy",)), TESTED, rng),
            "interstitial": some(of_kinds(read["lif_train"], ("lif_interstitial",)), TESTED, rng),
        },
    }


def pointwise_optima(found: Fit, rng: np.random.Generator) -> np.ndarray:
    """Changes of the coefficients that make single force rows exact, (rows, n_functions)."""
    student, root = found.student, found.posterior_root
    assert root is not None
    changes = []
    for atoms in found.structures:
        design = design_rows(student.basis, atoms, energy=False, virial=False)[1]
        label = reference_forces(atoms)
        if design is None or label is None:
            continue
        rows = rng.permutation(len(design))[:POPS_ROWS]
        spread = design[rows] @ root
        residual = (label - student.evaluate(atoms).forces).ravel()[rows]
        leverage = np.maximum(np.sum(spread**2, axis=1), 1e-30)
        changes.append((residual / leverage)[:, None] * (spread @ root.T))
    return np.concatenate(changes)


def candidates(found: Fit) -> dict[str, Candidate]:
    """Ways to say how large an error is, by name."""
    rng = np.random.default_rng(1)
    student: Student = found.student
    optima = pointwise_optima(found, rng)
    draws = rng.standard_normal((8, len(optima))) @ optima / np.sqrt(len(optima))
    bare = replace(student, errors=None)
    pops = replace(bare, committee=student.coefficients + draws)

    def deviation(model: UncertaintyModel) -> Candidate:
        def expected(atoms: Any) -> tuple[np.ndarray, np.ndarray]:
            mean, known = model.predict(atoms)
            return mean.forces, known.force_errors

        return expected

    def size(atoms: Any) -> tuple[np.ndarray, np.ndarray]:
        forces = student.evaluate(atoms).forces
        return forces, np.sqrt(np.mean(forces**2, axis=1) + 0.02**2)

    return {
        "size of the force": size,
        "posterior, 2 members": deviation(UncertaintyModel(bare)),
        "posterior, 8 members": deviation(UncertaintyModel(bare, 8)),
        "POPS, 2 members": deviation(UncertaintyModel(pops)),
        "POPS, 8 members": deviation(UncertaintyModel(pops, 8)),
        "error model of the student": deviation(UncertaintyModel(student)),
    }


def judged(parts: list[tuple[np.ndarray, np.ndarray]], scale: float) -> dict[str, Any]:
    """Ranks, share inside the 95 % interval and sharpness, of (errors, expected) by structure."""
    errors = np.concatenate([error for error, _ in parts])
    expected = scale * np.concatenate([value for _, value in parts])
    sizes = np.sqrt(np.mean(errors**2, axis=1))
    by_structure = np.array([[rms(error), rms(value)] for error, value in parts])
    return {
        "structures": len(parts),
        "rank_atoms": rank_correlation(sizes, expected),
        "rank_structures": rank_correlation(*by_structure.T),
        "inside_95": float(np.mean(np.abs(errors) <= LEVELS["95"] * expected[:, None])),
        "expected_meV_A": 1e3 * rms(expected),
        "true_meV_A": 1e3 * rms(errors),
    }


def measured(parts: dict[str, list[Any]]) -> tuple[list[dict[str, Any]], tuple[float, float]]:
    """Rows of the table of one system, and the `cost` of uncertainties."""
    found = fit(parts["train"], CONFIG, seed=0)
    rows = []
    for name, candidate in candidates(found).items():
        tables: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for part, structures in parts.items():
            if part != "train":
                pairs = [(candidate(atoms), reference_forces(atoms)) for atoms in structures]
                tables[part] = [(f - label, e) for (f, e), label in pairs if label is not None]
        errors, expected = (np.concatenate(v) for v in zip(*tables["validation"], strict=True))
        scale = float(np.quantile(np.abs(errors) / expected[:, None], 0.95)) / LEVELS["95"]
        if name.startswith("error model"):
            scale = 1.0
        rows += [
            {"candidate": name, "set": part, **judged(table, scale)}
            for part, table in tables.items()
        ]
    return rows, cost(found.student, max(parts["test"], key=len))


def cost(student: Student, atoms: Any) -> tuple[float, float]:
    """Of predictions with deviations, and with expected errors too, in plain ones.

    Best of many calls in turn, on one core.
    """
    atoms = atoms.repeat((2, 2, 1)) if len(atoms) < 100 else atoms
    bare, model = UncertaintyModel(replace(student, errors=None)), UncertaintyModel(student)
    calls: tuple[Callable[[Any], Any], ...] = (student.evaluate, bare.predict, model.predict)
    times: list[list[float]] = [[], [], []]
    for _ in range(80):
        for kept, call in zip(times, calls, strict=True):
            start = time.process_time()
            call(atoms)
            kept.append(time.process_time() - start)
    plain, with_deviations, with_errors = map(min, times)
    return with_deviations / plain, with_errors / plain


def table(system: str, rows: list[dict[str, Any]], ratios: tuple[float, float]) -> str:
    """The rows in Markdown."""
    lines = [
        f"## {system}",
        "",
        f"A prediction with the committee's deviations takes {ratios[0]:.2f} plain ones, one with "
        f"the errors to be expected too {ratios[1]:.2f}.",
        "",
        "| set (structures) | candidate | rank, atoms | rank, structures | inside 95 % "
        "| expected / true error, meV/Å |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: [x["set"] for x in rows].index(r["set"])):
        lines.append(
            f"| {row['set']} ({row['structures']}) | {row['candidate']} "
            f"| {row['rank_atoms']:.2f} | {row['rank_structures']:.2f} "
            f"| {100 * row['inside_95']:.1f} % "
            f"| {row['expected_meV_A']:.1f} / {row['true_meV_A']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--system", help="one system; the results of the other are kept")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for system, parts in sets().items():
        if options.system in (None, system):
            rows, ratios = measured(parts)
            path = options.out / "uncertainty.json"
            results = json.loads(path.read_text()) if path.exists() else {}
            results[system] = {"rows": rows, "cost": ratios}
            path.write_text(json.dumps(results, indent=1) + "\n")
            print(table(system, rows, ratios), flush=True)
    texts = [table(system, *results[system].values()) for system in sorted(results)]
    head = (
        "# Which uncertainty of forces follows the error\n\n`python -m benchmarks.uncertainty`. "
        "Rank: Spearman's correlation with the true error, of the force on an atom and of all "
        "forces of a structure. Candidates are scaled on the validation set, the student's own "
        "error model on what its fit left out.\n\n"
    )
    (options.out / "uncertainty.md").write_text(head + "\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
