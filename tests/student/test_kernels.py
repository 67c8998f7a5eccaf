"""The compiled kernels against the definition, finite differences and the symmetries."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from plain_ace import neighbours_of, site_basis

from distill.student.engine.assembly import design_rows, site_descriptors
from distill.student.engine.evaluate import species_indices
from distill.student.engine.kernels import simd
from distill.student.engine.kernels.zbl import core_parameters
from distill.student.engine.neighbours import list_neighbours
from distill.student.engine.products import plan_products

MODELS = {
    "one element, order 1": {"elements": ("Si",), "totaldegree": (7.0,)},
    "two elements, order 3": {"elements": ("Cu", "H"), "totaldegree": (6.0, 5.0, 4.5)},
    "high l": {"elements": ("Al",), "totaldegree": (9.0, 12.0), "wL": 0.9},
    "order 4": {"elements": ("Ti", "Al"), "totaldegree": (5.0, 4.5, 4.0, 4.5)},
    "order 6": {"elements": ("Li",), "totaldegree": (3.0, 3.0, 3.0, 4.0, 5.0, 6.0)},
    "no pair term": {"elements": ("Cu",), "totaldegree": (5.0, 5.0), "pair": False},
    "cutoff by pair": {
        "elements": ("Cu", "H"),
        "totaldegree": (5.0, 4.0),
        "rcut": {("Cu", "Cu"): 4.5, ("Cu", "H"): 3.5, ("H", "H"): 2.5},
    },
    "repulsive core": {"elements": ("Cu", "H"), "totaldegree": (4.0, 3.0), "zbl": True},
}


def random_cluster(elements, n_atoms, seed, *, spread=2.2, pbc=False):
    """Atoms at random places, none closer than about 1 Å, in a skew cell where periodic."""
    generator = np.random.default_rng(seed)
    positions = [np.zeros(3)]
    while len(positions) < n_atoms:
        place = generator.uniform(-spread, spread, 3)
        if min(np.linalg.norm(place - other) for other in positions) > 1.1:
            positions.append(place)
    cell = np.diag([5.5, 6.0, 6.5]) + generator.uniform(-0.6, 0.6, (3, 3)) if pbc else None
    symbols = generator.choice(elements, n_atoms)
    return Atoms(symbols, positions, cell=cell, pbc=pbc)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pbc", [False, True])
def test_site_basis_is_the_definition(name, pbc, random_student):
    student = random_student(**MODELS[name])
    atoms = random_cluster(student.elements, 6, seed=3, pbc=pbc)
    expected = site_basis(student.basis, atoms)
    np.testing.assert_allclose(site_descriptors(student.basis, atoms), expected, atol=1e-11)
    if "zbl" not in MODELS[name]:
        one_body = [student.e0[symbol] for symbol in atoms.symbols]
        energies = expected @ student.coefficients + one_body
        np.testing.assert_allclose(student.energies(atoms), energies, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_forces_and_virial_are_derivatives(name, random_student):
    student = random_student(**MODELS[name])
    atoms = random_cluster(student.elements, 7, seed=11, pbc=True)
    if name == "repulsive core":
        # Atoms 1 and 2 within their core, well away from its ends.
        end = core_parameters([atoms.symbols[1], atoms.symbols[2]])[1, 2]
        atoms.set_distance(1, 2, 0.7 * end, fix=0)
    _, forces, virial = student.predict(atoms)
    step = 1e-4

    def slope(move):
        """Fourth-order central difference of the energy."""
        values = [student.energy(move(k * step)) for k in (-2, -1, 1, 2)]
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)

    for atom in range(3):
        for axis in range(3):

            def moved(distance, atom=atom, axis=axis):
                copy = atoms.copy()
                copy.positions[atom, axis] += distance
                return copy

            assert -slope(moved) == pytest.approx(forces[atom, axis], abs=2e-8)
    for first in range(3):
        for second in range(3):

            def strained(amount, first=first, second=second):
                copy = atoms.copy()
                deformation = np.eye(3)
                deformation[first, second] += amount
                copy.set_cell(copy.cell.array @ deformation, scale_atoms=True)
                return copy

            assert -slope(strained) == pytest.approx(virial[first, second], abs=1e-7)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "repulsive core"])
def test_design_rows_give_the_models_predictions(name, random_student):
    student = random_student(**MODELS[name])
    atoms = random_cluster(student.elements, 9, seed=5, pbc=True)
    energy, forces, virial = design_rows(student.basis, atoms)
    expected = student.predict(atoms)
    one_body = sum(student.e0[symbol] for symbol in atoms.symbols)
    assert energy @ student.coefficients + one_body == pytest.approx(expected[0], abs=1e-11)
    np.testing.assert_allclose(
        forces @ student.coefficients, expected[1].ravel(), atol=1e-10 * np.abs(expected[1]).max()
    )
    voigt = [expected[2][i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    np.testing.assert_allclose(
        virial @ student.coefficients, voigt, atol=1e-10 * np.abs(voigt).max()
    )
    only_energy = design_rows(student.basis, atoms, forces=False, virial=False)
    np.testing.assert_array_equal(only_energy[0], energy)
    assert only_energy[1:] == (None, None)


@given(seed=st.integers(0, 10_000), pbc=st.booleans(), name=st.sampled_from(sorted(MODELS)))
@settings(max_examples=25, deadline=None)
def test_symmetries(seed, pbc, name, random_student):
    student = random_student(**MODELS[name])
    generator = np.random.default_rng(seed)
    atoms = random_cluster(student.elements, 6, seed, pbc=pbc)
    energy, forces, virial = student.predict(atoms)
    tolerance = 1e-10 * (1 + np.abs(forces).max())

    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]  # with reflections
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation)
    turned.positions = atoms.positions @ rotation + generator.normal(size=3)
    found = student.predict(turned)
    assert found[0] == pytest.approx(energy, abs=tolerance)
    np.testing.assert_allclose(found[1], forces @ rotation, atol=tolerance)
    np.testing.assert_allclose(found[2], rotation.T @ virial @ rotation, atol=10 * tolerance)

    order = generator.permutation(len(atoms))
    found = student.predict(atoms[order])
    assert found[0] == pytest.approx(energy, abs=tolerance)
    np.testing.assert_allclose(found[1], forces[order], atol=tolerance)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=tolerance)
    np.testing.assert_allclose(virial, virial.T, atol=10 * tolerance)


def test_lists_of_any_order_and_reach_give_the_same(random_student):
    student = random_student()
    atoms = random_cluster(student.elements, 9, seed=2, pbc=True)
    expected = student.evaluate(atoms)
    first, neighbour, vectors = list_neighbours(atoms, student.cutoff + 1.3)
    generator = np.random.default_rng(0)
    order = np.concatenate(
        [generator.permutation(np.arange(first[i], first[i + 1])) for i in range(len(atoms))]
    )
    species = species_indices(student.elements, atoms)
    found = student.potential.evaluate_pairs(species, first, neighbour[order], vectors[order])
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-12)


def test_images_as_own_atoms_carry_their_forces(random_student):
    """A list whose neighbours are copies without lists of their own, as LAMMPS' ghosts are."""
    student = random_student()
    atoms = random_cluster(student.elements, 5, seed=4, pbc=True)
    expected = student.evaluate(atoms)
    first, neighbour, vectors = list_neighbours(atoms, student.cutoff)
    species = species_indices(student.elements, atoms)
    ghosts = np.concatenate([species, species[neighbour]])
    index = len(atoms) + np.arange(len(neighbour))
    found = student.potential.evaluate_pairs(ghosts, first, index, vectors)
    forces = found.forces[: len(atoms)].copy()
    np.add.at(forces, neighbour, found.forces[len(atoms) :])
    np.testing.assert_allclose(forces, expected.forces, atol=1e-12)
    np.testing.assert_allclose(found.virial, expected.virial, atol=1e-11)
    np.testing.assert_array_equal(found.energies, expected.energies)


