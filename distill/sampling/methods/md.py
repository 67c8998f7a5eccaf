"""Molecular dynamics of given structures at lists of temperatures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.fingerprint import names_of
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.data.structures import read_structures, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.models.calculators import load_calculator
from distill.sampling.frames import Arrays, Frame, frame_of, stacked, structures_of
from distill.sampling.method import Sampler, SamplingMethod, Visited
from distill.sampling.methods.md_config import STEPS_IN_PART, MdConfig
from distill.simulation.dynamics import Step, langevin, velocity_verlet
from distill.simulation.multiple_time_steps import handed_over
from distill.simulation.outer_step import with_steps_of
from distill.simulation.trust_bound import Trust
from distill.systems.constraints import mobile_atoms, refuse_other_constraints
from distill.systems.defects import with_defect
from distill.systems.named_structures import named_structure
from distill.systems.supercells import supercell

CONFIG_TYPE = "md"
BLOWN_UP, CUT = "blown_up", "cut"
_UNDER_WAY = "under way"
# Relaxation times of the Martyna-Tobias-Klein thermostat and barostat, in steps.
_THERMOSTAT_STEPS, _BAROSTAT_STEPS = 100, 1000
_ENDLESS = 10**12


@dataclass(frozen=True)
class MdUnit(Unit):
    """One run at one temperature: `NAME.xyz` with labelled structures, `NAME.json` how it went.

    The numbers are name, temperature (K), pressure (eV/Å³), outcome (`complete`, `cut` where it
    left the bound of trust, or `blown_up`), reason, time (fs) and calls.
    """

    model: ModelSpec
    config: MdConfig
    temperature: float
    pressure: float
    seed: int
    trust: Trust | None = None

    def settings(self) -> dict[str, Any]:
        """Its model, start and dynamics; not the config's other temperatures and pressures."""
        return {**super().settings(), "config": _shared(self.config), "stream": self.name}

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.xyz"

    def files(self) -> list[Path]:
        """The structures, of a run that did not blow up and left any."""
        return [path for path in [self._path] if path.exists()]

    def structures(self) -> list[Atoms]:
        """The finished run's structures; none of a run that blew up."""
        return read_structures(self._path) if self.files() else []

    def work(self) -> dict[str, Any]:
        """Run the dynamics and write its structures."""
        # The folder's name holds the key: parts of other settings are not gone on with.
        parts = self.folder / f"{self.name}.{self.key[:16]}.parts"
        structures, summary = _follow(self, parts)
        self._path.unlink(missing_ok=True)
        folder = self.folder / "set_aside" if summary["outcome"] == BLOWN_UP else self.folder
        if structures:
            write_structures(folder / self._path.name, structures)
        shutil.rmtree(parts, ignore_errors=True)
        return summary


def _shared(config: MdConfig) -> dict[str, Any]:
    """All but the conditions, each of which is a run, and what a unit's model says."""
    others = {"temperatures", "pressures", "engine", "multiple_time_steps"}
    return {name: getattr(config, name) for name in MdConfig.model_fields if name not in others}


def starting_structure(config: MdConfig) -> Atoms:
    """The structure of a config, repeated, with its defect.

    Raises
    ------
    UserError
        If the file is missing or unreadable, cannot hold the defect, or has constraints other
        than fixed atoms.
    """
    crystal = named_structure(config.structure, config.index)
    refuse_other_constraints(crystal, f"md: {config.structure}")
    return with_defect(supercell(crystal, config.supercell), config.defect, config.defect_element)


def refuse_pressure(config: MdConfig, atoms: Atoms) -> None:
    """Refuse constant pressure where there is none.

    Raises
    ------
    UserError
        For a structure that is not periodic in all directions or holds atoms fixed, or for 0 K.
    """
    if config.ensemble != "npt":
        return
    problem = ""
    if not atoms.pbc.all():
        problem = (
            f"is not periodic in all directions (pbc {atoms.pbc.tolist()}): vacuum has no pressure"
        )
    elif atoms.constraints:
        problem = "has fixed atoms (constraints), which a cell that changes would move"
    elif min(config.temperatures) == 0:
        problem = "is to be kept at 0 K, where the barostat's equations do not hold"
    if problem:
        raise UserError(
            f"md: ensemble npt: {config.structure} {problem}; use nvt, or another structure"
        )


