"""Time per call of several models on the same pinned core, in turn, so that ratios hold.

The measurement runs in a fresh process (`python -m distill.compare.timing`), whose thread counts
and core are set before any numerical library loads. A call is what a molecular dynamics step asks
for: new positions, then the energy, or energy and forces, through the ASE calculator, neighbour
list included.
"""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.artifacts import package_versions, read_json, write_json
from distill.compare.numbers import number_text
from distill.config import CalculatorConfig
from distill.errors import UserError
from distill.parallel import THREAD_VARIABLES

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

QUANTITIES = ("energy", "forces")
_DISPLACEMENT = 0.01
_POSITIONS = 16
_LEAST_SAMPLE_S = 0.05
_MOST_CALLS = 500
_WARM_UP_CALLS = 2
_BUSY_PERCENT = 20.0
_SCALING_REPEATS = 5
_US_PER_MS = 1e3
_SECONDS_PER_DAY = 86400.0
_NS_PER_FS = 1e-6


def time_models(
    models: Mapping[str, str | os.PathLike[str] | CalculatorConfig],
    atoms: Atoms,
    repeats: int = 15,
    *,
    time_step: float = 0.1,
    supercells: Sequence[tuple[int, int, int]] = (),
    cores: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure every model on the same structure and core; the first is what ratios refer to.

    Parameters
    ----------
    models
        What `load_calculator` takes, by name.
    atoms
        The structure; its positions are displaced by 0.01 Å at random for every call.
    repeats
        Rounds. In each, every model is timed once for energies and once for forces, over as many
        calls as the slowest model's single one takes, for 0.05 s at least.
    time_step
        fs, for ns per day.
    supercells
        Repetitions of `atoms` for the scaling with size, at 5 rounds each.
    cores
        Cores to pin to, and threads to use.
    seed
        Of the displacements.

    Returns
    -------
    dict
        `atoms`, `repeats`, `time_step_fs`, `machine`, and `models`, which holds for each name
        `energy_ms` and `forces_ms` (each `median`, `q1`, `q3`, `min`, `calls`), `us_per_atom`,
        `ns_per_day`, `load_s`, `first_call_s` (compilation included), `speedup_energy` and
        `speedup_forces` (each `median`, `interval`). `scaling` lists the same for each supercell.
        A speed-up is the median over rounds of time(first) / time(model); its 95 % interval comes
        from order statistics (Conover, Practical Nonparametric Statistics, 1999, sec. 3.2), or is
        the whole range below 6 rounds.

    Raises
    ------
    UserError
        If there is no model, or one cannot be loaded or evaluated on the structure.
    """
    if not models:
        raise UserError("timing needs at least one model")
    from distill.structures import write_structures

    with tempfile.TemporaryDirectory(prefix="distill-timing-") as name:
        folder = Path(name)
        bare = atoms.copy()
        bare.set_constraint()
        write_structures(folder / "structure.xyz", [bare])
        request = {
            "models": {name: _plain_spec(spec) for name, spec in models.items()},
            "repeats": repeats,
            "time_step": time_step,
            "supercells": [list(s) for s in supercells],
            "cores": cores,
            "seed": seed,
        }
        write_json(folder / "request.json", request)
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(cores))}
        process = subprocess.run(
            [sys.executable, "-m", "distill.compare.timing", str(folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise UserError(f"timing failed: {lines[-1]}")
        result: dict[str, Any] = read_json(folder / "result.json")
    return result


def timing_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flat rows of a timing result, one for each model and size, for a CSV file."""
    rows = []
    for block in [result, *result["scaling"]]:
        for name, times in block["models"].items():
            low, high = times["speedup_forces"]["interval"]
            rows.append(
                {
                    "model": name,
                    "atoms": block["atoms"],
                    **{
                        f"{quantity}_ms_{key}": times[f"{quantity}_ms"][key]
                        for quantity in QUANTITIES
                        for key in ("median", "q1", "q3", "min")
                    },
                    "us_per_atom": times["us_per_atom"],
                    "ns_per_day": times["ns_per_day"],
                    "speedup_energy": times["speedup_energy"]["median"],
                    "speedup_forces": times["speedup_forces"]["median"],
                    "speedup_forces_low": low,
                    "speedup_forces_high": high,
                }
            )
    return rows


def timing_table_text(result: Mapping[str, Any]) -> str:
    """The result as aligned plain text, what was measured on which machine below it."""
    first = next(iter(result["models"]))
    header = (
        "model",
        "atoms",
        "E [ms]",
        "E and F [ms]",
        "quartiles",
        "µs/atom",
        "ns/day",
        f"times faster than {first}",
    )
    rows = [header]
    for block in [result, *result["scaling"]]:
        for name, times in block["models"].items():
            forces, ratio = times["forces_ms"], times["speedup_forces"]
            low, high = map(number_text, ratio["interval"])
            rows.append(
                (
                    name,
                    str(block["atoms"]),
                    number_text(times["energy_ms"]["median"]),
                    number_text(forces["median"]),
                    f"{number_text(forces['q1'])}–{number_text(forces['q3'])}",
                    number_text(times["us_per_atom"]),
                    number_text(times["ns_per_day"]),
                    f"{number_text(ratio['median'])} ({low}–{high})",
                )
            )
    widths = [max(len(row[k]) for row in rows) for k in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", machine_text(result)])


def machine_text(result: Mapping[str, Any]) -> str:
    """One sentence on how and where a result was measured."""
    machine = result["machine"]
    pinned = machine["pinned_cores"]
    where = f"core {', '.join(map(str, pinned))}" if pinned else "an unpinned core"
    busy = machine["busy_percent_before"]
    caution = (
        "The machine was busy, so absolute times are too long and ratios less sure. "
        if busy > _BUSY_PERCENT
        else ""
    )
    return (
        f"Median of {result['repeats']} rounds in which every model takes its turn, on {where} of "
        f"{machine['cpu']} ({machine['cores']} cores, {busy:.0f} % busy when the measurement "
        f"began), {machine['threads']} thread(s). {caution}A call goes through the ASE calculator "
        "with new positions and includes the neighbour list; a MACE calculator computes forces and "
        "stress even when asked for the energy alone. "
        f"ns/day at a time step of {result['time_step_fs']:g} fs."
    )


def median_interval(values: Sequence[float] | np.ndarray) -> list[float]:
    """95 % interval of a median from order statistics; the range for fewer than six values."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    below = int(binom.ppf(0.025, n, 0.5)) if n >= 6 else 0
    below = max(below, 1)
    return [float(ordered[below - 1]), float(ordered[n - below])]


def _plain_spec(spec: str | os.PathLike[str] | CalculatorConfig) -> dict[str, Any]:
    if not isinstance(spec, CalculatorConfig):
        spec = CalculatorConfig(path=os.fspath(spec))
    if Path(spec.path).exists():
        spec = spec.model_copy(update={"path": str(Path(spec.path).resolve())})
    return spec.model_dump()


def _measure(folder: Path) -> None:
    """Body of the measuring process: read the request, measure, write the result."""
    from distill.structures import read_structures

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
        load_s[name] = time.perf_counter() - start
    _limit_torch(request["cores"])
    blocks = []
    for k, supercell in enumerate([[1, 1, 1], *request["supercells"]]):
        repeats = request["repeats"] if k == 0 else _SCALING_REPEATS
        rng = np.random.default_rng(np.random.SeedSequence([request["seed"], k]))
        block = _time_size(calculators, atoms.repeat(supercell), repeats, request["time_step"], rng)
        blocks.append({"supercell": supercell, **block})
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
        "scaling": blocks[1:],
        "repeats": request["repeats"],
        "time_step_fs": request["time_step"],
        "machine": machine,
    }
    write_json(folder / "result.json", result)


def _load_calculator(spec: dict[str, Any]) -> Calculator:
    from distill.calculators import load_calculator

    return load_calculator(CalculatorConfig.model_validate(spec))


def _time_size(
    calculators: Mapping[str, Calculator],
    atoms: Atoms,
    repeats: int,
    time_step: float,
    rng: np.random.Generator,
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
            "ns_per_day": _SECONDS_PER_DAY / (forces_ms / 1e3) * time_step * _NS_PER_FS,
            "first_call_s": first_call_s[name],
            **{f"speedup_{q}": _speedup(samples[first][q], times[q]) for q in QUANTITIES},
        }
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
