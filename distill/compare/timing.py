"""Time per call of several models on the same pinned core, in turn, so that ratios hold.

The measurement runs in a fresh process, whose thread counts and cores are set before any numerical
library loads. A call is what a molecular dynamics step asks
for: new positions, then the energy, or energy and forces, through the ASE calculator, neighbour
list included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.timing_process import QUANTITIES
from distill.compare.timing_result import Ratio, TimingBlock, TimingResult
from distill.core.artifacts import write_json
from distill.core.errors import UserError
from distill.core.executors import THREAD_VARIABLES, available_cores
from distill.core.number_text import number_text
from distill.core.results import read_result
from distill.models.config import CalculatorConfig
from distill.student.julia.julia_session import kept_warm

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.calculators import ModelSpec

_BUSY_PERCENT = 20.0
_CORE_REPEATS = 5


@kept_warm()
def time_models(
    models: Mapping[str, ModelSpec],
    atoms: Atoms,
    repeats: int = 15,
    *,
    time_step: float = 0.1,
    supercells: Sequence[tuple[int, int, int]] = (),
    cores: int = 1,
    core_counts: Sequence[int] = (),
    beside: str | None = None,
    seed: int = 0,
) -> TimingResult:
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
    core_counts
        Numbers of cores for the scaling with cores, each in a process of its own with as many
        threads, on the largest of `supercells` (or the structure itself), at 5 rounds each.
    beside
        Name of another of the models that ratios refer to as well.
    seed
        Of the displacements.

    Returns
    -------
    TimingResult
        A speed-up is the median over rounds of time(first) / time(model); its 95 % interval comes
        from order statistics (Conover, Practical Nonparametric Statistics, 1999, sec. 3.2), or is
        the whole range below 6 rounds.

    Raises
    ------
    UserError
        If there is no model, or one cannot be loaded or evaluated on the structure, or there are
        fewer cores than asked for.
    """
    if not models:
        raise UserError("timing needs at least one model")
    for count in (cores, *core_counts):
        if not 1 <= count <= available_cores():
            raise UserError(f"timing on {count} cores: only {available_cores()} are available here")
    specs = {name: _plain_spec(spec) for name, spec in models.items()}
    request = {"models": specs, "time_step": time_step, "beside": beside, "seed": seed}
    sizes = [[1, 1, 1], *(list(s) for s in supercells)]
    result = _measured(atoms, {**request, "repeats": repeats, "supercells": sizes, "cores": cores})
    largest = max(sizes, key=lambda size: size[0] * size[1] * size[2])
    on_cores = []
    for count in core_counts:
        settings = {"repeats": _CORE_REPEATS, "supercells": [largest], "cores": count}
        measured = _measured(atoms, {**request, **settings})
        on_cores.append(
            TimingBlock(
                atoms=measured.atoms,
                supercell=measured.supercell,
                models=measured.models,
                cores=count,
                machine=measured.machine,
            )
        )
    return result.model_copy(update={"core_scaling": on_cores})


def _measured(atoms: Atoms, request: Mapping[str, Any]) -> TimingResult:
    """What the measuring process gives for a request."""
    from distill.data.structures import write_structures

    with tempfile.TemporaryDirectory(prefix="distill-timing-") as name:
        folder = Path(name)
        bare = atoms.copy()
        bare.set_constraint()
        write_structures(folder / "structure.xyz", [bare])
        write_json(folder / "request.json", request)
        threads = dict.fromkeys(THREAD_VARIABLES, str(request["cores"]))
        process = subprocess.run(
            [sys.executable, "-m", "distill.compare.timing_process", str(folder)],
            env={**os.environ, **threads},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise UserError(f"timing failed: {lines[-1]}")
        return read_result(folder / "result.json", TimingResult)


def timing_rows(result: TimingResult) -> list[dict[str, Any]]:
    """Flat rows of a timing result, one for each model, size and number of cores, for a CSV."""
    return [
        {
            "model": name,
            "atoms": block.atoms,
            "cores": block.cores,
            **{
                f"{quantity}_ms_{key}": getattr(getattr(times, f"{quantity}_ms"), key)
                for quantity in QUANTITIES
                for key in ("median", "q1", "q3", "min")
            },
            "us_per_atom": times.us_per_atom,
            "ns_per_day": times.ns_per_day,
            "speedup_energy": times.speedup_energy.median,
            "speedup_forces": times.speedup_forces.median,
            "speedup_forces_low": times.speedup_forces.interval[0],
            "speedup_forces_high": times.speedup_forces.interval[1],
            **({"speedup_beside": times.speedup_beside.median} if times.speedup_beside else {}),
        }
        for block in result.blocks()
        for name, times in block.models.items()
    ]


def timing_table_text(result: TimingResult) -> str:
    """The result as aligned plain text, what was measured on which machine below it."""
    from distill.core.tables import aligned

    first = next(iter(result.models))
    header = [
        "atoms",
        "cores",
        "E [ms]",
        "E and F [ms]",
        "quartiles",
        "µs/atom",
        "ns/day",
        *(f"times faster than {name}" for name in (first, result.beside) if name),
    ]
    rows = [("model", header)]
    for block in result.blocks():
        for name, times in block.models.items():
            forces, ratios = times.forces_ms, (times.speedup_forces, times.speedup_beside)
            cells = [
                str(block.atoms),
                str(block.cores),
                number_text(times.energy_ms.median),
                number_text(forces.median),
                f"{number_text(forces.q1)}–{number_text(forces.q3)}",
                number_text(times.us_per_atom),
                number_text(times.ns_per_day),
                *(_ratio_text(ratio) for ratio in ratios if ratio),
            ]
            rows.append((name, cells))
    return "\n".join([aligned(rows), "", machine_text(result)])


def machine_text(result: TimingResult) -> str:
    """One sentence on how and where a result was measured."""
    machine = result.machine
    pinned = machine.pinned_cores
    where = f"core {', '.join(map(str, pinned))}" if pinned else "an unpinned core"
    busy = machine.busy_percent_before
    caution = (
        "The machine was busy, so absolute times are too long and ratios less sure. "
        if busy > _BUSY_PERCENT
        else ""
    )
    return (
        f"Median of {result.repeats} rounds in which every model takes its turn, on {where} of "
        f"{machine.cpu} ({machine.cores} cores, {busy:.0f} % busy when the measurement "
        f"began), {machine.threads} thread(s). {caution}A call goes through the ASE calculator "
        "with new positions and includes the neighbour list; a MACE calculator computes forces and "
        "stress even when asked for the energy alone. "
        f"ns/day at a time step of {result.time_step_fs:g} fs."
    )


def _ratio_text(ratio: Ratio) -> str:
    low, high = map(number_text, ratio.interval)
    return f"{number_text(ratio.median)} ({low}–{high})"


def _plain_spec(spec: ModelSpec) -> dict[str, Any]:
    if not isinstance(spec, (str, os.PathLike, CalculatorConfig)):
        raise UserError(
            f"timing is done in a process of its own: give a file or an import path in place of "
            f"{type(spec).__name__} in memory"
        )
    if not isinstance(spec, CalculatorConfig):
        spec = CalculatorConfig(path=os.fspath(spec))
    if spec.path is not None and Path(spec.path).exists():
        spec = spec.model_copy(update={"path": str(Path(spec.path).resolve())})
    return spec.model_dump()
