"""Lattice constants of slabs at the temperatures of their surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.models.cached_calculators import ModelSpec
from distill.simulation.conditions import places
from distill.simulation.config import ScatteringConfig
from distill.simulation.constant_pressure import lattice_constant_at
from distill.systems.config import SlabConfig
from distill.systems.slabs import expanded


@dataclass(frozen=True)
class _LatticeUnit(Unit):
    """Measure the lattice constant at a temperature by dynamics at constant pressure."""

    model: ModelSpec
    config: SlabConfig
    temperature: float
    lattice_constant: float
    seed: int

    def work(self) -> dict[str, Any]:
        from ase.build import bulk

        assert self.config.npt is not None
        result = lattice_constant_at(
            bulk(self.config.element, "fcc", a=self.lattice_constant, cubic=True),
            self.model,
            self.temperature,
            config=self.config.npt,
            generator=stream(self.seed, "lattice constant", self.temperature),
            parts=self.parts,
        )
        if result["status"] != "complete":
            raise UserError(
                f"slab.npt: the lattice constant at {self.temperature:g} K could not be measured: "
                f"{result['reason']}; check the model, or give slab.thermal_expansion"
            )
        return result


def lattice_constants(
    config: ScatteringConfig, a: float, model: ModelSpec, work: WorkFolder
) -> dict[float, float]:
    """Lattice constant (Å) at each surface temperature (K): expanded from 0 K, or measured."""
    slab, temperatures = config.slab, dict.fromkeys(t for _, t in places(config))
    if slab.npt is None:
        return {t: expanded(slab, a, t) for t in temperatures}
    units = [
        _LatticeUnit(work.path, lattice_name(t), model, slab, t, a, work.seed)
        for t in temperatures
        if t > 0
    ]
    work.run(units, "lattice constants")
    measured = {unit.temperature: unit.numbers() for unit in units}
    for temperature, result in measured.items():
        low, high = result["interval"]
        say(
            f"lattice constant at {temperature:g} K: {result['lattice_constant']:.4f} Å "
            f"({low:.4f} to {high:.4f})"
        )
    return {0.0: a, **{t: result["lattice_constant"] for t, result in measured.items()}}


def lattice_name(temperature: float) -> str:
    """File name stem of the lattice constant at a temperature (K)."""
    return f"lattice_{temperature:g}K"