class MolecularDynamics(SamplingMethod):
    """Runs at each temperature and, at constant pressure, each pressure."""

    Config = MdConfig

    def refuse(self, configs: Sequence[MdConfig]) -> None:
        """Refuse a structure that is not there, and constant pressure where there is none."""
        for config in configs:
            refuse_pressure(config, starting_structure(config))

    def units(self, configs: Sequence[MdConfig], sampler: Sampler) -> list[Unit]:
        """Every run of a list of options."""
        units: list[Unit] = []
        work = sampler.work.sub("md")
        for name_of_config, config in zip(names_of(map(_shared, configs)), configs, strict=True):
            refuse_pressure(config, starting_structure(config))
            model = _moved_by_engine(config, sampler, work.sub(f"outer_step_{name_of_config}"))
            for temperature in config.temperatures:
                for pressure in config.pressures:
                    name = f"md_{name_of_config}_{temperature:g}K"
                    if config.ensemble == "npt":
                        name += f"_{pressure:g}eVA3"
                    units.append(
                        MdUnit(
                            work.path,
                            name,
                            model=model,
                            config=config,
                            temperature=temperature,
                            pressure=pressure,
                            seed=work.seed,
                            trust=sampler.trust,
                        )
                    )
        return units

    def collect(self, units: Sequence[MdUnit]) -> Visited:
        """Structures of the runs that did not blow up."""
        runs = [unit.numbers() for unit in units]
        visited = Visited(
            calls={"md": sum(run["calls"] for run in runs)},
            cut=sum(run["outcome"] == CUT for run in runs),
            summary={"md": runs},
        )
        for unit, run in zip(units, runs, strict=True):
            visited.pool += unit.structures()
            if run["outcome"] == BLOWN_UP:
                say(f"molecular dynamics {unit.name} was set aside: {run['reason']}")
            else:
                visited.endings[unit.name] = "md"
        return visited


def _moved_by_engine(config: MdConfig, sampler: Sampler, work: WorkFolder) -> ModelSpec:
    """The model that samples, with the engine of the config; a sampling student has its own."""
    student = config.multiple_time_steps.student
    if config.engine == "teacher" or student is None or sampler.trust is not None:
        return sampler.model
    return with_steps_of(
        "student",
        {"teacher": sampler.model, "student": student},
        work,
        start=starting_structure(config),
        temperatures=config.temperatures,
        time_step=config.time_step,
        steps=config.inner_steps(),
        config=config.multiple_time_steps,
        where="sampling.md",
    )["teacher"]


def _follow(unit: MdUnit, folder: Path) -> tuple[list[Atoms], dict[str, Any]]:
    """The labelled structures of a run, and how it went.

    A run at constant volume is done in parts, each a checkpoint in the folder. A part begins with
    the state that the part before it wrote, a freshly loaded calculator and random numbers of its
    own, so a run that was killed goes on with its part and leaves the same structures.
    """
    parts = [_part(unit, folder, None, 0)]
    while str(parts[-1]["outcome"]) == _UNDER_WAY:
        parts.append(_part(unit, folder, parts[-1], len(parts)))
    start, last = starting_structure(unit.config), parts[-1]
    structures = [_labelled(atoms, unit) for part in parts for atoms in structures_of(part, start)]
    return structures, {
        "name": unit.name,
        "structure": unit.config.structure,
        "temperature_K": unit.temperature,
        "pressure_eV_per_A3": unit.pressure,
        "ensemble": unit.config.ensemble,
        "outcome": str(last["outcome"]),
        "reason": str(last["reason"]),
        "time_fs": int(last["end_step"]) * unit.config.time_step,
        "calls": sum(int(part["calls"]) for part in parts),
        "handed_over": sum(int(part.get("handed_over", 0)) for part in parts),
        "structures": len(structures),
    }


def _part(unit: MdUnit, folder: Path, before: Arrays | None, number: int) -> Arrays:
    """Part of a run, read or computed; that of a run of one part alone is not written."""
    file = folder / f"{number:05d}.npz"
    if file.exists():
        try:
            with np.load(file, allow_pickle=False) as data:
                return dict(data)
        except (OSError, ValueError, BadZipFile):
            say(f"{file} is damaged and made again")
    part = _computed(unit, before, number)
    if number or str(part["outcome"]) == _UNDER_WAY:
        with atomic_path(file) as temporary:
            np.savez(temporary, **part)
    return part


