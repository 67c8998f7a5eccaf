"""The ASE calculator and its Verlet list."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from distill.core.errors import UserError
from distill.models.cached_calculators import cached_calculator
from distill.models.calculators import load_calculator
from distill.student.engine.neighbours import VerletList, list_neighbours
from distill.student.student_model import StudentCalculator


@pytest.fixture(scope="module")
def springy_student(random_student):
    """A student whose atoms stay near their sites: strong short-ranged repulsion."""
    return random_student(("Cu",), (4.0, 3.0), seed=1, zbl=True, rcut=4.5)


def test_properties_are_those_of_the_student(random_student):
    student = random_student()
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = student.calculator()
    assert isinstance(atoms.calc, StudentCalculator)
    energy, forces, virial = student.predict(atoms)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-12)
    np.testing.assert_allclose(atoms.get_potential_energies(), student.energies(atoms), atol=1e-12)
    expected = -virial / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-12)


def test_a_molecule_has_no_stress(random_student):
    atoms = Atoms("CuH", [[0, 0, 0], [0, 0, 1.5]])
    atoms.calc = random_student().calculator()
    atoms.get_forces()
    assert "stress" not in atoms.calc.results


def test_the_verlet_list_finds_what_a_new_search_finds(random_student):
    student = random_student()
    generator = np.random.default_rng(3)
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.symbols[5] = "H"
    atoms.calc = student.calculator(skin=0.4)
    lists = []
    for _ in range(30):
        atoms.positions += generator.normal(scale=0.02, size=atoms.positions.shape)
        _, forces, virial = student.predict(atoms)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-11)
        expected = -virial / atoms.get_volume()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-12)
        if not any(atoms.calc.neighbours.pairs is pairs for pairs in lists):
            lists.append(atoms.calc.neighbours.pairs)
    assert 2 <= len(lists) < 15


def test_a_cached_calculator_knows_nothing_of_the_structures_before(random_student, tmp_path):
    """Neighbours in the order of another structure add up to other last digits."""
    path = tmp_path / "student.npz"
    random_student().save(path)
    generator = np.random.default_rng(5)
    for _ in range(8):
        before = bulk("Cu", cubic=True).repeat(2)
        before.positions += generator.normal(scale=0.3, size=before.positions.shape)
        atoms = before.copy()
        atoms.positions += generator.normal(scale=0.03, size=before.positions.shape)
        cached_calculator(path).calculate(before)
        found = []
        for calculator in (cached_calculator(path), load_calculator(path)):
            calculator.calculate(atoms)
            found.append(calculator.results)
        assert found[0]["energy"] == found[1]["energy"]
        np.testing.assert_array_equal(found[0]["forces"], found[1]["forces"])


def test_the_verlet_list_notices_every_change():
    atoms = bulk("Cu", cubic=True)
    verlet = VerletList(5.0, 0.5)

    def pairs_within(neighbours):
        lengths = np.linalg.norm(neighbours.vectors, axis=1)
        return np.sort(lengths[lengths < 5.0])

    def same_as_new():
        found, expected = verlet.update(atoms), list_neighbours(atoms, 5.0)
        np.testing.assert_allclose(pairs_within(found), pairs_within(expected), atol=1e-12)

    same_as_new()
    atoms.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    same_as_new()
    atoms.pbc = (True, True, False)
    same_as_new()
    atoms.positions[0] += 0.3
    same_as_new()
    atoms += Atoms("H", [[1.0, 1.0, 1.0]])
    same_as_new()
    del atoms[0]
    same_as_new()
    pairs = verlet.pairs
    atoms.positions += 0.1
    same_as_new()
    assert verlet.pairs is pairs


def test_a_simulation_that_blew_up_is_told_so(random_student):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = random_student().calculator()
    atoms.get_forces()
    atoms.positions[2, 0] = np.nan
    with pytest.raises(UserError, match="atom 2"):
        atoms.get_forces()


@pytest.mark.physics
def test_energy_is_conserved_to_second_order_in_the_time_step(springy_student):
    def largest_drift(time_step):
        atoms = bulk("Cu", cubic=True, a=3.0)
        atoms.calc = springy_student.calculator()
        widths = np.sqrt(atoms.get_masses() * 300 * units.kB)
        atoms.set_momenta(np.random.default_rng(5).normal(size=(4, 3)) * widths[:, None])
        start = atoms.get_total_energy()
        dynamics = VelocityVerlet(atoms, time_step * units.fs)
        drifts = []
        for _ in range(round(40 / time_step)):
            dynamics.run(1)
            drifts.append(abs(atoms.get_total_energy() - start))
        return max(drifts)

    coarse, fine = largest_drift(1.0), largest_drift(0.5)
    assert fine < 1e-3
    assert coarse / fine == pytest.approx(4.0, rel=0.25)
