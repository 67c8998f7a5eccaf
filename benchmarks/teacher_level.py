"""The teacher's answers from its student and few calls, beside those by the teacher alone.

    python benchmarks/teacher_level.py RUN [--only barriers|dynamics] [--time FS] [--calls N]
    python benchmarks/teacher_level.py --only lattice [--time FS] [--calls N]

RUN is the folder of a finished workflow with barriers in its comparison, such as `make quickstart`.
Barriers: the student's own path, converged with at most N calls, beside the teacher's full band of
the comparison. Dynamics: scatter and drift of the teacher's total energy at constant energy, by
velocity Verlet and with several outer steps, from one structure that the student thermalised.
Lattice constant: of copper by EMT, whose student is EMT with other parameters, by dynamics of the
teacher at constant pressure and by N calls on runs of the student.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.results import read_result
from distill.core.work import WorkFolder
from distill.data.structures import read_structures
from distill.models.cached_calculators import cached_calculator
from distill.observables.barriers.barriers import BarrierConfig
from distill.observables.barriers.observable import Barriers
from distill.observables.barriers.result import BarriersResult
from distill.observables.bulk.bulk import run_bulk
from distill.observables.bulk.config import BulkConfig
from distill.observables.bulk.teacher_level import bulk_teacher_level
from distill.simulation.dynamics import thermalise
from distill.simulation.outer_step import energy_test

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

TEMPERATURE = 600.0


def models_of(run: Path) -> tuple[Path, Path]:
    """Files of the teacher and the student."""
    return run / "teacher" / "teacher.model", run / "student" / "student.npz"


def barriers(run: Path, calls: int) -> list[dict[str, Any]]:
    """Each path of the comparison: full bands, and few calls."""
    options = json.loads((run / "config.json").read_text(encoding="utf-8"))["compare"]["barriers"]
    configs = [BarrierConfig.model_validate(entry) for entry in options]
    full = read_result(run / "compare" / "barriers.json", BarriersResult)
    teacher, student = models_of(run)
    with tempfile.TemporaryDirectory() as folder:
        work = WorkFolder(Path(folder), 1)
        shutil.copytree(run / "compare" / "barriers" / "student", work.path / "student")
        found = Barriers().teacher_level(configs, teacher, student, calls, work)
    rows = []
    for number, (title, profiles) in zip(found, full.paths.items(), strict=True):
        rows.append(
            {
                "what": f"barrier, {title} [eV]",
                "teacher": profiles["teacher"].barrier,
                "calls": profiles["teacher"].calls,
                "student": number.student,
                "few calls": number.value,
                "their number": number.calls,
                "comment": number.comment,
            }
        )
    return rows


def dynamics(run: Path, time: float) -> list[dict[str, Any]]:
    """Conservation of the teacher's energy, one row for each outer step."""
    teacher, student = (cached_calculator(model) for model in models_of(run))
    [path] = (run / "compare" / "barriers" / "student").glob("*.xyz")
    # Away from the saddle, from which the molecule would go either way.
    start = read_structures(path, require=())[0]
    start.set_constraint()
    atoms, _ = thermalise(
        start,
        student,
        TEMPERATURE,
        np.random.default_rng(1),
        time_step=0.5,
        friction=0.02,
        time=500.0,
    )
    rows = []
    for steps in (1, 4, 8, 16):
        found = energy_test(atoms, teacher, student, time_step=0.5, inner_steps=steps, time=time)
        rows.append(
            {
                "outer step [fs]": found.outer_step,
                "calls a ps": round(1000 / found.outer_step),
                "scatter [meV/atom]": 1000 * found.error,
                "drift [meV/atom/ps]": found.drift,
                "its error": found.drift_error,
            }
        )
    return rows


def lattice(time: float, calls: int) -> list[dict[str, Any]]:
    """Of 32 atoms, by both ways, and the student's own."""
    config = BulkConfig(
        formula="Cu",
        elastic=False,
        thermal_expansion={
            "temperatures": [TEMPERATURE],
            "supercell": (2, 2, 2),
            "time": time,
            "equilibration_time": 1000.0,
            "time_step": 5.0,
            "barostat_time": 300.0,
        },
    )
    models = {"teacher": "ase.calculators.emt:EMT", "student": "lattice_toys:other_emt"}
    with tempfile.TemporaryDirectory() as folder:
        work = WorkFolder(Path(folder), 1)
        found = run_bulk(config, models, work)
        few, _ = bulk_teacher_level(config, *models.values(), calls, work)
    rows: list[dict[str, Any]] = []
    for level, by in found.models.items():
        [alone] = by.thermal_expansion
        made = alone.force_calls if level == "teacher" else 0
        rows.append(_row(f"dynamics of the {level}", alone.lattice_constant, alone.interval, made))
    return [*rows, _row(few.form, few.value, few.interval, few.calls)]


def _row(
    way: str, value: float | None, interval: tuple[float, float] | None, calls: int
) -> dict[str, Any]:
    return {
        "lattice constant [Å]": way,
        "found": f"{value:.4f}",
        "interval": " to ".join(f"{end:.4f}" for end in interval or ()),
        "teacher calls": calls,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    names = list(rows[0])
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    lines = [names, ["---"] * len(names), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--only", choices=["barriers", "dynamics", "lattice"])
    parser.add_argument("--time", type=float, default=1000.0, help="of each run of dynamics, fs")
    parser.add_argument("--calls", type=int, default=15, help="of the teacher for a number")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if options.run is None and options.only != "lattice":
        parser.error("the folder of a finished run is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "teacher_level.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if options.only in (None, "barriers"):
        found["barriers"] = barriers(options.run, options.calls)
    if options.only in (None, "dynamics"):
        found["dynamics"] = dynamics(options.run, options.time)
    if options.only == "lattice":
        found["lattice"] = lattice(options.time, options.calls)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = "\n".join(table(rows) for rows in found.values())
    (options.out / "teacher_level.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
