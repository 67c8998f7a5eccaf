"""Molecular dynamics of given structures at lists of temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.artifacts import read_json, write_json
from distill.config import MdConfig
from distill.sampling.endpoints import read_structure
from distill.sampling.models import ModelSpec, cached_calculator
from distill.sampling.streams import stream
from distill.structures import CONFIG_TYPE_KEY, read_structures, set_labels, write_structures
from distill.workloads.defects import with_defect

CONFIG_TYPE = "md"
# Relaxation times of the Martyna-Tobias-Klein thermostat and barostat, in steps.
_THERMOSTAT_STEPS, _BAROSTAT_STEPS = 100, 1000


@dataclass(frozen=True)
class MdUnit:
    """One run at one temperature: `NAME.xyz` with labelled structures, `NAME.json` how it went."""

    model: ModelSpec
    config: MdConfig
    temperature: float
    name: str
    seed: int
    folder: Path

    @property
    def summary_path(self) -> Path:
        """File that is there when the run is done."""
        return self.folder / f"{self.name}.json"

    @property
    def finished(self) -> bool:
        """Whether the run is done."""
        return self.summary_path.exists()

    def summary(self) -> dict[str, Any]:
        """Name, temperature (K), outcome (`complete` or `blown_up`), reason, time (fs), calls."""
        return read_json(self.summary_path)

    def structures(self) -> list[Atoms]:
        """The finished run's structures; none of a run that blew up."""
        path = self.folder / f"{self.name}.xyz"
        return read_structures(path) if path.exists() else []

    def run(self) -> None:
        """Run the dynamics and write its files."""
        structures, summary = _follow(self)
        folder = self.folder / "set_aside" if summary["reason"] else self.folder
        if structures:
            write_structures(folder / f"{self.name}.xyz", structures)
        # Written last: a run is done when its summary is there.
        write_json(self.summary_path, summary)


def starting_structure(config: MdConfig) -> Atoms:
    """The structure of a config, repeated, with its defect.

    Raises
    ------
    UserError
        If the file is missing or unreadable, or cannot hold the defect.
    """
    atoms = read_structure(config.structure, config.index).repeat(config.supercell)
    return with_defect(atoms, config.defect, config.defect_element)


def md_units(
    configs: Sequence[MdConfig], *, model: ModelSpec, out: Path, seed: int
) -> list[MdUnit]:
    """Every run of a list of configs, one for each temperature.

    Parameters
    ----------
    configs
        Structures, ensembles and temperatures.
    model
        What `distill.calculators.load_calculator` takes.
    out
        Where the runs' files go.
    seed
        The run's seed.
    """
    return [
        MdUnit(model, config, temperature, f"md_{number:02d}_{temperature:g}K", seed, out)
        for number, config in enumerate(configs)
        for temperature in config.temperatures
    ]


def _follow(unit: MdUnit) -> tuple[list[Atoms], dict[str, Any]]:
    """The labelled structures of a run, and how it went."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    config = unit.config
    generator = stream(unit.seed, "md", unit.name)
    atoms = starting_structure(config)
    atoms.calc = cached_calculator(unit.model)
    # From a structure at rest half the kinetic energy turns into potential energy.
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * unit.temperature, rng=generator)
    dynamics = _dynamics(atoms, config, unit.temperature, generator)
    every = max(round(config.save_every / config.time_step), 1)
    first = round(config.equilibration_time / config.time_step)
    structures: list[Atoms] = []
    reason = ""
    for _ in dynamics.irun(first + round(config.time / config.time_step)):
        temperature = atoms.get_temperature()
        # Written so that NaN, which compares false, counts as blown up.
        if not temperature <= config.max_temperature:
            reason = f"temperature of {temperature:.3g} K"
            break
        step = dynamics.nsteps
        if step >= first and (step - first) % every == 0:
            structures.append(_labelled(atoms, unit, step))
    return structures, {
        "name": unit.name,
        "structure": config.structure,
        "temperature_K": unit.temperature,
        "ensemble": config.ensemble,
        "outcome": "blown_up" if reason else "complete",
        "reason": reason,
        "time_fs": dynamics.nsteps * config.time_step,
        "calls": int(dynamics.nsteps) + 1,
        "structures": len(structures),
    }


def _dynamics(
    atoms: Atoms, config: MdConfig, temperature: float, generator: np.random.Generator
) -> Any:
    time_step = config.time_step * units.fs
    if config.ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, time_step)
    if config.ensemble == "nvt":
        from ase.md.langevin import Langevin

        return Langevin(
            atoms,
            time_step,
            temperature_K=temperature,
            friction=config.friction / units.fs,
            fixcm=False,
            rng=generator,
        )
    from ase.md.nose_hoover_chain import IsotropicMTKNPT

    return IsotropicMTKNPT(
        atoms,
        time_step,
        temperature_K=temperature,
        pressure_au=config.pressure,
        tdamp=_THERMOSTAT_STEPS * time_step,
        pdamp=_BAROSTAT_STEPS * time_step,
    )


def _labelled(atoms: Atoms, unit: MdUnit, step: int) -> Atoms:
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = {
        CONFIG_TYPE_KEY: CONFIG_TYPE,
        "trajectory": unit.name,
        "step": step,
        "time_fs": round(step * unit.config.time_step, 6),
        "temperature_K": unit.temperature,
    }
    calculator = atoms.calc
    assert isinstance(calculator, Calculator)
    stress = None
    if atoms.pbc.all() and "stress" in calculator.implemented_properties:
        stress = atoms.get_stress(apply_constraint=False)
    return set_labels(
        copy,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(apply_constraint=False),
        stress=stress,
    )
