"""Molecular dynamics of given structures at lists of temperatures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.core.fingerprint import names_of
from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.data.own_images import say_own_images
from distill.data.structures import read_structures, write_structures
from distill.data.survey import vacuum_layers
from distill.models.cached_calculators import ModelSpec
from distill.sampling.method import Planned, Sampler, SamplingMethod, Visited
from distill.sampling.methods.md_config import MdConfig
from distill.simulation.constant_pressure import ConstantPressure
from distill.simulation.dynamics import (
    Step,
    begin_at,
    calculator_of_part,
    end_of,
    langevin,
    velocity_verlet,
)
from distill.simulation.frames import Frame, frame_of, reason_to_stop, stacked, structures_of
from distill.simulation.multiple_time_steps import handed_over
from distill.simulation.outer_step import with_steps_of
from distill.simulation.trust_bound import Trust
from distill.systems.constraints import mobile_atoms, refuse_other_constraints
from distill.systems.defects import with_defect
from distill.systems.named_structures import named_structure
from distill.systems.supercells import supercell

CONFIG_TYPE = "md"
BLOWN_UP, CUT = "blown_up", "cut"
# Relaxation times of the Martyna-Tobias-Klein thermostat and barostat, in steps.
_THERMOSTAT_STEPS, _BAROSTAT_STEPS = 100, 1000


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
        structures, summary = _follow(self)
        self._path.unlink(missing_ok=True)
        folder = self.folder / "set_aside" if summary["outcome"] == BLOWN_UP else self.folder
        if structures:
            write_structures(folder / self._path.name, structures)
        return summary


def _shared(config: MdConfig) -> dict[str, Any]:
    """All but the conditions, each of which is a run, and what a unit's model says."""
    others = {"temperatures", "pressures", "runs", "engine", "multiple_time_steps"}
    return {name: getattr(config, name) for name in MdConfig.model_fields if name not in others}


def starting_structure(config: MdConfig) -> Atoms:
    """The structure of a config, repeated, with its defect.

    Raises
    ------
    UserError
        If the file is missing or unreadable, cannot hold the defect, has constraints other than
        fixed atoms, has no other atoms, or masses that are not positive.
    """
    crystal = named_structure(config.structure, config.index)
    refuse_other_constraints(crystal, f"md: {config.structure}")
    masses = crystal.get_masses()
    if not np.all(masses > 0):
        wrong = int(np.flatnonzero(~(masses > 0))[0])
        raise UserError(
            f"md: {config.structure}: atom {wrong} ({crystal.symbols[wrong]}) has the mass "
            f"{masses[wrong]:g} amu; expected a positive one"
        )
    if not mobile_atoms(crystal).any():
        raise UserError(
            f"md: {config.structure} has every atom fixed (constraints): nothing would move; "
            "free some atoms"
        )
    return with_defect(supercell(crystal, config.supercell), config.defect, config.defect_element)


def refuse_pressure(config: MdConfig, atoms: Atoms) -> None:
    """Refuse constant pressure where there is none.

    Raises
    ------
    UserError
        For a structure that is not periodic in all directions, has a layer of vacuum or holds atoms
        fixed, or for 0 K.
    """
    if config.ensemble != "npt":
        return
    problem = ""
    if not atoms.pbc.all():
        problem = (
            f"is not periodic in all directions (pbc {atoms.pbc.tolist()}): vacuum has no pressure"
        )
    elif vacuum_layers(atoms).any():
        problem = "has a layer of vacuum, which a pressure would close"
    elif atoms.constraints:
        problem = "has fixed atoms (constraints), which a cell that changes would move"
    elif min(config.temperatures) == 0:
        problem = "is to be kept at 0 K, where the barostat's equations do not hold"
    if problem:
        raise UserError(
            f"md: ensemble npt: {config.structure} {problem}; use nvt, or another structure"
        )