def _computed(unit: MdUnit, before: Arrays | None, number: int) -> Arrays:
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    config = unit.config
    atoms = starting_structure(config)
    if before is None:
        generator = stream(unit.seed, "md", unit.name)
        calculator = cached_calculator(unit.model)
        # From a structure at rest half the kinetic energy turns into potential energy.
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * unit.temperature, rng=generator)
    else:
        generator = stream(unit.seed, "md", unit.name, number)
        calculator = load_calculator(unit.model)
        atoms.positions[:] = before["end_positions"]
        momenta = before["end_velocities"] / units.fs * atoms.get_masses()[:, None]
        atoms.set_momenta(momenta, apply_constraint=False)
    begun = 0 if before is None else int(before["end_step"])
    degrees_of_freedom = max(3 * int(mobile_atoms(atoms).sum()), 1)
    every, first, steps = config.counts
    end = steps if config.ensemble == "npt" else min(begun + STEPS_IN_PART, steps)
    frames: list[Frame] = []
    reason, outcome = "", "complete" if end == steps else _UNDER_WAY
    for step in _dynamics(atoms, calculator, unit, generator):
        index = begun + step.index
        temperature = 2 * step.kinetic / (units.kB * degrees_of_freedom)
        # Written so that NaN, which compares false, counts as blown up.
        if not temperature <= config.max_temperature:
            reason, outcome = f"temperature of {temperature:.3g} K", BLOWN_UP
            break
        # The first step of a part is the last of the part before it.
        new = before is None or step.index > 0
        if new and index >= first and (index - first) % every == 0:
            frames.append(frame_of(atoms, calculator, step, index))
            if unit.trust:
                [seen] = structures_of(stacked(frames[-1:]), atoms)
                reason = unit.trust.reason_to_stop(_labelled(seen, unit))
            if reason:
                outcome = CUT
                break
        if index == end:
            break
    return stacked(frames) | {
        "end_step": np.array(index),
        "end_positions": step.positions,
        "end_velocities": step.velocities,
        "outcome": np.array(outcome),
        "reason": np.array(reason),
        "calls": np.array(step.calls),
        "handed_over": np.array(handed_over(calculator)),
    }


def _dynamics(
    atoms: Atoms, calculator: Calculator, unit: MdUnit, generator: np.random.Generator
) -> Iterator[Step]:
    """Steps without end, from `atoms`; at constant pressure their cell follows."""
    config = unit.config
    if config.ensemble == "nve":
        return velocity_verlet(atoms, calculator, config.time_step)
    if config.ensemble == "nvt":
        return langevin(
            atoms,
            calculator,
            time_step=config.time_step,
            temperature=unit.temperature,
            friction=config.friction,
            generator=generator,
        )
    return _at_constant_pressure(atoms, calculator, unit)


def _at_constant_pressure(atoms: Atoms, calculator: Calculator, unit: MdUnit) -> Iterator[Step]:
    from ase.md.nose_hoover_chain import IsotropicMTKNPT

    time_step = unit.config.time_step * units.fs
    atoms.calc = calculator
    dynamics = IsotropicMTKNPT(
        atoms,
        time_step,
        temperature_K=unit.temperature,
        pressure_au=unit.pressure,
        tdamp=_THERMOSTAT_STEPS * time_step,
        pdamp=_BAROSTAT_STEPS * time_step,
    )
    for _ in dynamics.irun(_ENDLESS):
        yield Step(
            index=dynamics.nsteps,
            positions=atoms.get_positions(),
            velocities=atoms.get_velocities() * units.fs,
            energy=atoms.get_potential_energy(),
            forces=atoms.get_forces(apply_constraint=False),
            kinetic=atoms.get_kinetic_energy(),
            calls=dynamics.nsteps + 1,
        )


def _labelled(atoms: Atoms, unit: MdUnit) -> Atoms:
    """A frame of the run with its origin."""
    step = atoms.info["step"]
    atoms.info = {
        CONFIG_TYPE_KEY: CONFIG_TYPE,
        "trajectory": unit.name,
        "step": step,
        "time_fs": round(step * unit.config.time_step, 6),
        "temperature_K": unit.temperature,
        **{name: value for name, value in atoms.info.items() if name != "step"},
    }
    return atoms
