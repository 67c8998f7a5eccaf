"""Molecular dynamics: velocity Verlet and Langevin steps, for sampling and observables alike.

The time step of a gas-surface trajectory is a fraction of a femtosecond, and a student answers in
less than a millisecond, so the integrator's own overhead matters: it is a few array operations
here, and for a student the steps themselves are compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts
from distill.core.random_streams import thermal_noise
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.models.calculators import load_calculator
from distill.student.engine.kernels.kernel_arguments import Scheme
from distill.systems.constraints import mobile_atoms

# Å/fs² for 1 eV/Å on 1 amu.
ACCELERATION = units.fs**2


class Forces:
    """Energy and forces of one system as a function of its positions, counting the calls.

    Forces are the raw ones of the calculator, on fixed atoms too: they become labels.

    Attributes
    ----------
    calls
        Made so far.
    inertia
        Half the masses, (N, 1), eV for the square of 1 Å/fs.
    """

    def __init__(self, atoms: Atoms, calculator: Calculator) -> None:
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._calculator = calculator
        self.calls = 0
        self.inertia = 0.5 * atoms.get_masses()[:, None] / ACCELERATION

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (eV) and forces (eV/Å, shape (N, 3)) at positions (Å, shape (N, 3))."""
        self.calls += 1
        self._atoms.positions[:] = positions
        self._calculator.calculate(self._atoms, ["energy", "forces"], all_changes)
        results = self._calculator.results
        return float(results["energy"]), np.array(results["forces"], dtype=float)


@dataclass(frozen=True)
class Step:
    """One point of a trajectory.

    Attributes
    ----------
    index
        Number of the step, 0 at the start.
    positions, velocities
        Å and Å/fs, shape (N, 3), never wrapped into the cell.
    energy
        Potential energy, eV.
    forces
        eV/Å, shape (N, 3).
    kinetic
        Kinetic energy, eV.
    calls
        Force calls of the model up to here.
    """

    index: int
    positions: np.ndarray
    velocities: np.ndarray
    energy: float
    forces: np.ndarray
    kinetic: float
    calls: int


def velocity_verlet(atoms: Atoms, calculator: Calculator, time_step: float) -> Iterator[Step]:
    """Steps of velocity Verlet dynamics without end, from `atoms` with their momenta.

    Atoms under a `FixAtoms` constraint do not move. Source: Swope et al., J. Chem. Phys. 76, 637
    (1982).

    Parameters
    ----------
    atoms
        Positions, momenta and masses; not changed.
    calculator
        Any ASE calculator; called once a step. A student's steps are compiled.
    time_step
        fs.
    """
    none = np.zeros(len(atoms))
    scheme = Scheme(time_step, half_kicks(atoms, time_step), 1.0, none)
    return integrate(atoms, calculator, scheme)


def langevin(
    atoms: Atoms,
    calculator: Calculator,
    *,
    time_step: float,
    temperature: float,
    friction: float,
    generator: np.random.Generator,
) -> Iterator[Step]:
    """Steps of Langevin dynamics without end, from `atoms` with their momenta.

    The splitting is BAOAB, whose configurations are exact to higher order in the time step than
    those of other splittings. Atoms under a `FixAtoms` constraint do not move. Source: Leimkuhler
    & Matthews, Appl. Math. Res. Express 2013, 34.

    Parameters
    ----------
    atoms
        Positions, momenta and masses; not changed.
    calculator
        Any ASE calculator; called once a step. A student's steps are compiled.
    time_step
        fs.
    temperature
        K.
    friction
        1/fs.
    generator
        Random stream of the thermostat; of a student it is drawn some steps ahead.
    """
    kept = float(np.exp(-friction * time_step))
    variance = (1 - kept**2) * units.kB * temperature * ACCELERATION / atoms.get_masses()
    noise = np.where(mobile_atoms(atoms), np.sqrt(variance), 0.0)
    scheme = Scheme(time_step, half_kicks(atoms, time_step), kept, noise)
    return integrate(atoms, calculator, scheme, generator)