class MolecularDynamics(SamplingMethod):
    """Some runs at each temperature and, at constant pressure, each pressure."""

    Config = MdConfig

    def refuse(self, configs: Sequence[MdConfig]) -> None:
        """Refuse a structure that is not there, and constant pressure where there is none."""
        for config in configs:
            refuse_pressure(config, starting_structure(config))

    def plan(self, configs: Sequence[MdConfig]) -> list[Planned]:
        """Runs of each entry, and a call for each step and each start."""
        found = []
        for config in configs:
            runs = len(config.temperatures) * len(config.pressures) * config.runs
            time = config.equilibration_time + config.time
            calls = runs * (round(time / config.time_step) + 1)
            atoms = len(starting_structure(config))
            found.append(Planned(f"{runs} runs of {time / 1e3:g} ps", calls, atoms))
        return found

    def units(self, configs: Sequence[MdConfig], sampler: Sampler) -> list[Unit]:
        """Every run of a list of options."""
        units: list[Unit] = []
        work = sampler.work.sub("md")
        for name_of_config, config in zip(names_of(map(_shared, configs)), configs, strict=True):
            start = starting_structure(config)
            refuse_pressure(config, start)
            say_own_images([start], f"md: {config.structure}")
            model = _moved_by_engine(config, sampler, work.sub(f"outer_step_{name_of_config}"))
            every = itertools.product(config.temperatures, config.pressures, range(config.runs))
            for temperature, pressure, number in every:
                name = f"md_{name_of_config}_{temperature:g}K"
                if config.ensemble == "npt":
                    name += f"_{pressure:g}eVA3"
                if number:
                    name += f"_run{number + 1}"
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
                # Of a temperature that has several, some are held out.
                several = unit.config.runs > 1
                visited.endings[unit.name] = f"md at {unit.temperature:g} K" if several else "md"
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


def _follow(unit: MdUnit) -> tuple[list[Atoms], dict[str, Any]]:
    """The labelled structures of a run, and how it went."""
    parts = in_parts(unit.parts, partial(_computed, unit))
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


def _computed(unit: MdUnit, before: Part | None, number: int) -> Part:
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    config = unit.config
    atoms = starting_structure(config)
    calculator = calculator_of_part(unit.model, number)
    if before is None:
        generator = stream(unit.seed, "md", unit.name)
        # From a structure at rest half the kinetic energy turns into potential energy.
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * unit.temperature, rng=generator)
    else:
        generator = stream(unit.seed, "md", unit.name, number)
        atoms.set_cell(before["end_cell"])
        begin_at(atoms, before)
    begun = 0 if before is None else int(before["end_step"])
    degrees_of_freedom = max(3 * int(mobile_atoms(atoms).sum()), 1)
    every, first, steps = config.counts
    end = min(begun + STEPS_IN_PART, steps)
    frames: list[Frame] = []
    reason, outcome = "", "complete" if end == steps else UNDER_WAY
    trajectory, state = _dynamics(atoms, calculator, unit, generator, before)
    for step in trajectory:
        index = begun + step.index
        temperature = 2 * step.kinetic / (units.kB * degrees_of_freedom)
        # Written so that NaN, which compares false, counts as blown up.
        if not temperature <= config.max_temperature:
            reason, outcome = f"temperature of {temperature:.3g} K", BLOWN_UP
            break
        # Such a label is none, and the next call of the model may end in an error of its own.
        if not (np.isfinite(step.energy) and np.isfinite(step.forces).all()):
            reason = f"energy or forces are not finite at step {index}; do atoms coincide?"
            outcome = BLOWN_UP
            break
        # The first step of a part is the last of the part before it.
        new = before is None or step.index > 0
        if new and index >= first and (index - first) % every == 0:
            frames.append(frame_of(atoms, calculator, step, index))
            if unit.trust:
                reason = reason_to_stop(frames, atoms, unit.trust)
            if reason:
                outcome = CUT
                break
        if index == end:
            break
    return {
        UNDER_WAY: outcome == UNDER_WAY,
        **stacked(frames),
        **end_of(step),
        **state(),
        "end_step": index,
        "end_cell": atoms.cell.array,
        "outcome": outcome,
        "reason": reason,
        "calls": step.calls,
        "handed_over": handed_over(calculator),
    }


def _dynamics(
    atoms: Atoms,
    calculator: Calculator,
    unit: MdUnit,
    generator: np.random.Generator,
    before: Part | None,
) -> tuple[Iterator[Step], Callable[[], Part]]:
    """Steps without end from `atoms`, whose cell follows, and what they hold beside the atoms."""
    config = unit.config
    if config.ensemble == "npt":
        barostat = ConstantPressure(
            atoms,
            calculator,
            time_step=config.time_step,
            temperature=unit.temperature,
            pressure=unit.pressure,
            thermostat_time=_THERMOSTAT_STEPS * config.time_step,
            barostat_time=_BAROSTAT_STEPS * config.time_step,
            before=before,
        )
        return barostat.steps(), barostat.state
    if config.ensemble == "nve":
        return velocity_verlet(atoms, calculator, config.time_step), dict
    steps = langevin(
        atoms,
        calculator,
        time_step=config.time_step,
        temperature=unit.temperature,
        friction=config.friction,
        generator=generator,
    )
    return steps, dict


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
