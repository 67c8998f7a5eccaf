"""Student-driven sampling against the published protocol: accuracy against teacher calls.

    python benchmarks/driven_sampling.py TEACHER.model --out FOLDER

The protocol scaled down: the teacher runs scattering trajectories of H2 on two facets of Cu, with
the study's time step, and k-means keeps structures. Against it: the student runs them, and the
teacher labels what it is unsure of. Both sets begin with the same structures of the bundled
training set. The same student is fitted to each and tested on teacher trajectories of another seed.
Prints a table and writes `driven_sampling.json`, `driven_sampling.md` and `driven_sampling.png` to
the folder, which keeps all trajectories, so that a second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.config import (
    DrivenConfig,
    ParallelConfig,
    SamplingConfig,
    ScatteringConfig,
    SelectionConfig,
    SlabConfig,
)
from distill.core.artifacts import read_json, write_json, write_text
from distill.core.input_files import resolve_file
from distill.data.structures import read_structures
from distill.metrics.errors import error_table
from distill.sampling.sampling_stage import run
from distill.student.fit.native_fit import fit
from distill.student.student_model import Student
from distill.student.student_stage import predicted_structures

TRAIN = "bundled:h2cu_train"
SEED, TEST_SEED, TEST_STRUCTURES = 1, 2001, 300
# Trajectories of each condition, and structures kept of them.
PROTOCOL = ((1, 100), (1, 250), (2, 250), (2, 500))
SCATTERING = ScatteringConfig(
    slab=SlabConfig(size=(2, 2), layers=4, fixed_layers=2, vacuum=14.0),
    facets=["111", "100"],
    surface_temperatures=[600.0],
    states=[(0, 1), (1, 1)],
    collision_energies=[0.3, 0.6, 0.9],
    start_height=4.0,
    time_step=0.1,
    max_time=300.0,
    thermalisation_time=200.0,
    surface_time_step=4.0,
    snapshots=5,
    snapshot_interval=40.0,
)
STUDENT = DrivenConfig().student


def main() -> None:
    """Sample both ways, fit, test, print and write."""
    arguments = _parse()
    out, parallel = Path(arguments.out), ParallelConfig(workers=arguments.workers)
    teacher, train = Path(arguments.teacher), resolve_file(TRAIN)
    options = {"teacher": teacher, "train": train, "parallel": parallel}
    test = _test_set(out / "test", options)
    driven = SamplingConfig(
        scattering=SCATTERING.model_copy(update={"trajectories": 1}),
        selection=SelectionConfig(held_out=50),
        driven=DrivenConfig(
            rounds=arguments.rounds, labels=arguments.labels, target=0.01, student=STUDENT
        ),
    )
    run(driven, out=out / "driven", seed=SEED, **options)
    points = [*_driven_points(out / "driven", test), *_protocol_points(out, options, test)]
    write_json(out / "driven_sampling.json", points)
    text = _table(points)
    print(text)
    write_text(out / "driven_sampling.md", text + "\n")
    _draw(points, out / "driven_sampling.png")


def _teacher_config(trajectories: int, count: int, held_out: int) -> SamplingConfig:
    return SamplingConfig(
        scattering=SCATTERING.model_copy(update={"trajectories": trajectories}),
        include_training=False,
        selection=SelectionConfig(count=count, held_out=held_out),
    )


def _test_set(out: Path, options: dict[str, Any]) -> list[Atoms]:
    """Structures of the teacher's trajectories of another seed, evenly drawn."""
    path = out / "test_pool.json"
    if not path.exists():
        run(_teacher_config(1, 10, 0), out=out, seed=TEST_SEED, **options)
        write_json(path, sorted(p.name for p in (out / "trajectories").glob("*.xyz")))
    pool = [a for name in read_json(path) for a in read_structures(out / "trajectories" / name)]
    chosen = np.random.default_rng(TEST_SEED).choice(len(pool), TEST_STRUCTURES, replace=False)
    return [pool[index] for index in np.sort(chosen)]


def _driven_points(folder: Path, test: list[Atoms]) -> list[dict[str, Any]]:
    """The errors of each round's student, which has the settings of the others."""
    return [
        _point(
            "driven by the student",
            f"round {entry['round']}",
            entry["teacher_calls"],
            entry["training_structures"],
            Student.load(folder / "driven" / f"round_{entry['round']:02d}" / "student.npz"),
            test,
        )
        for entry in read_json(folder / "sampling.json")["driven"]["rounds"]
    ]


def _protocol_points(out: Path, options: dict[str, Any], test: list[Atoms]) -> list[dict[str, Any]]:
    """The student's errors on k-means selections of growing numbers of teacher trajectories."""
    driven = read_json(out / "driven" / "sampling.json")
    first = driven["teacher_calls"]["seed"]
    seeds = read_structures(out / "driven" / "selected.xyz")[:first]
    points = []
    for trajectories, count in PROTOCOL:
        run(_teacher_config(trajectories, count, 0), out=out / "protocol", seed=SEED, **options)
        calls = read_json(out / "protocol" / "sampling.json")["teacher_calls"]["total"]
        structures = [*seeds, *read_structures(out / "protocol" / "selected.xyz")]
        name = f"{trajectories} trajectories a condition, {count} kept"
        student = fit(structures, STUDENT, seed=SEED).student
        method = f"protocol, {count} kept"
        points.append(_point(method, name, calls + first, len(structures), student, test))
    return points


def _point(
    method: str, name: str, calls: int, structures: int, student: Student, test: list[Atoms]
) -> dict[str, Any]:
    predicted = predicted_structures(student, test, 1)
    table = error_table(test, predicted).model_dump(mode="json")
    print(json.dumps({"method": method, "name": name, "calls": calls}), flush=True)
    return {
        "method": method,
        "name": name,
        "teacher_calls": calls,
        "structures": structures,
        "forces": table["forces"],
        "forces_by_element": table.get("forces_by_element"),
        "energy_per_atom": table["energy_per_atom"],
    }


def _table(points: list[dict[str, Any]]) -> str:
    lines = [
        "| method | set | teacher calls | structures | RMSE F (meV/Å) | H atoms | RMSE E "
        "(meV/atom) |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in points:
        hydrogen = (point["forces_by_element"] or {}).get("H", {}).get("rmse", float("nan"))
        lines.append(
            f"| {point['method']} | {point['name']} | {point['teacher_calls']} | "
            f"{point['structures']} | {1e3 * point['forces']['rmse']:.1f} | {1e3 * hydrogen:.1f} | "
            f"{1e3 * point['energy_per_atom']['rmse']:.2f} |"
        )
    return "\n".join(lines)


def _draw(points: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for method in dict.fromkeys(point["method"] for point in points):
        members = [p for p in points if p["method"] == method]
        calls = [p["teacher_calls"] for p in members]
        errors = [1e3 * p["forces"]["rmse"] for p in members]
        axes.loglog(calls, errors, "o-", label=method)
    axes.set_yticks([20, 30, 50, 100, 150], labels=["20", "30", "50", "100", "150"])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("teacher calls")
    axes.set_ylabel("student's force RMSE on\nteacher trajectories (meV/Å)")
    axes.grid(which="both", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", help="MACE .model")
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--labels", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()