def test_results_do_not_depend_on_threads(random_student):
    student = random_student(("Cu", "H"), (5.0, 4.0, 3.5))
    atoms = bulk("Cu", cubic=True).repeat((5, 4, 4))
    atoms.rattle(0.1, seed=0)
    atoms.symbols[::7] = "H"
    alone, shared = student.evaluate(atoms), student.evaluate(atoms, threads=3)
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)


def test_value_and_slope_vanish_at_the_cutoff(random_student):
    """The envelopes end as (rcut - r)²: no jump in energy or forces, and a bounded curvature."""
    student = random_student(("Cu", "H"), (6.0, 5.0, 4.0), rcut=4.0)
    pair = Atoms("CuH", [[0, 0, 0], [1.4, 0.3, 0]])

    def influence(gap):
        """Energy and largest force that a third atom brings, `gap` inside the cutoff of Cu."""
        trimer = pair + Atoms("Cu", [[-(4.0 - gap), 0, 0]])
        energy = student.energy(trimer) - student.energy(pair) - student.e0["Cu"]
        return abs(energy), np.abs(student.forces(trimer)[2]).max()

    for gap in (1e-3, 1e-4):
        energy, force = influence(gap)
        closer_energy, closer_force = influence(gap / 10)
        assert energy / closer_energy == pytest.approx(100, rel=0.1)
        assert force / closer_force == pytest.approx(10, rel=0.1)
    assert influence(0.0) == (0.0, 0.0)
    assert influence(-1e-9) == (0.0, 0.0)


