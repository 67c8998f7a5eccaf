"""The process that measures: pinned to its cores before any numerical library loads.

`distill.compare.timing` starts it as `python -m distill.compare.timing_process FOLDER`; it reads
`request.json` and `structure.xyz` there and writes `result.json`.
"""

from __future__ import annotations

import itertools
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.compare.timing_result import TimingResult
from distill.core.artifacts import package_versions, read_json, write_json
from distill.core.errors import UserError
from distill.core.quantities import SECONDS_PER_DAY
from distill.models.config import CalculatorConfig
from distill.systems.supercells import supercell

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

QUANTITIES = ("energy", "forces")
_DISPLACEMENT = 0.01
_POSITIONS = 16
_LEAST_SAMPLE_S = 0.05
_MOST_CALLS = 500
_WARM_UP_CALLS = 2
_SCALING_REPEATS = 5
_US_PER_MS = 1e3
_NS_PER_FS = 1e-6


def median_interval(values: Sequence[float] | np.ndarray) -> list[float]:
    """95 % interval of a median from order statistics; the range for fewer than six values."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    below = int(binom.ppf(0.025, n, 0.5)) if n >= 6 else 0
    below = max(below, 1)
    return [float(ordered[below - 1]), float(ordered[n - below])]


def _measure(folder: Path) -> None:
    """Body of the measuring process: read the request, measure, write the result."""
    from distill.data.structures import read_structures

    request = read_json(folder / "request.json")
    load_before = _load()
    busy = _busy_cores()
    pinned = _pin(request["cores"], busy)
    _limit_torch(request["cores"])
    atoms = read_structures(folder / "structure.xyz", require=())[0]
    calculators, load_s = {}, {}
    for name, spec in request["models"].items():
        start = time.perf_counter()
        calculators[name] = _load_calculator(spec)
        if hasattr(calculators[name], "threads"):
            # The student's own; torch and numerical libraries go by the environment.
            setattr(calculators[name], "threads", request["cores"])  # noqa: B010
        load_s[name] = time.perf_counter() - start
    _limit_torch(request["cores"])
    blocks = []
    for k, size in enumerate(request["supercells"]):
        repeats = request["repeats"] if k == 0 else min(request["repeats"], _SCALING_REPEATS)
        rng = np.random.default_rng(np.random.SeedSequence([request["seed"], k]))
        sized = supercell(atoms, size)
        block = _time_size(
            calculators, sized, repeats, request["time_step"], rng, request["beside"]
        )
        blocks.append({"supercell": size, **block})
    for name, seconds in load_s.items():
        blocks[0]["models"][name]["load_s"] = seconds
    machine = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "pinned_cores": pinned,
        "threads": request["cores"],
        "busy_percent_before": float(np.mean(busy)),
        "load_before": load_before,
        "load_after": _load(),
        "host": platform.node(),
        "system": platform.platform(),
        "versions": package_versions(),
    }
    result = {
        **blocks[0],
        "version": TimingResult.VERSION,
        "scaling": [{**block, "cores": request["cores"]} for block in blocks[1:]],
        "repeats": request["repeats"],
        "time_step_fs": request["time_step"],
        "beside": request["beside"],
        "machine": machine,
    }
    write_json(folder / "result.json", result)


def _load_calculator(spec: dict[str, Any]) -> Calculator:
    from distill.models.calculators import load_calculator

    return load_calculator(CalculatorConfig.model_validate(spec))


def _time_size(
    calculators: Mapping[str, Calculator],
    atoms: Atoms,
    repeats: int,
    time_step: float,
    rng: np.random.Generator,
    beside: str | None,
) -> dict[str, Any]:
    shape = (_POSITIONS, len(atoms), 3)
    positions = itertools.cycle(atoms.positions + _DISPLACEMENT * rng.standard_normal(shape))
    systems, each, first_call_s = {}, {}, {}
    for name, calculator in calculators.items():
        system = atoms.copy()
        system.calc = calculator
        systems[name] = system
        first_call_s[name] = _seconds(system, positions, "forces", 1)
        _seconds(system, positions, "energy", 1)
        each[name] = _seconds(system, positions, "forces", _WARM_UP_CALLS) / _WARM_UP_CALLS
    # Samples of the same length suffer alike from whatever else the machine does.
    sample = max(_LEAST_SAMPLE_S, *each.values())
    calls = {n: int(np.clip(np.ceil(sample / each[n]), 1, _MOST_CALLS)) for n in each}
    samples: dict[str, dict[str, list[float]]] = {
        name: {quantity: [] for quantity in QUANTITIES} for name in systems
    }
    for _ in range(repeats):
        for name, system in systems.items():
            for quantity in QUANTITIES:
                elapsed = _seconds(system, positions, quantity, calls[name])
                samples[name][quantity].append(1e3 * elapsed / calls[name])
    first = next(iter(samples))
    models = {}
    for name, times in samples.items():
        forces_ms = float(np.median(times["forces"]))
        models[name] = {
            **{f"{q}_ms": {**_spread(times[q]), "calls": calls[name]} for q in QUANTITIES},
            "us_per_atom": forces_ms * _US_PER_MS / len(atoms),
            "ns_per_day": SECONDS_PER_DAY / (forces_ms / 1e3) * time_step * _NS_PER_FS,
            "first_call_s": first_call_s[name],
            **{f"speedup_{q}": _speedup(samples[first][q], times[q]) for q in QUANTITIES},
        }
        if beside is not None:
            ratio = _speedup(samples[beside]["forces"], times["forces"])
            models[name]["speedup_beside"] = ratio
    return {"atoms": len(atoms), "models": models}


def _seconds(system: Atoms, positions: Iterator[np.ndarray], quantity: str, calls: int) -> float:
    """Wall time of a number of calls, each with positions other than those of the call before."""
    start = time.perf_counter()
    for _ in range(calls):
        system.positions = next(positions)
        if quantity == "energy":
            system.get_potential_energy()
        else:
            system.get_forces()
    return time.perf_counter() - start


def _spread(samples: list[float]) -> dict[str, float]:
    q1, median, q3 = np.percentile(samples, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3), "min": min(samples)}


def _speedup(first: list[float], other: list[float]) -> dict[str, Any]:
    ratios = np.array(first) / np.array(other)
    return {"median": float(np.median(ratios)), "interval": median_interval(ratios)}


def _busy_cores() -> list[float]:
    """Share of each core that other processes use just now, %."""
    import psutil

    return list(psutil.cpu_percent(interval=0.5, percpu=True))


def _pin(cores: int, busy: Sequence[float]) -> list[int] | None:
    """Pin this process to its least busy cores; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    chosen = sorted(allowed, key=lambda core: busy[core] if core < len(busy) else 0.0)[:cores]
    os.sched_setaffinity(0, chosen)
    return sorted(chosen)


def _limit_torch(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    try:
        _measure(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
