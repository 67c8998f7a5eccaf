"""Long runs of molecular dynamics in parts, each a checkpoint, with the same result either way.

Every part starts from the state that the part before it wrote, with a freshly loaded calculator
and its own random stream. So a run that was killed goes on with the part it was in, and ends with
bitwise the same positions as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts, lengths_of_parts
from distill.core.work import Unit
from distill.models.calculators import load_calculator
from distill.models.kept_calls import KeptCalls
from distill.simulation.dynamics import begin_at, end_of, langevin, up_to, velocity_verlet
from distill.simulation.multiple_time_steps import handed_over

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.diffusion.config import DiffusionConfig

_RELAXED_FORCE = 0.05
_RELAXATION_STEPS = 300
_SERIES = ("positions", "temperatures", "energies")
# Options that a run depends on; the others make its start, or say which runs there are and how they
# are analysed.
_DYNAMICS = (
    "equilibration_time",
    "equilibration_friction",
    "ensemble",
    "friction",
    "time_step",
    "save_every",
    "checkpoint_every",
    "max_temperature_ratio",
    "max_energy_change",
)


@dataclass(frozen=True)
class Trajectory:
    """A finished run.

    Attributes
    ----------
    positions
        Unwrapped, Å, shape (n_frames, n_atoms, 3), single precision.
    temperatures
        Kinetic temperature of each frame, K.
    energies
        Potential energy of each frame, eV.
    problem
        Why it stopped early; empty for a good run.
    calls
        Force calls of the dynamics.
    wall_time
        Of the dynamics, s.
    handed_over
        Outer steps that the teacher took where a student takes those in between.
    simulated
        Time that the wall time was spent on, fs; None where it is a time step for each call.
    """

    positions: np.ndarray
    temperatures: np.ndarray
    energies: np.ndarray
    problem: str
    calls: int
    wall_time: float
    handed_over: int = 0
    simulated: float | None = None


@dataclass(frozen=True)
class Run(Unit):
    """One independent run.

    Attributes
    ----------
    role
        Name of the model, which the run's random streams carry.
    model
        Its file, import path or calculator.
    start
        Perfect crystal with its defect; unrelaxed positions, the run's cell.
    temperature
        K.
    number
        Of the run at this model and temperature.
    time
        Production, fs.
    config
        Dynamics.
    seed
        The whole workflow's.
    """

    role: str
    model: ModelSpec
    start: Atoms
    temperature: float
    number: int
    time: float
    config: DiffusionConfig
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its model, start and dynamics; not the other runs of the config, nor their analysis."""
        dynamics = {name: getattr(self.config, name) for name in _DYNAMICS}
        return {**super().settings(), "config": dynamics}

    def files(self) -> list[Path]:
        """Positions, temperatures and energies."""
        return [self.folder / f"{self.name}.npz"]

    @property
    def frames(self) -> int:
        """Saved frames of the production, the first included."""
        return round(self.time / self.config.save_every) + 1

    def work(self) -> dict[str, Any]:
        """Do what is left of the run and join its parts."""
        parts = in_parts(self.parts, partial(_part, self))
        joined: Part = {name: np.concatenate([part[name] for part in parts]) for name in _SERIES}
        with atomic_path(self.files()[0]) as temporary:
            np.savez(temporary, **joined)
        return {
            "problem": str(parts[-1]["problem"]),
            "calls": sum(int(part["calls"]) for part in parts),
            "handed_over": sum(int(part.get("handed_over", 0)) for part in parts),
            "simulated": sum(
                float(part.get("simulated", part["calls"] * self.config.time_step))
                for part in parts
            ),
            "wall_time": sum(float(part["wall_time"]) for part in parts),
        }

    def trajectory(self) -> Trajectory:
        """The finished run.

        Raises
        ------
        UserError
            If a file is damaged.
        """
        return Trajectory(**_read(self.files()[0]), **self.numbers())


def _part(run: Run, before: Part | None, index: int) -> Part:
    """Part `index` of a run: the first are its equilibration, the others production."""
    whole = max(round(run.config.checkpoint_every / run.config.save_every), 1)
    equilibration = lengths_of_parts(run.config.equilibration_steps, STEPS_IN_PART)
    if before is None or index < len(equilibration):
        return _equilibrate(run, index, before, equilibration)
    left = run.frames - 1 - (index - len(equilibration)) * whole
    part = _produce(run, index, before, min(whole, left))
    part[UNDER_WAY] = not part["problem"] and left > whole
    return part


