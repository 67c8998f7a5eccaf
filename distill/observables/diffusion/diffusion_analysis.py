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
from distill.observables.diffusion.jumps import jump_statistics, jumps_of, van_hove
from distill.observables.diffusion.kinisi_check import kinisi_diffusivity
from distill.observables.diffusion.result import (
    DiffusionAt,
    DiffusionDifference,
    FitWindow,
    LogRatio,
    Measured,
    ModelDiffusion,
    RunReport,
)
from distill.observables.diffusion.window import Window, choose_window
from distill.systems.defects import nearest_neighbour_distance

if TYPE_CHECKING:
    from ase import Atoms

    from distill.observables.diffusion.config import DiffusionConfig
    from distill.observables.diffusion.diffusion_runs import Run, Trajectory

_FS_PER_NS = 1e6
# Jumps are seen in positions averaged over this part of the least first lag.
_AVERAGES = 4
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


@dataclass(frozen=True)
class _Good:
    """Runs of one model at one temperature that were not left out.

    Attributes
    ----------
    first
        Any of them; None where every run was left out.
    tracks
        Displacements of the element's atoms, Å.
    reports
        Of all runs.
    """

    first: Run | None
    tracks: list[np.ndarray]
    reports: list[RunReport]
    wall_time: float
    simulated: float


def analyse(
    config: DiffusionConfig,
    runs: Mapping[str, Sequence[Run]],
    *,
    lattice_scales: Mapping[str, float],
    seed: int,
) -> dict[str, Analysis]:
    """Diffusivities and Arrhenius fits from the finished runs of every model, by its name.

    Runs that blew up or melted are left out, and the result says why. All models are fitted over
    the same lags at a temperature.

    Parameters
    ----------
    config
        What the runs were made with, and the fit.
    runs
        By model, all temperatures.
    lattice_scales
        Of the models' crystals, for the result.
    seed
        Of the bootstrap.
    """
    results: dict[str, list[DiffusionAt]] = {role: [] for role in runs}
    found: dict[str, dict[float, Diffusivity | None]] = {role: {} for role in runs}
    wall_time, simulated = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0.0)
    for temperature in config.temperatures:
        good = {role: _good_runs(config, of, temperature) for role, of in runs.items()}
        window = _window(config, good)
        for role, of_role in good.items():
            number, result = _at_temperature(config, temperature, role, of_role, window, seed)
            found[role][temperature] = number
            results[role].append(result)
            wall_time[role] += of_role.wall_time
            simulated[role] += of_role.simulated
    analysed = {}
    for role in runs:
        fit, reason = _arrhenius(found[role], config.confidence)
        speed = simulated[role] / _FS_PER_NS / wall_time[role] * _SECONDS_PER_DAY
        of_model = ModelDiffusion(
            lattice_scale=lattice_scales[role],
            temperatures=results[role],
            arrhenius=fit and fit.summary(),
            arrhenius_reason=reason,
            nanoseconds_per_day=speed,
        )
        analysed[role] = Analysis(found[role], fit, of_model)
    return analysed


def _arrhenius(
    found: Mapping[float, Diffusivity | None], confidence: float
) -> tuple[Arrhenius | None, str]:
    """The fit to the diffusivities to rely on, and why there is none or a temperature is not in."""
    numbers = {t: d for t, d in found.items() if d is not None and d.value is not None}
    usable = {t: d for t, d in numbers.items() if not d.disagreement}
    left_out = [t for t in numbers if t not in usable]
    reason = ""
    if left_out:
        named = ", ".join(f"{t:g} K" for t in left_out)
        reason = f"not fitted at {named}: jumps remember each other within the fit window"
    if len(usable) < 2:
        few = f"{len(usable)} of {len(found)} temperatures gave a diffusivity, two are needed"
        return None, f"{few}; {reason}" if reason else few
    values = [d.value for d in usable.values() if d.value is not None]
    samples = [d.samples for d in usable.values()]
    return fit_arrhenius(list(usable), values, samples, confidence=confidence), reason


