"""Radial distribution functions of every model: dynamics, averages over blocks, differences.

Frames of a run are correlated, so intervals rest on means over blocks of time that are long enough
to be independent. Two finite histograms of the same distribution differ, too: what that adds to
their divergence is found from the blocks and taken off as the noise floor. Runs of two models are
pairs, and so are their blocks.
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
from distill.metrics.autocorrelation import block_length, block_means
from distill.metrics.divergence import jensen_shannon_divergence
from distill.metrics.jackknife import jackknife
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import STUDENT, baseline
from distill.observables.rdf.config import RdfConfig
from distill.observables.rdf.pair_distances import (
    Pair,
    coordination_within,
    distance_counts,
    first_minimum,
    pairs_of,
    radial_distribution,
    require_pairs,
    running_coordination,
)
from distill.observables.rdf.result import (
    ModelRdf,
    PairCurve,
    PairDifference,
    RdfResult,
    TemperatureRdf,
)
from distill.simulation.trajectory import (
    TrajectoryUnit,
    good_runs,
    moved_by_engine,
    run_trajectories,
    trajectory_start,
    trajectory_units,
)

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
# Bins between the radii whose running coordination numbers say how long blocks have to be.
_STRIDE = 4


def run_rdf(config: RdfConfig, models: Mapping[str, ModelSpec], work: WorkFolder) -> RdfResult:
    """Radial distribution functions and coordination numbers of every model.

    Parameters
    ----------
    config
        Structure, dynamics, pairs and bins.
    models
        What `distill.models.calculators.load_calculator` takes, by name.
    work
        Folder of the runs by model, seed, and where they run.

    Raises
    ------
    UserError
        As `checked_pairs`, or if no model has two good runs at a temperature.
    """
    system = System(config, trajectory_start(config))
    moved = moved_by_engine(config, models, work, student=STUDENT, where="compare.rdf")
    runs = trajectory_units(config, moved, work, ensemble="nvt", quantity="positions")
    run_trajectories(runs, work, "rdf")
    return RdfResult(
        structure=system.atoms.get_chemical_formula(),
        distances=(0.5 * (system.edges[1:] + system.edges[:-1])).tolist(),
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


def checked_pairs(config: RdfConfig, atoms: Atoms) -> list[Pair]:
    """The pairs of elements that a config asks for.

    Raises
    ------
    UserError
        If the structure is not periodic in all directions or lacks an element, or a radius is
        beyond `r_max` or of no pair.
    """
    if not atoms.pbc.all():
        raise UserError(
            f"compare.rdf.structure: pbc is {atoms.pbc.tolist()}, expected a structure periodic in "
            "all directions: the mean density of a slab or a molecule depends on its vacuum, and "
            "g(r) with it"
        )
    pairs = pairs_of(atoms.get_chemical_symbols())
    if config.pairs is not None:
        pairs = [_symbols(name) for name in config.pairs]
        require_pairs(atoms, pairs, "compare.rdf.pairs")
    names = [pair_name(pair) for pair in pairs]
    for name, radius in config.coordination_radii.items():
        if name not in names:
            raise UserError(
                f"compare.rdf.coordination_radii: '{name}' is none of the pairs, which are "
                f"{', '.join(names)}"
            )
        if radius > config.r_max:
            raise UserError(
                f"compare.rdf.coordination_radii: {name} has {radius:g} Å, expected at most r_max, "
                f"{config.r_max:g} Å"
            )
    return pairs


@dataclass(frozen=True)
class System:
    """The structure of a config, its pairs of elements and the bins."""

    config: RdfConfig
    atoms: Atoms

    @cached_property
    def pairs(self) -> list[Pair]:
        """Of elements."""
        return checked_pairs(self.config, self.atoms)

    @cached_property
    def edges(self) -> Array:
        """Of the bins, Å."""
        return np.linspace(0.0, self.config.r_max, self.config.bins + 1)

    @cached_property
    def centres(self) -> list[int]:
        """Atoms of the first element of each pair."""
        symbols = self.atoms.get_chemical_symbols()
        return [symbols.count(first) for first, _ in self.pairs]

    def g(self, counts: Array) -> Array:
        """Radial distribution functions of mean counts, (pairs, bins)."""
        symbols, volume = self.atoms.get_chemical_symbols(), self.atoms.get_volume()
        return np.array(
            [
                radial_distribution(of_pair, self.edges, centres, symbols.count(second), volume)
                for of_pair, centres, (_, second) in zip(
                    counts, self.centres, self.pairs, strict=True
                )
            ]
        )

    def coordination(self, counts: Array, radii: Array) -> Array:
        """Coordination numbers within radii (Å) from mean counts, (pairs,)."""
        return np.array(
            [
                coordination_within(of_pair, self.edges, centres, radius)
                for of_pair, centres, radius in zip(counts, self.centres, radii, strict=True)
            ]
        )


def _at_temperature(
    system: System, temperature: float, units: Mapping[str, list[TrajectoryUnit]]
) -> TemperatureRdf:
    good = {name: good_runs(of_model) for name, of_model in units.items()}
    counts = {
        name: {
            number: distance_counts(system.atoms, unit.frames(), system.pairs, system.edges)
            for number, unit in of_model.items()
        }
        for name, of_model in good.items()
        if len(of_model) > 1
    }
    if not counts:
        raise UserError(
            f"compare.rdf: at {temperature:g} K no model has two good runs; see why they were left "
            "out above, and try a shorter time_step"
        )
    length = max(_block_length(of_model) for of_model in counts.values())
    first = baseline(counts)
    mean = np.mean([_mean(of_run) for of_run in counts[first].values()], axis=0)
    radii = radii_within(system, mean)
    leader = baseline(units)
    return TemperatureRdf(
        temperature=temperature,
        block_time=length * system.config.frame_interval,
        radii={pair_name(pair): radius for pair, radius in zip(system.pairs, radii, strict=True)},
        models={
            name: _model(system, counts[name], good[name], length, radii)
            if name in counts
            else None
            for name in units
        },
        differences={
            name: _differences(system, counts[leader], counts[name], length, radii)
            for name in counts
            if name != leader and len(_common(counts.get(leader, {}), counts[name])) > 1
        },
    )


_Counts = Mapping[int, NDArray[np.int64]]


def _mean(counts: NDArray[np.int64]) -> Array:
    return np.asarray(counts.mean(axis=0))


def _common(first: _Counts, second: _Counts) -> list[int]:
    return sorted(first.keys() & second.keys())


def _block_length(counts: _Counts) -> int:
    """Frames in a block, by the slowest of the running coordination numbers."""
    running = running_coordination(np.array(list(counts.values()), dtype=float), 1)
    return block_length(running[..., _STRIDE - 1 :: _STRIDE])


def _blocks(counts: _Counts, numbers: list[int], length: int) -> Array:
    return block_means(np.array([counts[number] for number in numbers]), length)


def radii_within(system: System, counts: Array) -> Array:
    """Within which neighbours are counted, (pairs,), Å: as given, or by mean counts."""
    given = system.config.coordination_radii
    return np.array(
        [
            given.get(pair_name(pair)) or first_minimum(g, system.edges)
            for pair, g in zip(system.pairs, system.g(counts), strict=True)
        ]
    )


def _model(
    system: System,
    counts: _Counts,
    units: Mapping[int, TrajectoryUnit],
    length: int,
    radii: Array,
) -> ModelRdf:
    blocks = _blocks(counts, sorted(counts), length)
    confidence = system.config.confidence
    g = jackknife(system.g, blocks)
    g_ends = np.stack(g.interval(confidence), axis=-1)
    coordination = jackknife(lambda mean: system.coordination(mean, radii), blocks)
    ends = coordination.intervals(confidence)
    running = [
        running_coordination(of_pair, centres)
        for of_pair, centres in zip(blocks.mean(axis=0), system.centres, strict=True)
    ]
    return ModelRdf(
        pairs={
            pair_name(pair): PairCurve(
                g=g.value[k].tolist(),
                g_interval=[(low, high) for low, high in g_ends[k].tolist()],
                running=running[k].tolist(),
                coordination=float(coordination.corrected[k]),
                coordination_interval=ends[k],
            )
            for k, pair in enumerate(system.pairs)
        },
        mean_temperature=float(np.mean([unit.mean_temperature() for unit in units.values()])),
        blocks=len(blocks),
        runs=len(units),
    )


def _differences(
    system: System, leader: _Counts, other: _Counts, length: int, radii: Array
) -> dict[str, PairDifference]:
    """Of a model to the baseline, from the blocks of the runs that are good by both."""
    numbers = _common(leader, other)
    pair = _blocks(leader, numbers, length), _blocks(other, numbers, length)
    confidence = system.config.confidence
    divergence = jackknife(jensen_shannon_divergence, *pair)
    excess_ends = divergence.intervals(confidence)
    difference = jackknife(
        lambda first, second: (
            system.coordination(second, radii) - system.coordination(first, radii)
        ),
        *pair,
    )
    ends = difference.intervals(confidence)
    return {
        pair_name(elements): PairDifference(
            divergence=float(divergence.value[k]),
            noise_floor=float(divergence.bias[k]),
            excess=float(divergence.corrected[k]),
            excess_interval=excess_ends[k],
            coordination=float(difference.corrected[k]),
            coordination_interval=ends[k],
        )
        for k, elements in enumerate(system.pairs)
    }


def pair_name(pair: Pair) -> str:
    """Such as Li-F."""
    return "-".join(pair)


def _symbols(name: str) -> Pair:
    first, _, second = name.partition("-")
    return first, second