def _equilibrate(run: Run, index: int, before: Part | None, lengths: Sequence[int]) -> Part:
    """Langevin dynamics from the relaxed start; its last frame is the first of the production."""
    atoms = run.start.copy()
    if before is None:
        reference = _relax(run, atoms)
    else:
        begin_at(atoms, before)
        reference = float(before["reference_energy"])
    steps, ends = lengths[index], index + 1 == len(lengths)
    friction = run.config.equilibration_friction
    part = _dynamics(run, index, atoms, reference, steps, steps if ends else None, friction)
    return part | {UNDER_WAY: not part["problem"] and (not ends or run.frames > 1)}


def _relax(run: Run, atoms: Atoms) -> float:
    """Relax the start and set velocities; the potential energy of the relaxed one, eV."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.optimize import FIRE

    from distill.core.random_streams import stream

    atoms.calc = KeptCalls(run.model, run.parts / "relaxation")
    FIRE(atoms, logfile=None).run(fmax=_RELAXED_FORCE, steps=_RELAXATION_STEPS)
    reference = float(atoms.get_potential_energy())
    atoms.calc = None
    generator = stream(run.seed, "diffusion", run.role, run.temperature, run.number, "start")
    MaxwellBoltzmannDistribution(atoms, temperature_K=run.temperature, rng=generator)
    return reference


def _produce(run: Run, index: int, before: Part, frames: int) -> Part:
    atoms = run.start.copy()
    begin_at(atoms, before)
    save = run.config.steps_between_frames
    friction = run.config.friction if run.config.ensemble == "nvt" else None
    reference = float(before["reference_energy"])
    return _dynamics(run, index, atoms, reference, frames * save, save, friction)


def _dynamics(
    run: Run,
    index: int,
    atoms: Atoms,
    reference: float,
    steps: int,
    save: int | None,
    friction: float | None,
) -> Part:
    """Langevin dynamics, or velocity Verlet where `friction` is None, with a look at each step."""
    from ase.units import kB

    from distill.core.random_streams import stream

    calculator = load_calculator(run.model)
    if friction is None:
        trajectory = velocity_verlet(atoms, calculator, run.config.time_step)
    else:
        trajectory = langevin(
            atoms,
            calculator,
            time_step=run.config.time_step,
            temperature=run.temperature,
            friction=friction,
            generator=stream(
                run.seed, "diffusion", run.role, run.temperature, run.number, "part", index
            ),
        )
    per_kelvin = 1.5 * len(atoms) * kB
    positions, temperatures, energies = [], [], []
    problem = ""
    done = 0
    started = time.perf_counter()
    step = next(trajectory)
    try:
        for step in up_to(steps, trajectory):
            done = step.index
            temperature = step.kinetic / per_kelvin
            change = (step.energy - reference) / len(atoms)
            problem = _problem(run, temperature, change)
            if problem:
                break
            if save and done % save == 0:
                positions.append(step.positions.astype(np.float32))
                temperatures.append(temperature)
                energies.append(step.energy)
    except UserError as error:
        # The start was evaluated without complaint, so the model fails on where it led.
        problem = str(error)
    if problem:
        problem = f"{problem}, after {done * run.config.time_step / 1000:g} ps of part {index}"
    return {
        "positions": np.array(positions, dtype=np.float32).reshape(-1, len(atoms), 3),
        "temperatures": np.array(temperatures, dtype=float),
        "energies": np.array(energies, dtype=float),
        **end_of(step),
        "reference_energy": reference,
        "problem": problem,
        "calls": step.calls,
        "handed_over": handed_over(calculator),
        "simulated": (done + 1) * run.config.time_step,
        "wall_time": time.perf_counter() - started,
    }


def _problem(run: Run, temperature: float, energy_change: float) -> str:
    """What is wrong with a step, or nothing; also caught by comparisons with NaN."""
    hottest = run.config.max_temperature_ratio * run.temperature
    if not temperature < hottest:
        return f"temperature {temperature:.4g} K, above {hottest:g} K"
    if not abs(energy_change) < run.config.max_energy_change:
        return (
            f"potential energy changed by {energy_change:.3g} eV/atom, more than "
            f"{run.config.max_energy_change:g}"
        )
    return ""


def _read(file: Path) -> Part:
    try:
        with np.load(file, allow_pickle=False) as data:
            return dict(data)
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(f"{file} is damaged: {error}; remove it and run again") from None
