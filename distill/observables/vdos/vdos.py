"""Vibrational densities of states of every model: dynamics, spectra, differences.

Runs start from independent thermal states, and intervals rest on the runs. Runs of two models are
pairs that start from the same random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.metrics.divergence import bhattacharyya_overlap
from distill.metrics.jackknife import jackknife
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import STUDENT, baseline
from distill.observables.vdos.config import FS_THZ, VdosConfig
from distill.observables.vdos.result import (
    ModelVdos,
    PartDensity,
    PartDifference,
    TemperatureVdos,
    VdosResult,
)
from distill.observables.vdos.spectra import (
    density_of_states,
    mean_frequency,
    power_spectra,
    without_drift,
)
from distill.simulation.trajectory import (
    TrajectoryUnit,
    good_runs,
    moved_by_engine,
    run_trajectories,
    trajectory_start,
    trajectory_units,
)
from distill.systems.constraints import mobile_atoms

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
ALL = "all"


def run_vdos(config: VdosConfig, models: Mapping[str, ModelSpec], work: WorkFolder) -> VdosResult:
    """Vibrational densities of states of every model.

    Parameters
    ----------
    config
        Structure, dynamics and resolution.
    models
        What `distill.models.calculators.load_calculator` takes, by name.
    work
        Folder of the runs by model, seed, and where they run.

    Raises
    ------
    UserError
        If there is no such structure, all its atoms are held, or no model has two good runs at a
        temperature.
    """
    start = trajectory_start(config)
    require_vibrations(start)
    system = _System(config, start)
    moved = moved_by_engine(config, models, work, student=STUDENT, where="compare.vdos")
    runs = trajectory_units(config, moved, work, ensemble="nve", quantity="velocities")
    run_trajectories(runs, work, "vdos")
    return VdosResult(
        structure=start.get_chemical_formula(),
        frequencies=system.frequencies.tolist(),
        degrees_of_freedom=degrees_of_freedom(start),
        confidence=config.confidence,
        baseline=baseline(models),
        temperatures=[
            _at_temperature(system, temperature, {name: runs[name, temperature] for name in models})
            for temperature in config.temperatures
        ],
        calls={
            name: sum(
                unit.numbers()["calls"] for t in config.temperatures for unit in runs[name, t]
            )
            for name in models
        },
    )


def degrees_of_freedom(atoms: Atoms) -> int:
    """Three for each atom that moves; where none is held, less three of the motion as a whole."""
    mobile = mobile_atoms(atoms)
    return 3 * int(mobile.sum()) - 3 * bool(mobile.all())


def require_vibrations(atoms: Atoms) -> None:
    """Refuse a structure in which nothing can vibrate.

    Raises
    ------
    UserError
        If all atoms are held, or the only one is free.
    """
    if degrees_of_freedom(atoms) < 1:
        raise UserError(
            "compare.vdos.structure: nothing in it can vibrate: expected two atoms or more, or one "
            "that moves beside atoms that are held"
        )


@dataclass(frozen=True)
class _System:
    """The structure, what moves of it, and the frequencies."""

    config: VdosConfig
    atoms: Atoms

    @cached_property
    def mobile(self) -> NDArray[np.bool_]:
        return mobile_atoms(self.atoms)

    @cached_property
    def frequencies(self) -> Array:
        """THz."""
        segment = self.config.frames_in_segment
        return np.asarray(np.fft.rfftfreq(segment, self.config.frame_interval / FS_THZ), float)

    @cached_property
    def parts(self) -> dict[str, list[int]]:
        """Elements of each part of the density, by their place among all."""
        elements = list(dict.fromkeys(self.atoms.symbols[self.mobile]))
        single = {symbol: [k] for k, symbol in enumerate(elements)} if len(elements) > 1 else {}
        return {ALL: list(range(len(elements))), **single}

    def density(self, unit: TrajectoryUnit) -> Array:
        """Density of states of a run by part, (parts, frequencies)."""
        masses = self.atoms.get_masses()
        velocities = unit.frames().astype(float)
        if self.mobile.all():
            velocities = without_drift(velocities, masses)
        spectra = power_spectra(
            velocities[:, self.mobile],
            masses[self.mobile],
            self.config.frame_interval,
            self.config.frames_in_segment,
        )[1]
        symbols = np.array(self.atoms.symbols[self.mobile])
        by_element = np.array(
            [spectra[symbols == symbol].sum(axis=0) for symbol in dict.fromkeys(symbols)]
        )
        density = density_of_states(by_element, self.frequencies[1], degrees_of_freedom(self.atoms))
        return np.array([density[members].sum(axis=0) for members in self.parts.values()])


def _at_temperature(
    system: _System, temperature: float, units: Mapping[str, list[TrajectoryUnit]]
) -> TemperatureVdos:
    good = {name: good_runs(of_model) for name, of_model in units.items()}
    densities = {
        name: {number: system.density(unit) for number, unit in of_model.items()}
        for name, of_model in good.items()
        if len(of_model) > 1
    }
    if not densities:
        raise UserError(
            f"compare.vdos: at {temperature:g} K no model has two good runs; see why they were "
            "left out above, and try a shorter time_step"
        )
    leader = densities.get(baseline(units), {})
    return TemperatureVdos(
        temperature=temperature,
        models={
            name: _model(system, densities[name], good[name]) if name in densities else None
            for name in units
        },
        differences={
            name: _differences(system, leader, found)
            for name, found in densities.items()
            if name != baseline(units) and len(leader.keys() & found.keys()) > 1
        },
    )


def _model(
    system: _System, densities: Mapping[int, Array], units: Mapping[int, TrajectoryUnit]
) -> ModelVdos:
    runs = np.array(list(densities.values()))
    confidence = system.config.confidence
    density = jackknife(lambda mean: mean, runs)
    ends = np.stack(density.interval(confidence), axis=-1)
    mean = jackknife(lambda mean: mean_frequency(mean, system.frequencies), runs)
    mean_ends = mean.intervals(confidence)
    return ModelVdos(
        parts={
            part: PartDensity(
                density=density.value[k].tolist(),
                density_interval=[(low, high) for low, high in ends[k].tolist()],
                mean_frequency=float(mean.corrected[k]),
                mean_frequency_interval=mean_ends[k],
            )
            for k, part in enumerate(system.parts)
        },
        mean_temperature=float(np.mean([unit.mean_temperature() for unit in units.values()])),
        runs=len(runs),
    )


def _differences(
    system: _System, leader: Mapping[int, Array], other: Mapping[int, Array]
) -> dict[str, PartDifference]:
    """Of a model to the baseline, from the runs that are good by both."""
    numbers = sorted(leader.keys() & other.keys())
    pair = tuple(np.array([of_model[n] for n in numbers]) for of_model in (leader, other))
    confidence = system.config.confidence

    def shift(first: Array, second: Array) -> Array:
        before = mean_frequency(first, system.frequencies)
        return (mean_frequency(second, system.frequencies) - before) / before

    mean = jackknife(shift, *pair)
    overlap = jackknife(bhattacharyya_overlap, *pair)
    mean_ends, overlap_ends = mean.intervals(confidence), overlap.intervals(confidence)
    return {
        part: PartDifference(
            mean_frequency=float(mean.corrected[k]),
            mean_frequency_interval=mean_ends[k],
            overlap=float(overlap.corrected[k]),
            overlap_interval=overlap_ends[k],
        )
        for k, part in enumerate(system.parts)
    }
