"""What the sampling stage costs beside the teacher's calls, and its speed-up on two workers.

    python benchmarks/sampling.py TEACHER.model [--out FOLDER] [--trajectories N]

Overhead: trajectories of H2 on a Cu slab run in this process; processor time in the calculator
against that of everything (surfaces read, dynamics, labels, files). Processor time, because it does
not see what else the machine does. Speed-up: the same trajectories by one worker and by two,
alternately; wall times, with the load of the machine beside them. Prints both and writes
`sampling.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from ase.calculators.calculator import Calculator

from distill.config import ParallelConfig, ScatteringConfig, SlabConfig
from distill.core.artifacts import write_json
from distill.core.work import WorkFolder, run_waiting
from distill.models.cached_calculators import cached_calculator
from distill.sampling.method import Sampler
from distill.sampling.methods.scattering import Scattering, TrajectoryUnit

SEED = 1


def main() -> None:
    """Measure, print and write."""
    arguments = _parse()
    config = ScatteringConfig(
        slab=SlabConfig(size=(2, 2), layers=4, fixed_layers=2, lattice_constant=3.6),
        facets=["111"],
        surface_temperatures=[600.0],
        states=[(0, 1)],
        collision_energies=[0.6],
        trajectories=arguments.trajectories,
        start_height=4.0,
        time_step=0.5,
        max_time=arguments.time,
        thermalisation_time=20.0,
        snapshots=2,
        snapshot_interval=20.0,
        surface_time_step=4.0,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sampler = Sampler(arguments.teacher, WorkFolder(folder, SEED))
        units = cast("list[TrajectoryUnit]", Scattering().units([config], sampler))
        result: dict[str, Any] = {"overhead": overhead(units[:2], arguments.teacher)}
        _forget(folder)
        result["speed_up"] = speed_up(units, folder, arguments.repeats)
    print_result(result)
    write_json(Path(arguments.out) / "sampling.json", result)


def overhead(units: list[TrajectoryUnit], teacher: str) -> dict[str, Any]:
    """Share of the processor time that is not the calculator's, in this process."""
    calculator = cached_calculator(teacher)
    spent = _count_time(calculator)
    before = time.process_time()
    for unit in units:
        unit.run()
    total = time.process_time() - before
    calls = sum(unit.outcome().calls for unit in units)
    del calculator.calculate
    return {
        "calls": calls,
        "total_s": total,
        "calculator_s": spent[0],
        "share": 1 - spent[0] / total,
        "ms_per_call": 1e3 * spent[0] / calls,
    }


def _count_time(calculator: Calculator) -> list[float]:
    """Let a calculator add up its processor time, s, in the one entry of the list returned."""
    spent, inner = [0.0], calculator.calculate

    def calculate(*args: Any, **kwargs: Any) -> None:
        start = time.process_time()
        inner(*args, **kwargs)
        spent[0] += time.process_time() - start

    calculator.calculate = calculate
    return spent


def speed_up(units: list[TrajectoryUnit], folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Wall times of one worker and of two, alternately; both start a process and load the model."""
    rows = []
    for _ in range(repeats):
        for workers in (1, 2):
            _forget(folder)
            load, start = os.getloadavg()[0], time.monotonic()
            # One local worker would run in this process, where the model is loaded already.
            parallel = ParallelConfig(backend="dask", workers=workers)
            run_waiting(units, parallel=parallel, label=f"{workers} workers")
            rows.append(
                {"workers": workers, "wall_s": time.monotonic() - start, "load_before": load}
            )
    return rows


def _forget(folder: Path) -> None:
    shutil.rmtree(folder / "trajectories", ignore_errors=True)


def print_result(result: dict[str, Any]) -> None:
    """Both measurements in words."""
    found = result["overhead"]
    print(
        f"overhead: {found['share']:.2%} of the processor time of {found['calls']} calls of "
        f"{found['ms_per_call']:.1f} ms is not the calculator's"
    )
    for row in result["speed_up"]:
        print(f"{row['workers']} workers: {row['wall_s']:.1f} s, load {row['load_before']:.1f}")
    if not result["speed_up"]:
        return
    best = {
        n: min(row["wall_s"] for row in result["speed_up"] if row["workers"] == n) for n in (1, 2)
    }
    print(f"speed-up of two workers, best times: {best[1] / best[2]:.2f}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", help="MACE .model")
    parser.add_argument("--out", default=Path(__file__).parent / "results")
    parser.add_argument("--trajectories", type=int, default=8)
    parser.add_argument("--time", type=float, default=40.0, help="longest trajectory, fs")
    parser.add_argument("--repeats", type=int, default=3, help="0 leaves the speed-up out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