def _good_runs(config: DiffusionConfig, runs: Sequence[Run], temperature: float) -> _Good:
    tracks, reports, first = [], [], None
    wall_time = simulated = 0.0
    for run in (r for r in runs if r.temperature == temperature):
        trajectory = run.trajectory()
        problem = trajectory.problem or _melted(config, run, trajectory)
        reports.append(_run_report(run, trajectory, problem))
        wall_time += trajectory.wall_time
        simulated += trajectory.simulated or trajectory.calls * config.time_step
        if problem:
            say(f"diffusion: {run.name} is left out: {problem}")
        else:
            first = first or run
            mobile = _mobile(config, run.start)
            tracks.append(displacements_in_framework(trajectory.positions, mobile))
    return _Good(first, tracks, reports, wall_time, simulated)


def _window(config: DiffusionConfig, good: Mapping[str, _Good]) -> Window | None:
    """The window of all models at a temperature; None where every run was left out."""
    starts = [of.first.start for of in good.values() if of.first]
    if not starts:
        return None
    return choose_window(
        [of.tracks for of in good.values() if of.tracks],
        config.save_every,
        fit_start=config.fit_start,
        fit_end=config.fit_end,
        defects=number_of_defects(config, starts[0]),
        jump_length=jump_length(config, starts[0]),
    )


def _at_temperature(
    config: DiffusionConfig,
    temperature: float,
    role: str,
    good: _Good,
    window: Window | None,
    seed: int,
) -> tuple[Diffusivity | None, DiffusionAt]:
    if good.first is None or window is None:
        return None, DiffusionAt(
            temperature=temperature,
            diffusivity=None,
            collective=None,
            kinisi=None,
            runs=good.reports,
        )
    tracks, interval, confidence = good.tracks, config.save_every, config.confidence
    defects = number_of_defects(config, good.first.start)
    length = jump_length(config, good.first.start)
    by_counting: dict[Counting, Diffusivity] = {
        counting: diffusivity(
            tracks,
            interval,
            defects=defects,
            jump_length=length,
            fit_start=window.start,
            fit_end=window.end,
            counting=counting,
            confidence=confidence,
            generator=stream(seed, "bootstrap", role, temperature),
        )
        for counting in get_args(Counting)
    }
    tracer, collective = by_counting["tracer"], by_counting["collective"]
    average = config.fit_start / _AVERAGES
    jumps = [jumps_of(t, interval, average=average, jump_length=length) for t in tracks]
    kinisi = None
    if tracer.value is not None:
        kinisi = kinisi_diffusivity(
            tracks, interval, tracer.lags, defects=defects, confidence=confidence, seed=seed
        )
    chosen = by_counting[config.counting]
    if chosen.disagreement:
        say(f"diffusion: {role}, {temperature:g} K: {chosen.disagreement}")
    return chosen, DiffusionAt(
        temperature=temperature,
        diffusivity=chosen.summary(),
        collective=collective.summary(),
        kinisi=kinisi,
        runs=good.reports,
        window=FitWindow(
            start=window.start,
            end=window.end,
            residence_time=window.residence_time,
            early=window.early,
        ),
        jumps=jump_statistics(jumps, defects=defects, confidence=confidence),
        haven_ratio=_haven_ratio(tracer, collective, confidence),
        van_hove=van_hove(tracks, interval, _three(tracer.lags), length),
    )


def _three(lags: np.ndarray) -> list[float]:
    """The first, a middle one and the last."""
    return [float(lags[k]) for k in (0, len(lags) // 2, -1)]


def _haven_ratio(
    tracer: Diffusivity, collective: Diffusivity, confidence: float
) -> Measured | None:
    """Both have the same bootstrap draws, so that their ratio knows what they have in common."""
    if not tracer.value or not collective.value:
        return None
    return Measured(
        value=tracer.value / collective.value,
        interval=percentile_interval(tracer.samples / collective.samples, confidence),
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
