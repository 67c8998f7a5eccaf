"""The energy that velocity Verlet conserves, which tells a drift from a vibration.

The total energy swings with every vibration, by an amount that grows with the square of the step
and with the vibration's energy: a hot molecule seems to lose at the surface what it never had. What
is conserved to the fourth order is the modified (shadow) Hamiltonian of the integrator,

    H + h² (v·U″·v / 12 − F·M⁻¹·F / 24),

Hairer, Lubich and Wanner, Geometric Numerical Integration (2006), chapter IX. Along a trajectory
U″·v is the forces' change in time, so it needs no further force call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from distill.simulation.dynamics import ACCELERATION, Step
from distill.systems.constraints import mobile_atoms

# fs: about a period of H2, the fastest vibration there is.
_PERIOD = 8.0


class ShadowEnergy:
    """Shadow energies along one trajectory of velocity Verlet.

    Parameters
    ----------
    atoms
        Masses and constraints.
    time_step
        fs.
    """

    def __init__(self, atoms: Atoms, time_step: float) -> None:
        self._time_step = time_step
        mobile = mobile_atoms(atoms)
        # Å²/eV for h² / 24 m.
        self._softness = np.where(
            mobile, time_step**2 * ACCELERATION / atoms.get_masses() / 24, 0.0
        )
        self._latest: deque[Step] = deque(maxlen=3)

    def before(self, step: Step) -> float | None:
        """Shadow energy one step before this one, eV; None until there are three steps."""
        self._latest.append(step)
        if len(self._latest) < 3:
            return None
        earlier, middle, later = self._latest
        change = np.vdot(middle.velocities, later.forces - earlier.forces)
        squares = np.einsum("i,ij,ij->", self._softness, middle.forces, middle.forces)
        total = middle.energy + middle.kinetic
        return float(total - self._time_step / 24 * change - squares)


class EnergyDrift:
    """How far the energy of one trajectory of velocity Verlet has drifted.

    The shadow energy is averaged with a memory of one vibration, because a hard collision bends it
    for a moment by what the fourth order leaves, and gives that back.

    Parameters
    ----------
    atoms
        Masses and constraints.
    time_step
        fs.
    memory
        Of the same trajectory up to its first step here.
    """

    def __init__(
        self, atoms: Atoms, time_step: float, memory: Sequence[float] | None = None
    ) -> None:
        self._shadow = ShadowEnergy(atoms, time_step)
        self._weight = min(1.0, time_step / _PERIOD)
        self._first: float | None = None
        self._mean = 0.0
        if memory is not None and len(memory):
            self._first, self._mean = map(float, memory)

    @property
    def memory(self) -> list[float]:
        """The first energy and the mean, eV, once there are any."""
        return [] if self._first is None else [self._first, self._mean]

    def at(self, step: Step) -> float:
        """The drift up to this step, the next of the trajectory, eV; not a number if that is so."""
        energy = self._shadow.before(step)
        if energy is not None:
            if self._first is None:
                self._first = self._mean = energy
            self._mean += self._weight * (energy - self._mean)
        return 0.0 if self._first is None else abs(self._mean - self._first)
