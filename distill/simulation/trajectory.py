"""Independent runs of molecular dynamics of a structure, and the frames that they leave.

A run starts at rest with random velocities, is brought to its temperature by Langevin dynamics, and
goes on by the same (nvt) or by Newton's equations (nve). Its random streams are named by its
temperature and number and not by its model, so runs of two models are pairs: they start with the
same velocities and feel the same noise.

A run is done in parts. Each starts from the state that the part before it wrote, with a freshly
loaded calculator and a random stream of its own, so that a run that was killed goes on with the
part that it was in and leaves the same frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zipfile import BadZipFile

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts, lengths_of_parts
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator
from distill.simulation.config import DynamicsConfig, TrajectoryConfig
from distill.simulation.dynamics import begin_at, end_of, langevin, up_to, velocity_verlet
from distill.simulation.multiple_time_steps import handed_over
from distill.simulation.outer_step import with_steps_of
from distill.systems.constraints import mobile_atoms, refuse_other_constraints
from distill.systems.named_structures import named_structure
from distill.systems.supercells import supercell

if TYPE_CHECKING:
    from ase import Atoms

Ensemble = Literal["nvt", "nve"]
Quantity = Literal["positions", "velocities"]


@dataclass(frozen=True)
class TrajectoryUnit(Unit):
    """One run: `NAME.npz` with its frames.

    Its numbers are the force `calls`, the `problem`, if any, and the outer steps `handed_over` to
    the teacher where a student takes those in between.

    Attributes
    ----------
    start
        The structure, with its constraints.
    ensemble
        Of the production.
    quantity
        What is saved of each frame.
    temperature
        K.
    number
        Of the run at this temperature.
    """

    model: ModelSpec
    start: Atoms
    config: DynamicsConfig
    ensemble: Ensemble
    quantity: Quantity
    temperature: float
    number: int
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its model, start and dynamics; not the config's other temperatures and runs."""
        return {**super().settings(), "config": self.config.dynamics()}

    def files(self) -> list[Path]:
        """The frames."""
        return [self.folder / f"{self.name}.npz"]

    def frames(self) -> np.ndarray:
        """Unwrapped positions (Å) or velocities (Å/fs), (frames, N, 3), in single precision."""
        return _read(self.files()[0])["frames"]

    def mean_temperature(self) -> float:
        """Mean kinetic temperature of the frames, K."""
        return float(_read(self.files()[0])["temperatures"].mean())

    @property
    def problem(self) -> str:
        """Why the finished run ended early; empty for a good one."""
        return str(self.numbers()["problem"])

    def work(self) -> dict[str, Any]:
        """Do the run, or what is left of it, and write its frames."""
        parts = in_parts(self.parts, partial(_computed, self))
        with atomic_path(self.files()[0]) as temporary:
            np.savez(
                temporary,
                frames=np.concatenate([part["frames"] for part in parts]),
                temperatures=np.concatenate([part["temperatures"] for part in parts]),
            )
        return {
            "problem": str(parts[-1]["problem"]),
            "calls": sum(int(part["calls"]) for part in parts),
            "handed_over": sum(int(part.get("handed_over", 0)) for part in parts),
        }


def trajectory_start(config: TrajectoryConfig) -> Atoms:
    """The structure of a config, repeated, with its constraints.

    Raises
    ------
    UserError
        If there is none of this name, or it has constraints other than fixed atoms.
    """
    atoms = named_structure(config.structure, config.index)
    refuse_other_constraints(atoms, config.structure)
    return supercell(atoms, config.supercell)


def trajectory_units(
    config: TrajectoryConfig,
    models: Mapping[str, ModelSpec],
    work: WorkFolder,
    *,
    ensemble: Ensemble,
    quantity: Quantity,
) -> dict[tuple[str, float], list[TrajectoryUnit]]:
    """By model and temperature (K), the runs by number.

    Parameters
    ----------
    config
        Structure, temperatures, runs and dynamics.
    models
        By name.
    work
        Folder of the runs by model, and seed.
    ensemble
        Of the production.
    quantity
        What is saved of each frame.

    Raises
    ------
    UserError
        If there is no such structure.
    """
    start = trajectory_start(config)
    return {
        (name, temperature): [
            TrajectoryUnit(
                work.path / name,
                f"{ensemble}_{temperature:g}K_{number:02d}",
                model=model,
                start=start,
                config=config,
                ensemble=ensemble,
                quantity=quantity,
                temperature=temperature,
                number=number,
                seed=work.seed,
            )
            for number in range(config.runs)
        ]
        for name, model in models.items()
        for temperature in config.temperatures
    }


