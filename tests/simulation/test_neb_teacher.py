"""Barriers of a teacher from its student's path: few calls, the full band's value, kills."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.io import write
from surface_potentials import DoubleWell

from distill.config import NebConfig
from distill.core.errors import UserError
from distill.simulation.discrepancy import Called, Discrepancy
from distill.simulation.neb import minimum_energy_path
from distill.simulation.neb_teacher import converged_by_teacher


class Teacher(DoubleWell):
    """A double well with another height, ends and saddle, and with a bent path; counts calls."""

    def __init__(self, fails_on: int = 0) -> None:
        super().__init__()
        self.calls, self.fails_on = 0, fails_on

    def calculate(self, atoms, properties=("energy",), system_changes=all_changes):
        self.calls += 1
        if self.calls == self.fails_on:
            raise UserError("no answer")
        super().calculate(atoms, properties, system_changes)
        x, y, _ = self.atoms.positions[0]
        more, slope = added(x, y)
        self.results["energy"] += more
        self.results["forces"][0, :2] -= slope


def added(x: float, y: float) -> tuple[float, np.ndarray]:
    """Energy (eV) and slope (eV/Å) that the teacher has more, some tenths of an eV."""
    wave = np.exp(-(x**2) - y**2)
    energy = 0.12 * x + 0.15 * wave + 0.1 * y * np.cos(x)
    slope = [
        0.12 - 0.3 * x * wave - 0.1 * y * np.sin(x),
        -0.3 * y * wave + 0.1 * np.cos(x),
    ]
    return energy, np.array(slope)


@pytest.fixture
def config(tmp_path) -> NebConfig:
    ends = {}
    for name, x in (("initial", -0.9), ("final", 0.9)):
        # The second atom tells the interpolation how far apart things are.
        write(tmp_path / f"{name}.xyz", Atoms("H2", [[x, 0.2, 0.1], [0, 4, 0]]))
        ends[name] = str(tmp_path / f"{name}.xyz")
    return NebConfig(**ends, images=5, fmax=0.02, max_steps=200, hessian="none")


@pytest.fixture
def path(config) -> list[Atoms]:
    return minimum_energy_path(config, DoubleWell()).images


@pytest.mark.physics
def test_few_calls_give_the_barrier_of_the_teachers_full_band(config, path):
    full = minimum_energy_path(config, teacher := Teacher())
    costs = teacher.calls
    found = converged_by_teacher(config, few := Teacher(), DoubleWell(), path)
    assert (found.converged, found.problem) == (True, "")
    assert found.barrier == pytest.approx(full.barrier, abs=0.002)
    assert found.reaction_energy == pytest.approx(full.energies[-1], abs=0.004)
    assert found.student_barrier == pytest.approx(1.0, abs=0.002)
    assert abs(full.barrier - 1.0) > 0.1
    assert few.calls == found.calls <= 15 < costs / 5


def test_calls_that_are_kept_are_not_made_again(config, path, tmp_path):
    whole = converged_by_teacher(config, Teacher(), DoubleWell(), path)
    file = tmp_path / "calls.npz"
    stopped = converged_by_teacher(config, Teacher(fails_on=5), DoubleWell(), path, checkpoint=file)
    assert (stopped.calls, stopped.converged, stopped.problem) == (4, False, "no answer")
    again = Teacher()
    assert converged_by_teacher(config, again, DoubleWell(), path, checkpoint=file) == whole
    assert again.calls == whole.calls - 4


def test_a_budget_too_small_is_said_and_refused(config, path):
    few = converged_by_teacher(config, Teacher(), DoubleWell(), path, calls=3)
    assert (few.calls, few.converged) == (3, False)
    with pytest.raises(UserError, match=r"three calls of the teacher at least.*found 2"):
        converged_by_teacher(config, Teacher(), DoubleWell(), path, calls=2)


def test_the_process_goes_through_its_data_and_its_forces_are_slopes():
    rng = np.random.default_rng(1)
    calls = []
    for _ in range(6):
        positions = rng.normal(scale=0.5, size=(3, 3))
        energy, slope = added(*positions[0, :2])
        forces = np.zeros((3, 3))
        forces[0, :2] = -slope
        calls.append(Called(positions, energy, forces))
    process = Discrepancy(calls, np.array([0, 2]))
    for call in calls:
        energy, forces = process.evaluate(call.positions)
        assert energy == pytest.approx(call.energy, abs=1e-4)
        np.testing.assert_allclose(forces[0], call.forces[0], atol=1e-3)
        np.testing.assert_array_equal(forces[1], 0.0)
        assert process.deviation(call.positions) < 1e-3
    place = rng.normal(scale=0.5, size=(3, 3))
    _, forces = process.evaluate(place)
    for atom, axis in ((0, 0), (2, 1)):
        moved = [place.copy(), place.copy()]
        moved[0][atom, axis] += 1e-5
        moved[1][atom, axis] -= 1e-5
        slope = (process.evaluate(moved[0])[0] - process.evaluate(moved[1])[0]) / 2e-5
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)
    assert process.deviation(place) > process.deviation(calls[0].positions)
