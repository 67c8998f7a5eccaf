"""Products by coupled pairs: the same model as products of one-particle functions."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers import GOLDEN_DATA
from product_forms import both_forms

from distill.student.engine.angular_coupling import real_coupling
from distill.student.engine.coupled_pairs import quadratic_form
from distill.student.engine.pair_tables import node_cost, pair_cost
from distill.student.engine.tables import (
    WORTHWHILE,
    all_as_nodes,
    evaluator_of,
    pair_evaluator_of,
)
from distill.student.student_model import Student


def structures(elements) -> list[Atoms]:
    """A small cell, one atom, two out of reach, and a crystal with gaps."""
    generator = np.random.default_rng(5)
    small = Atoms("Cu2", [[0, 0, 0], [1.4, 1.5, 1.3]], cell=[2.7, 2.9, 3.1], pbc=True)
    apart = Atoms("Cu2", [[0, 0, 0], [0, 0, 40]])
    crystal = bulk("Cu", cubic=True).repeat((3, 2, 1))
    crystal.rattle(0.2, seed=3)
    del crystal[[1, 5]]
    found = [small, Atoms("Cu"), apart, crystal]
    for atoms in found:
        atoms.symbols = generator.choice(elements, len(atoms))
    return found


def check_same(student: Student) -> None:
    nodes, pairs = both_forms(student)
    for atoms in structures(student.elements):
        expected, found = nodes.evaluate(atoms), pairs.evaluate(atoms)
        scale = 1 + np.abs(expected.forces).max(initial=0.0)
        np.testing.assert_allclose(found.energies, expected.energies, atol=1e-12 * scale)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-11 * scale)
        np.testing.assert_allclose(found.virial, expected.virial, atol=1e-10 * scale)


@pytest.mark.parametrize("name", ["cuh_order3", "cuh_order4"])
def test_a_model_of_acepotentials_is_the_same_by_pairs(name) -> None:
    check_same(Student.load(GOLDEN_DATA / f"{name}.npz"))


@pytest.mark.parametrize(
    ("elements", "degrees", "options"),
    [
        (("Si",), (9.0, 9.0, 9.0, 9.0), {"wL": 0.8}),
        (("Cu", "H"), (6.0, 6.0, 5.0, 4.0), {"wL": 0.7, "zbl": True}),
        (("Cu", "H", "O"), (4.0, 4.0, 4.0), {"wL": 0.6}),
        (("Li",), (6.0, 6.0, 6.0, 6.0, 6.0), {"wL": 0.9}),
        (("Li", "F"), (4.0, 4.0, 4.0, 4.0, 4.0, 4.0), {"pair": False}),
    ],
)
def test_any_model_is_the_same_by_pairs(random_student, elements, degrees, options) -> None:
    check_same(random_student(elements, degrees, rcut=4.5, **options))


def test_forces_are_the_derivatives_of_the_energy_by_pairs(random_student) -> None:
    student = random_student(("Cu", "H"), (6.0, 6.0, 5.0, 4.0), wL=0.7, rcut=4.5)
    _, pairs = both_forms(student)
    atoms = structures(student.elements)[-1]
    direction, step = np.random.default_rng(2).normal(size=(len(atoms), 3)), 1e-4

    def energy(times: float) -> float:
        moved = atoms.copy()
        moved.positions += times * step * direction
        return pairs.evaluate(moved).energies.sum()

    slope = (energy(-2) - 8 * energy(-1) + 8 * energy(1) - energy(2)) / (12 * step)
    forces = pairs.evaluate(atoms).forces
    assert -slope == pytest.approx((forces * direction).sum(), rel=1e-7)


def test_the_form_is_the_one_that_should_be_faster(random_student) -> None:
    for degrees, taken in [((4.0, 4.0), False), ((3.0,) * 3, False), ((14.0,) * 4, True)]:
        basis = random_student(("Si",), degrees).basis
        pairs, chosen = pair_evaluator_of(basis), evaluator_of(basis)
        assert (chosen.entries is not None) == taken
        assert (pairs is None) == (len(degrees) < 3)
        if pairs is not None:
            cost = node_cost(pairs.layout) + pair_cost(pairs.layout.pairs)
            assert (cost < WORTHWHILE * node_cost(all_as_nodes(basis).layout)) == taken


def test_products_that_are_no_invariants_stay_nodes(random_student) -> None:
    coupling = random_student(("Si",), (6.0, 6.0, 6.0, 6.0)).basis.coupling
    assert quadratic_form(coupling) is not None
    values = coupling.values.copy()
    values[np.argmax(np.bincount(coupling.rows)[coupling.rows])] *= 1.01
    assert quadratic_form(coupling._replace(values=values)) is None


def test_coupled_harmonics_turn_as_one_harmonic_does() -> None:
    """All L together are a turn of the product space; 1 x 1 to 1 is the cross product."""
    for l1 in range(5):
        for l2 in range(5):
            totals = range(abs(l1 - l2), l1 + l2 + 1)
            whole = np.concatenate(
                [real_coupling(l1, l2, each).reshape(2 * each + 1, -1) for each in totals]
            )
            np.testing.assert_allclose(whole @ whole.T, np.eye(len(whole)), atol=1e-13)
    cross = real_coupling(1, 1, 1)
    np.testing.assert_allclose(cross, -cross.transpose(0, 2, 1), atol=1e-15)
    np.testing.assert_allclose(np.abs(cross).max(), 2**-0.5)
