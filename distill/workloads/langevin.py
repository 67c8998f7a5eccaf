"""Langevin dynamics with one force call a step and a few array operations beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from distill.sampling.dynamics import ACCELERATION, Forces, Step, mobile_atoms

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator


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
        Any ASE calculator; called once a step.
    time_step
        fs.
    temperature
        K.
    friction
        1/fs.
    generator
        Random stream of the thermostat.
    """
    from ase import units

    forces_of = Forces(atoms, calculator)
    mobile = mobile_atoms(atoms)[:, None]
    masses = atoms.get_masses()[:, None]
    half_kick = np.where(mobile, 0.5 * time_step * ACCELERATION / masses, 0.0)
    half_drift = 0.5 * time_step
    kept = np.exp(-friction * time_step)
    noise = np.where(
        mobile,
        np.sqrt((1 - kept**2) * units.kB * temperature * ACCELERATION / masses),
        0.0,
    )
    inertia = 0.5 * masses / ACCELERATION
    positions = atoms.get_positions()
    velocities = np.where(mobile, atoms.get_velocities() * units.fs, 0.0)
    energy, forces = forces_of(positions)
    index = 0
    while True:
        yield Step(
            index, positions, velocities, energy, forces, float(np.sum(inertia * velocities**2))
        )
        midway = velocities + half_kick * forces
        positions = positions + half_drift * midway
        midway = kept * midway + noise * generator.standard_normal(midway.shape)
        positions = positions + half_drift * midway
        energy, forces = forces_of(positions)
        velocities = midway + half_kick * forces
        index += 1
