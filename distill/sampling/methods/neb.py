"""Minimum energy paths as a way of sampling: structures along climbing-image bands."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.work import Unit
from distill.sampling.method import Sampler, SamplingMethod, Visited
from distill.simulation.config import NebConfig
from distill.simulation.neb_endpoints import refuse_path
from distill.simulation.neb_units import KeptUnit, path_units


class MinimumEnergyPaths(SamplingMethod):
    """One path for each entry; structures along it are kept without a selection."""

    Config = NebConfig
    selects = False

    def refuse(self, configs: Sequence[NebConfig]) -> None:
        """Refuse end points between which there is no path."""
        for config in configs:
            refuse_path(config)

    def units(self, configs: Sequence[NebConfig], sampler: Sampler) -> list[Unit]:
        """A unit for each path, and what is kept of it."""
        out = sampler.work.path / "neb"
        paths = path_units(configs, model=sampler.model, out=out)
        return [KeptUnit(out / "kept", path.name, path) for path in paths]

    def collect(self, units: Sequence[KeptUnit]) -> Visited:
        """The structures along every path."""
        paths = [unit.path.summary() for unit in units]
        for path, unit in zip(paths, units, strict=True):
            path["calls"] += unit.numbers()["calls"]
        return Visited(
            paths=[atoms for unit in units for atoms in unit.structures()],
            calls={"neb": sum(path["calls"] for path in paths)},
            summary={"paths": paths},
        )