def half_kicks(atoms: Atoms, time_step: float) -> np.ndarray:
    """Half a step (fs) over each atom's mass, Å/fs per eV/Å, (N,); 0 for atoms that are held."""
    return np.where(mobile_atoms(atoms), 0.5 * time_step * ACCELERATION / atoms.get_masses(), 0.0)


def integrate(
    atoms: Atoms,
    calculator: Calculator,
    scheme: Scheme,
    generator: np.random.Generator | None = None,
) -> Iterator[Step]:
    """Steps of an integrator without end, from `atoms` with their momenta.

    The steps of a `StudentCalculator` are compiled, some ahead of the one that is given; those of
    any other calculator are taken one by one. The trajectories are the same to rounding.

    Parameters
    ----------
    atoms
        Positions, momenta, masses and constraints; not changed.
    calculator
        Any ASE calculator.
    scheme
        The integrator.
    generator
        Stream of the thermostat, None without one.
    """
    forces_of = Forces(atoms, calculator)
    mobile = mobile_atoms(atoms)[:, None]
    velocities = np.where(mobile, atoms.get_velocities() * units.fs, 0.0)
    positions = atoms.get_positions()
    energy, forces = forces_of(positions)
    kinetic = kinetic_energy(forces_of.inertia, velocities)
    start = Step(0, positions, velocities, energy, forces, kinetic, 1)
    yield start
    if isinstance(calculator, TakesSteps):
        yield from calculator.take_steps(atoms, forces_of, start, scheme, generator)
        return
    compiled = _compiled_steps(atoms, calculator, forces_of.inertia, start, scheme, generator)
    yield from compiled or _steps(forces_of, start, scheme, generator)


@runtime_checkable
class TakesSteps(Protocol):
    """A calculator whose dynamics are not one call a step."""

    def take_steps(
        self,
        atoms: Atoms,
        forces_of: Forces,
        start: Step,
        scheme: Scheme,
        generator: np.random.Generator | None,
    ) -> Iterator[Step]:
        """Steps without end after a first one, of which `forces_of` gave energy and forces."""


def kinetic_energy(inertia: np.ndarray, velocities: np.ndarray) -> float:
    """Kinetic energy, eV, of velocities in Å/fs; `inertia` is that of `Forces`."""
    return float(np.sum(inertia * velocities**2))


def next_step(forces_of: Forces, step: Step, scheme: Scheme, normal: np.ndarray) -> Step:
    """The step after a step, with one force call.

    Parameters
    ----------
    forces_of
        The system's.
    step
        Where it starts.
    scheme
        The integrator.
    normal
        Normal numbers of the thermostat, (N, 3); (0, 3) without one.
    """
    half_kick = scheme.half_kick[:, None]
    midway = step.velocities + half_kick * step.forces
    if len(normal) == 0:
        positions = step.positions + scheme.time_step * midway
    else:
        half_step = 0.5 * scheme.time_step
        positions = step.positions + half_step * midway
        midway = scheme.kept * midway + scheme.noise[:, None] * normal
        positions = positions + half_step * midway
    energy, forces = forces_of(positions)
    velocities = midway + half_kick * forces
    kinetic = kinetic_energy(forces_of.inertia, velocities)
    return Step(step.index + 1, positions, velocities, energy, forces, kinetic, step.calls + 1)


def _steps(
    forces_of: Forces, step: Step, scheme: Scheme, generator: np.random.Generator | None
) -> Iterator[Step]:
    while True:
        [normal] = thermal_noise(generator, 1, len(step.positions))
        step = next_step(forces_of, step, scheme, normal)
        yield step


def up_to(steps: int, trajectory: Iterator[Step]) -> Iterator[Step]:
    """The next steps of a trajectory up to the one of a number, which is a step of it."""
    for step in trajectory:
        yield step
        if step.index >= steps:
            return


