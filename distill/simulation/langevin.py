"""Langevin dynamics with one force call a step and a few array operations beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.simulation.dynamics import Step


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
    from ase import units

    from distill.simulation.dynamics import ACCELERATION, half_kicks, integrate
    from distill.student.engine.kernels.kernel_arguments import Scheme
    from distill.systems.constraints import mobile_atoms

    kept = float(np.exp(-friction * time_step))
    variance = (1 - kept**2) * units.kB * temperature * ACCELERATION / atoms.get_masses()
    noise = np.where(mobile_atoms(atoms), np.sqrt(variance), 0.0)
    scheme = Scheme(time_step, half_kicks(atoms, time_step), kept, noise)
    return integrate(atoms, calculator, scheme, generator)
