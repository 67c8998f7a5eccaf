"""The energy that velocity Verlet conserves."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from surface_potentials import MorseSurface

from distill.simulation.dynamics import velocity_verlet
from distill.simulation.shadow_energy import ShadowEnergy


class Spring(Calculator):
    """5 eV/Å² towards the origin, of every atom."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 2.5 * np.sum(atoms.positions**2), "forces": -5 * atoms.positions}


def energies(atoms, calculator, time_step, time):
    """Total and shadow energies, eV, of the steps that have both."""
    shadow = ShadowEnergy(atoms, time_step)
    totals, shadows, before = [], [], 0.0
    for step in velocity_verlet(atoms, calculator, time_step):
        found = shadow.before(step)
        if found is not None:
            totals.append(before)
            shadows.append(found)
        before = step.energy + step.kinetic
        if step.index * time_step >= time:
            return np.array(totals), np.array(shadows)
    raise AssertionError


def molecule() -> Atoms:
    """H2 drawn to 1.1 Å, as far as v = 2 reaches, and turning."""
    atoms = Atoms("H2", positions=[[0, 0, 0], [1.1, 0, 0]])
    atoms.set_velocities(np.array([[0, 0.01, 0], [0, -0.01, 0]]) / units.fs)
    return atoms


def test_a_spring_has_the_exact_one():
    """Of v²/2 + ω²x²/2 (1 − h²ω²/4), which the integrator keeps to rounding, to second order."""
    atoms = Atoms("H", positions=[[0.1, 0, 0]])
    totals, shadows = energies(atoms, Spring(), 0.5, 30.0)
    square = 0.25 * 5 * units.fs**2 / atoms.get_masses()[0]
    assert np.ptp(totals) == pytest.approx(0.025 * square / 4, rel=0.05)
    assert np.ptp(shadows) < 0.05 * np.ptp(totals)


@pytest.mark.physics
def test_it_is_conserved_to_the_fourth_order_of_the_step():
    swings = {h: np.ptp(energies(molecule(), MorseSurface(), h, 40.0)[1]) for h in (0.4, 0.2)}
    assert swings[0.4] / swings[0.2] == pytest.approx(16, rel=0.25)
    totals, shadows = energies(molecule(), MorseSurface(), 0.5, 40.0)
    assert np.ptp(totals) > 0.05
    assert np.ptp(shadows) < 0.2 * np.ptp(totals)


def test_atoms_that_are_held_do_not_count():
    atoms = molecule()
    atoms.set_constraint(FixAtoms(indices=[0]))
    swings = [np.ptp(found) for found in energies(atoms, MorseSurface(), 0.25, 30.0)]
    assert swings[1] < 0.05 * swings[0]