def moved_by_engine(
    config: TrajectoryConfig,
    models: Mapping[str, ModelSpec],
    work: WorkFolder,
    *,
    student: str,
    where: str,
) -> dict[str, ModelSpec]:
    """The models with the engine of a config: what takes the steps of their trajectories.

    Parameters
    ----------
    config
        Structure, temperatures, dynamics and engine.
    models
        By name.
    work
        Where the outer steps are tested.
    student
        Name of the model that takes steps for the others.
    where
        Section of the config, for messages.

    Raises
    ------
    UserError
        If there is no such model, or an outer step that will not do.
    """
    if config.engine == "teacher":
        return dict(models)
    return with_steps_of(
        student,
        models,
        work,
        start=trajectory_start(config),
        temperatures=config.temperatures,
        time_step=config.time_step,
        steps=config.inner_steps(),
        config=config.multiple_time_steps,
        where=where,
    )


def run_trajectories(
    units: Mapping[tuple[str, float], Sequence[TrajectoryUnit]], work: WorkFolder, label: str
) -> None:
    """Finish the runs of `trajectory_units`, and say which ended early."""
    work.run([unit for of_model in units.values() for unit in of_model], label)
    for (name, _), of_model in units.items():
        for unit in of_model:
            if unit.problem:
                say(f"{label}: {unit.name} of the {name} is left out: {unit.problem}")
            if taken := unit.numbers().get("handed_over"):
                say(f"{label}: {unit.name}: the {name} took {taken} outer steps itself")


def good_runs(units: Sequence[TrajectoryUnit]) -> dict[int, TrajectoryUnit]:
    """By number, the finished runs that did not end early."""
    return {unit.number: unit for unit in units if not unit.problem}


def _computed(unit: TrajectoryUnit, before: Part | None, index: int) -> Part:
    """Part `index` of a run: the first are its equilibration, which leaves its end as a frame."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    config = unit.config
    atoms = unit.start.copy()
    if before is None:
        # From a structure at rest half the kinetic energy turns into potential energy.
        generator = stream(unit.seed, "trajectory", unit.temperature, unit.number, "start")
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * unit.temperature, rng=generator)
    else:
        begin_at(atoms, before)
    equilibration = lengths_of_parts(config.equilibration_steps, STEPS_IN_PART)
    if index < len(equilibration):
        steps, ends = equilibration[index], index + 1 == len(equilibration)
        part = _followed(unit, atoms, index, steps, steps if ends else None, thermostat=True)
        return part | {UNDER_WAY: not part["problem"]}
    every, whole = config.steps_between_frames, _frames_in_part(config)
    done = (index - len(equilibration)) * whole
    left = round(config.time / config.frame_interval) - done
    steps = min(whole, left) * every
    part = _followed(unit, atoms, index, steps, every, thermostat=unit.ensemble == "nvt")
    return part | {UNDER_WAY: not part["problem"] and left > whole}


def _followed(
    unit: TrajectoryUnit,
    atoms: Atoms,
    index: int,
    steps: int,
    every: int | None,
    *,
    thermostat: bool,
) -> Part:
    """So many steps with a look at each, frames every so often, and the state at the end."""
    from ase.units import kB

    config = unit.config
    calculator = load_calculator(unit.model)
    if thermostat:
        trajectory = langevin(
            atoms,
            calculator,
            time_step=config.time_step,
            temperature=unit.temperature,
            friction=config.friction,
            generator=stream(unit.seed, "trajectory", unit.temperature, unit.number, index),
        )
    else:
        trajectory = velocity_verlet(atoms, calculator, config.time_step)
    per_kelvin = 1.5 * max(int(mobile_atoms(atoms).sum()), 1) * kB
    frames, temperatures = [], []
    problem = ""
    step = next(trajectory)
    try:
        for step in up_to(steps, trajectory):
            temperature = step.kinetic / per_kelvin
            # Written so that NaN, which compares false, counts as too hot.
            if not temperature <= config.max_temperature:
                problem = f"temperature of {temperature:.3g} K"
                break
            if every and step.index % every == 0:
                frames.append(getattr(step, unit.quantity).astype(np.float32))
                temperatures.append(temperature)
    except UserError as error:
        # The start was evaluated without complaint, so the model fails on where it led.
        problem = str(error)
    if problem:
        problem = f"{problem}, after {step.index * config.time_step:g} fs of part {index}"
    return {
        "frames": np.array(frames, dtype=np.float32).reshape(-1, len(atoms), 3),
        "temperatures": np.array(temperatures, dtype=float),
        **end_of(step),
        "problem": problem,
        "calls": step.calls,
        "handed_over": handed_over(calculator),
    }


def _frames_in_part(config: DynamicsConfig) -> int:
    return max(STEPS_IN_PART // config.steps_between_frames, 1)


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as data:
            return dict(data)
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(f"{file} is damaged: {error}; remove it and run again") from None
