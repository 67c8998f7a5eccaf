"""From the runs of every model to diffusivities, Arrhenius fits and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from distill.core.progress import say
from distill.core.random_streams import stream
from distill.metrics.statistics import percentile_interval
from distill.observables.base import baseline
from distill.observables.diffusion.arrhenius import (
    Arrhenius,
    arrhenius_difference,
    fit_arrhenius,
)
from distill.observables.diffusion.diffusivity import (
    Counting,
    Diffusivity,
    diffusivity,
    displacements_in_framework,
)
from distill.observables.diffusion.kinisi_check import kinisi_diffusivity
from distill.observables.diffusion.result import (
    DiffusionAt,
    DiffusionDifference,
    LogRatio,
    ModelDiffusion,
    RunReport,
)
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
    result
        The same without the bootstrap samples.
    """

    diffusivities: dict[float, Diffusivity | None]
    arrhenius: Arrhenius | None
    result: ModelDiffusion


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


def analyse(
    config: DiffusionConfig, runs: Sequence[Run], *, lattice_scale: float, seed: int
) -> Analysis:
    """Diffusivities and Arrhenius fit from the finished runs of one model.

    Runs that blew up or melted are left out, and the result says why.

    Parameters
    ----------
    config
        What the runs were made with, and the fit.
    runs
        Of one model, all temperatures.
    lattice_scale
        Of the model's crystal, for the result.
    seed
        Of the bootstrap.
    """
    results: list[DiffusionAt] = []
    found: dict[float, Diffusivity | None] = {}
    wall_time = simulated = 0.0
    for temperature in config.temperatures:
        good, reports = [], []
        for run in (r for r in runs if r.temperature == temperature):
            trajectory = run.trajectory()
            problem = trajectory.problem or _melted(config, run, trajectory)
            reports.append(_run_report(run, trajectory, problem))
            wall_time += trajectory.wall_time
            simulated += trajectory.calls * config.time_step
            if problem:
                say(f"diffusion: {run.name} is left out: {problem}")
            else:
                good.append((run, trajectory))
        found[temperature], result = _at_temperature(config, temperature, good, reports, seed)
        results.append(result)
    usable = {t: d for t, d in found.items() if d is not None and d.value is not None}
    fit, reason = None, ""
    if len(usable) > 1:
        values = [d.value for d in usable.values() if d.value is not None]
        samples = [d.samples for d in usable.values()]
        fit = fit_arrhenius(list(usable), values, samples, confidence=config.confidence)
    else:
        reason = f"{len(usable)} of {len(found)} temperatures gave a diffusivity, two are needed"
    return Analysis(
        found,
        fit,
        ModelDiffusion(
            lattice_scale=lattice_scale,
            temperatures=results,
            arrhenius=fit and fit.summary(),
            arrhenius_reason=reason,
            nanoseconds_per_day=simulated / _FS_PER_NS / wall_time * _SECONDS_PER_DAY,
        ),
    )


def _at_temperature(
    config: DiffusionConfig,
    temperature: float,
    good: Sequence[tuple[Run, Trajectory]],
    reports: list[RunReport],
    seed: int,
) -> tuple[Diffusivity | None, DiffusionAt]:
    if not good:
        return None, DiffusionAt(
            temperature=temperature, diffusivity=None, collective=None, kinisi=None, runs=reports
        )
    first = good[0][0]
    mobile = _mobile(config, first.start)
    tracks = [displacements_in_framework(t.positions, mobile) for _, t in good]
    defects, length = number_of_defects(config, first.start), jump_length(config, first.start)
    by_counting: dict[Counting, Diffusivity] = {
        counting: diffusivity(
            tracks,
            config.save_every,
            defects=defects,
            jump_length=length,
            fit_start=config.fit_start,
            fit_end=fit_end(config, first.time),
            counting=counting,
            confidence=config.confidence,
            generator=stream(seed, "bootstrap", first.role, temperature),
        )
        for counting in get_args(Counting)
    }
    tracer, chosen = by_counting["tracer"], by_counting[config.counting]
    return chosen, DiffusionAt(
        temperature=temperature,
        diffusivity=chosen.summary(),
        collective=by_counting["collective"].summary(),
        kinisi=None
        if tracer.value is None
        else kinisi_diffusivity(
            tracks,
            config.save_every,
            tracer.lags,
            defects=defects,
            confidence=config.confidence,
            seed=seed,
        ),
        runs=reports,
    )


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


def _run_report(run: Run, trajectory: Trajectory, problem: str) -> RunReport:
    return RunReport(
        number=run.number,
        used=not problem,
        reason=problem,
        time=max(len(trajectory.positions) - 1, 0) * run.config.save_every,
        mean_temperature=None if problem else float(trajectory.temperatures.mean()),
        force_calls=trajectory.calls,
    )


def differences(
    analysed: Mapping[str, Analysis], confidence: float
) -> dict[str, DiffusionDifference]:
    """Differences of every model to the teacher, or to the first model, by its name."""
    base = baseline(analysed)
    first = analysed[base]
    found = {}
    for name, second in analysed.items():
        if name == base:
            continue
        ratios = [
            _log_ratio(t, second.diffusivities[t], d, confidence)
            for t, d in first.diffusivities.items()
        ]
        found[name] = DiffusionDifference(
            to=base,
            arrhenius=arrhenius_difference(second.arrhenius, first.arrhenius)
            if first.arrhenius and second.arrhenius
            else None,
            log_diffusivity=[ratio for ratio in ratios if ratio],
        )
    return found


def _log_ratio(
    temperature: float, second: Diffusivity | None, first: Diffusivity | None, confidence: float
) -> LogRatio | None:
    """ln D(second) − ln D(first) with its interval; None where one of them is only a bound."""
    if second is None or first is None or not second.value or not first.value:
        return None
    samples = np.log(second.samples) - np.log(first.samples)
    return LogRatio(
        temperature=temperature,
        value=float(np.log(second.value / first.value)),
        interval=percentile_interval(samples, confidence),
    )
