"""From the runs of every model to diffusivities, Arrhenius fits and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.progress import say
from distill.core.random_streams import stream
from distill.metrics.statistics import percentile_interval
from distill.observables.diffusion.arrhenius import (
    Arrhenius,
    activation_energy_difference,
    fit_arrhenius,
)
from distill.observables.diffusion.diffusivity import (
    Diffusivity,
    diffusivity,
    displacements_in_framework,
)
from distill.observables.diffusion.kinisi_check import kinisi_diffusivity
from distill.observables.model_comparison import baseline
from distill.systems.defects import nearest_neighbour_distance

if TYPE_CHECKING:
    from ase import Atoms

    from distill.observables.diffusion.config import DiffusionConfig
    from distill.observables.diffusion.diffusion_runs import Run, Trajectory

_FS_PER_NS = 1e6
_SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Analysis:
    """What the runs of one model gave.

    Attributes
    ----------
    diffusivities
        By temperature (K); None where every run was left out.
    arrhenius
        None where fewer than two temperatures gave a diffusivity.
    summary
        JSON-plain: `temperatures`, `arrhenius`, `arrhenius_reason`, `nanoseconds_per_day`.
    """

    diffusivities: dict[float, Diffusivity | None]
    arrhenius: Arrhenius | None
    summary: dict[str, Any]


def number_of_defects(config: DiffusionConfig, start: Atoms) -> int:
    """How many defects a structure counts as."""
    if config.defect != "none":
        return 1
    return config.defects or start.get_chemical_symbols().count(config.element)


def jump_length(config: DiffusionConfig, start: Atoms) -> float:
    """Length of a jump, Å: as given, or the nearest-neighbour distance of the element.

    A single foreign atom has no neighbour of its kind: the commonest element's distance then.
    """
    if config.jump_length:
        return config.jump_length
    symbols = start.get_chemical_symbols()
    few = symbols.count(config.element) == 1
    return nearest_neighbour_distance(
        start, Counter(symbols).most_common(1)[0][0] if few else config.element
    )


def fit_end(config: DiffusionConfig, time: float) -> float:
    """Last lag of the fit for runs of a production time, both in fs."""
    return config.fit_end or max(time / 20, 2 * config.fit_start)


def analyse(config: DiffusionConfig, runs: list[Run], *, seed: int) -> Analysis:
    """Diffusivities and Arrhenius fit from the finished runs of one model.

    Runs that blew up or melted are left out, with the reason in the summary.

    Parameters
    ----------
    config
        What the runs were made with, and the fit.
    runs
        Of one model, all temperatures.
    seed
        Of the bootstrap.
    """
    from distill.observables.diffusion.diffusion_runs import read_trajectory

    rows = []
    found: dict[float, Diffusivity | None] = {}
    wall_time = simulated = 0.0
    for temperature in config.temperatures:
        good, reports = [], []
        for run in (r for r in runs if r.temperature == temperature):
            trajectory = read_trajectory(run)
            problem = trajectory.problem or _melted(config, run, trajectory)
            reports.append(_run_report(run, trajectory, problem))
            wall_time += trajectory.wall_time
            simulated += trajectory.calls * config.time_step
            if problem:
                say(f"diffusion: {run.file.stem} is left out: {problem}")
            else:
                good.append((run, trajectory))
        found[temperature], row = _at_temperature(config, temperature, good, seed)
        rows.append({"temperature": temperature, **row, "runs": reports})
    usable = {t: d for t, d in found.items() if d is not None and d.value is not None}
    fit, reason = None, ""
    if len(usable) > 1:
        values = [d.value for d in usable.values() if d.value is not None]
        samples = [d.samples for d in usable.values()]
        fit = fit_arrhenius(list(usable), values, samples, confidence=config.confidence)
    else:
        reason = f"{len(usable)} of {len(found)} temperatures gave a diffusivity, two are needed"
    summary = {
        "temperatures": rows,
        "arrhenius": None if fit is None else fit.summary(),
        "arrhenius_reason": reason,
        "nanoseconds_per_day": simulated / _FS_PER_NS / wall_time * _SECONDS_PER_DAY,
    }
    return Analysis(found, fit, summary)


def _at_temperature(
    config: DiffusionConfig,
    temperature: float,
    good: list[tuple[Run, Trajectory]],
    seed: int,
) -> tuple[Diffusivity | None, dict[str, Any]]:
    if not good:
        return None, {"value": None, "interval": None, "reason": "every run was left out"}
    start, name = good[0][0].start, good[0][0].name
    mobile = _mobile(config, start)
    tracks = [displacements_in_framework(t.positions, mobile) for _, t in good]
    options: dict[str, Any] = {
        "defects": number_of_defects(config, start),
        "jump_length": jump_length(config, start),
        "fit_start": config.fit_start,
        "fit_end": fit_end(config, good[0][0].time),
        "confidence": config.confidence,
    }
    both = {
        counting: diffusivity(
            tracks,
            config.save_every,
            counting=counting,
            generator=stream(seed, "bootstrap", name, temperature),
            **options,
        )
        for counting in ("tracer", "collective")
    }
    chosen = both[config.counting]
    collective = both["collective"].summary()
    kept = ("value", "interval", "upper_bound", "reason")
    return chosen, {
        **chosen.summary(),
        "collective": {key: collective[key] for key in kept},
        "kinisi": None
        if both["tracer"].value is None
        else kinisi_diffusivity(
            tracks,
            config.save_every,
            both["tracer"].lags,
            defects=number_of_defects(config, start),
            confidence=config.confidence,
            seed=seed,
        ),
    }


def _mobile(config: DiffusionConfig, atoms: Atoms) -> np.ndarray:
    return np.array([symbol == config.element for symbol in atoms.get_chemical_symbols()])


def _melted(config: DiffusionConfig, run: Run, trajectory: Trajectory) -> str:
    """Why a run counts as melted: its framework atoms have left their sites. Empty if not.

    Positions are averaged over the first lag of the fit, in which vibrations cancel. The median
    over atoms does not mind a few that the defect moved (Lindemann, Phys. Z. 11, 609 (1910), with
    shifts in place of vibrations).
    """
    mobile = _mobile(config, run.start)
    framework = ~mobile if not mobile.all() else mobile
    symbols = [s for s, f in zip(run.start.get_chemical_symbols(), framework, strict=True) if f]
    moved = trajectory.positions.astype(float) - trajectory.positions[0]
    moved = moved[:, framework] - moved[:, framework].mean(axis=1, keepdims=True)
    window = max(round(config.fit_start / config.save_every), 1)
    shift = moved[-window:].mean(axis=0) - moved[:window].mean(axis=0)
    spacing = nearest_neighbour_distance(run.start, Counter(symbols).most_common(1)[0][0])
    median = float(np.median(np.linalg.norm(shift, axis=1))) / spacing
    if median > config.melting_displacement:
        return (
            f"melted: half of the framework atoms moved by {median:.2f} nearest-neighbour "
            f"distances or more, above {config.melting_displacement:g}"
        )
    return ""


def _run_report(run: Run, trajectory: Trajectory, problem: str) -> dict[str, Any]:
    return {
        "number": run.number,
        "used": not problem,
        "reason": problem,
        "time": max(len(trajectory.positions) - 1, 0) * run.config.save_every,
        "mean_temperature": float(trajectory.temperatures.mean()) if not problem else None,
        "force_calls": trajectory.calls,
    }


def differences(analysed: Mapping[str, Analysis], confidence: float) -> dict[str, Any]:
    """Differences of every model to the teacher, or to the first model.

    Returns
    -------
    dict
        By model: `to` (the other's name), `arrhenius` (what `activation_energy_difference` gives,
        or None) and `log_diffusivity`, a list with `temperature` (K), `value` and `interval`.
    """
    base = baseline(analysed)
    first = analysed[base]
    found = {}
    for name, second in analysed.items():
        if name == base:
            continue
        energies = None
        if first.arrhenius and second.arrhenius:
            energies = activation_energy_difference(second.arrhenius, first.arrhenius)
        ratios = [
            {"temperature": t, **_log_ratio(second.diffusivities[t], d, confidence)}
            for t, d in first.diffusivities.items()
        ]
        found[name] = {
            "to": base,
            "arrhenius": energies,
            "log_diffusivity": [ratio for ratio in ratios if "value" in ratio],
        }
    return found


def _log_ratio(
    second: Diffusivity | None, first: Diffusivity | None, confidence: float
) -> dict[str, Any]:
    """ln D(second) − ln D(first) with its interval; empty where one of them is only a bound."""
    if second is None or first is None or not second.value or not first.value:
        return {}
    samples = np.log(second.samples) - np.log(first.samples)
    ends = percentile_interval(samples, confidence)
    return {"value": float(np.log(second.value / first.value)), "interval": list(ends)}