def test_an_atom_alone_has_exactly_its_one_body_energy(random_student):
    student = random_student()
    for symbol in student.elements:
        for atoms in (Atoms(symbol), Atoms(symbol, cell=[30.0] * 3, pbc=True)):
            energy, forces, virial = student.predict(atoms)
            assert energy == student.e0[symbol]
            assert not forces.any()
            assert not virial.any()


def test_no_atoms_at_all(random_student):
    energy, forces, virial = random_student().predict(Atoms())
    assert energy == 0.0
    assert forces.shape == (0, 3)
    assert not virial.any()


def test_images_within_the_cutoff_count(random_student):
    student = random_student(("Cu",), (5.0, 4.0), rcut=6.0)
    cell = bulk("Cu", a=3.7)
    cell.rattle(0.05, seed=1)
    large = cell.repeat(3)
    assert len(neighbours_of(cell, 0, 6.0)) > 50
    assert student.energy(large) == pytest.approx(27 * student.energy(cell), abs=1e-9)
    np.testing.assert_allclose(student.predict(large)[2], 27 * student.predict(cell)[2], atol=1e-8)


def test_one_element_may_be_absent(random_student):
    student = random_student()
    atoms = bulk("Cu", cubic=True)
    expected = site_basis(student.basis, atoms).sum(axis=0) @ student.coefficients
    assert student.energy(atoms) == pytest.approx(expected + 4 * student.e0["Cu"], abs=1e-11)


def test_very_close_atoms_stay_finite_and_repel(random_student):
    student = random_student(zbl=True)
    for distance in (1e-3, 0.05, 0.3):
        _, forces, _ = student.predict(Atoms("H2", [[0, 0, 0], [0, 0, distance]]))
        assert np.isfinite(forces).all()
    core = random_student(("Cu",), (3.0,), zbl=True, pair=False)
    _, forces, _ = core.predict(Atoms("Cu2", [[0, 0, 0], [0, 0, 0.5]]))
    assert forces[1, 2] > 1e3


def test_products_are_planned_with_one_multiplication_each():
    generator = np.random.default_rng(0)
    rows = {
        order: sorted({tuple(sorted(generator.integers(0, 9, order))) for _ in range(30)})
        for order in (1, 2, 3, 4)
    }
    blocks = [np.array(rows[order], np.int32) for order in rows]
    plan = plan_products(blocks, 9)
    one_particle = generator.normal(size=9)
    nodes = list(one_particle)
    for parent, factor in zip(plan.node_parent, plan.node_factor, strict=True):
        nodes.append(nodes[parent] * one_particle[factor])
    found = {c: value for c, value in zip(plan.node_column, nodes, strict=True) if c >= 0}
    for group, parent in enumerate(plan.group_parent):
        for leaf in range(plan.group_first[group], plan.group_first[group + 1]):
            found[plan.leaf_column[leaf]] = nodes[parent] * one_particle[plan.leaf_factor[leaf]]
    listed = [row for order in rows for row in rows[order]]
    expected = [np.prod(one_particle[list(row)]) for row in listed]
    np.testing.assert_allclose([found[c] for c in range(len(listed))], expected)
    assert len(plan.node_parent) + len(plan.leaf_factor) < sum(len(row) - 1 for row in listed)


def test_lane_operations():
    @njit
    def operate(a, b, out):
        x, y = simd.load(a, 0), simd.load(b, 0)
        simd.store(out, 0, simd.fma(x, y, x) - 2.0 * y)
        simd.store(out, 8, simd.square_root(x) / (1.0 + y))
        simd.store(out, 16, simd.smaller(simd.floor(x), simd.larger(y, simd.splat(0.5))))
        return simd.total(x)

    generator = np.random.default_rng(1)
    a, b, out = generator.uniform(1, 5, 8), generator.uniform(0, 1, 8), np.zeros(24)
    assert operate(a, b, out) == pytest.approx(a.sum())
    np.testing.assert_allclose(out[:8], a * b + a - 2 * b, rtol=1e-15)
    np.testing.assert_allclose(out[8:16], np.sqrt(a) / (1 + b), rtol=1e-15)
    np.testing.assert_allclose(out[16:], np.minimum(np.floor(a), np.maximum(b, 0.5)))


def test_molecules_far_apart_do_not_feel_each_other(random_student):
    student = random_student(("O", "H"), (5.0, 4.0))
    water = molecule("H2O")
    pair = water.copy()
    other = water.copy()
    other.translate([0, 0, 20])
    pair += other
    assert student.energy(pair) == pytest.approx(2 * student.energy(water), abs=1e-12)