def _compiled_steps(
    atoms: Atoms,
    calculator: Calculator,
    inertia: np.ndarray,
    start: Step,
    scheme: Scheme,
    generator: np.random.Generator | None,
) -> Iterator[Step] | None:
    """The same for a student, or None for any other calculator."""
    from distill.student.student_model import StudentCalculator

    # A guarded student, which is a kind of it, has to see every step.
    if type(calculator) is not StudentCalculator:
        return None
    from distill.student.engine import compiled_dynamics as dynamics

    blocks = dynamics.integrate(
        calculator.student.potential,
        atoms,
        start.velocities,
        start.forces,
        scheme,
        generator,
        skin=calculator.neighbours.skin,
        threads=calculator.threads,
    )
    moving = atoms.copy()

    def steps() -> Iterator[Step]:
        index = start.index
        for block in blocks:
            if len(block.energies):
                moving.positions[:] = block.positions[0]
                calculator.student.watch.look(moving, len(block.energies))
            kinetic = np.sum(inertia * block.velocities**2, axis=(1, 2))
            for place, energy in enumerate(block.energies.tolist()):
                index += 1
                yield Step(
                    index,
                    block.positions[place],
                    block.velocities[place],
                    energy,
                    block.forces[place],
                    float(kinetic[place]),
                    index + 1,
                )

    return steps()


def calculator_of_part(model: ModelSpec, number: int) -> Calculator:
    """A calculator that knows nothing of the parts before, for part `number` of a run."""
    return load_calculator(model) if number else cached_calculator(model)


def end_of(step: Step) -> Part:
    """Where a part of a run ends and the next begins."""
    return {"end_positions": step.positions, "end_velocities": step.velocities}


def begin_at(atoms: Atoms, before: Part) -> None:
    """Give atoms the positions and velocities of the end of a part."""
    atoms.positions[:] = before["end_positions"]
    momenta = before["end_velocities"] / units.fs * atoms.get_masses()[:, None]
    atoms.set_momenta(momenta, apply_constraint=False)


def thermalise(
    atoms: Atoms,
    model: ModelSpec,
    temperature: float,
    generators: Callable[[int], np.random.Generator],
    *,
    time_step: float,
    friction: float,
    time: float,
    parts: Path | None = None,
) -> tuple[Atoms, int]:
    """A structure after some time of Langevin dynamics.

    Parameters
    ----------
    atoms
        Where it starts, not changed; one at rest is given random velocities.
    model
        What `distill.models.calculators.load_calculator` takes.
    temperature
        K.
    generators
        Random stream of the velocities and of the thermostat, for each part by its number.
    time_step, friction
        fs and 1/fs.
    time
        fs; a step at least.
    parts
        Folder to keep the parts of a long run in.

    Returns
    -------
    structure
        A copy with momenta and constraints, without calculator.
    calls
        Force calls made.
    """
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    steps = max(round(time / time_step), 1)

    def part(before: Part | None, number: int) -> Part:
        moving, generator = atoms.copy(), generators(number)
        if before is not None:
            begin_at(moving, before)
        elif not moving.get_momenta().any():
            # At rest all energy to come is kinetic; half of it turns into potential energy.
            MaxwellBoltzmannDistribution(moving, temperature_K=2 * temperature, rng=generator)
        trajectory = langevin(
            moving,
            calculator_of_part(model, number),
            time_step=time_step,
            temperature=temperature,
            friction=friction,
            generator=generator,
        )
        begun = number * STEPS_IN_PART
        end = min(begun + STEPS_IN_PART, steps)
        step = next(step for step in trajectory if begun + step.index == end)
        return {UNDER_WAY: end < steps, "calls": end - begun + 1, **end_of(step)}

    done = in_parts(parts, part)
    thermal = atoms.copy()
    begin_at(thermal, done[-1])
    return thermal, sum(int(part["calls"]) for part in done)
