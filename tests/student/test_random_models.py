"""Models drawn at random, of any elements, order and degrees: definition, derivatives, symmetry."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_ace import site_basis

from distill.core.errors import UserError
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.engine.assembly import design_rows, site_descriptors
from distill.student.student_model import Student

ELEMENTS = chemical_symbols[1:104]


@st.composite
def specs(draw):
    """A small basis: degrees fall with the order, so that it stays in the thousands."""
    elements = draw(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3, unique=True))
    order = draw(st.integers(1, 5 if len(elements) == 1 else 3))
    largest = draw(st.floats(3.0, 7.0 - len(elements)))
    degrees = tuple(max(largest - 0.5 * k, 2.0) for k in range(order))
    return BasisSpec(
        tuple(elements),
        order,
        degrees,
        wL=draw(st.sampled_from([1.0, 1.5, 2.0])),
        rcut=draw(st.floats(3.5, 5.0)),
        r0=draw(st.sampled_from(["bondlen", 2.2])),
        pair=draw(st.booleans()),
        zbl=draw(st.booleans()),
    )


def student_and_cluster(spec, seed):
    generator = np.random.default_rng(seed)
    basis = build_basis(spec)
    coefficients = generator.normal(size=basis.n_functions) / (1 + basis.gamma(2.0))
    e0 = dict(zip(spec.elements, generator.normal(size=len(spec.elements)), strict=True))
    places = [np.zeros(3)]
    while len(places) < 5:
        place = generator.uniform(-2.5, 2.5, 3)
        if min(np.linalg.norm(place - other) for other in places) > 1.4:
            places.append(place)
    cell = np.diag([6.0, 6.5, 7.0]) + generator.uniform(-0.5, 0.5, (3, 3))
    symbols = generator.choice(spec.elements, 5)
    pbc = generator.random(3) < 0.5
    atoms = Atoms(symbols, places, cell=cell, pbc=pbc)
    return Student(basis=basis, coefficients=coefficients, e0=e0), atoms, generator


@given(spec=specs(), seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_any_model_is_its_definition_with_its_derivatives_and_symmetries(spec, seed):
    student, atoms, generator = student_and_cluster(spec, seed)
    energy, forces, virial = student.predict(atoms)
    scale = 1 + np.abs(forces).max()

    expected = site_basis(student.basis, atoms)
    np.testing.assert_allclose(
        site_descriptors(student.basis, atoms), expected, atol=1e-10 * (1 + np.abs(expected).max())
    )
    if not spec.zbl:
        row, force_rows, _ = design_rows(student.basis, atoms, virial=False)
        one_body = sum(student.e0[symbol] for symbol in atoms.symbols)
        assert row @ student.coefficients + one_body == pytest.approx(energy, abs=1e-10 * scale)
        found = (force_rows @ student.coefficients).reshape(-1, 3)
        np.testing.assert_allclose(found, forces, atol=1e-9 * scale)

    direction, step = generator.normal(size=(5, 3)), 1e-4
    moved = [atoms.copy() for _ in range(4)]
    for copy, k in zip(moved, (-2, -1, 1, 2), strict=True):
        copy.positions += k * step * direction
    values = [student.energy(copy) for copy in moved]
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    assert -slope == pytest.approx(np.sum(forces * direction), abs=1e-6 * scale)

    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    order = generator.permutation(5)
    turned = atoms[order]
    turned.set_cell(atoms.cell.array @ rotation)
    turned.positions = atoms.positions[order] @ rotation + generator.normal(size=3)
    found = student.predict(turned)
    assert found[0] == pytest.approx(energy, abs=1e-10 * scale)
    np.testing.assert_allclose(found[1], forces[order] @ rotation, atol=1e-9 * scale)
    np.testing.assert_allclose(
        found[2], rotation.T @ virial @ rotation, atol=1e-9 * (scale + np.abs(virial).max())
    )


def test_curvature_has_no_jumps_inside_the_cutoff(random_student):
    """Cubic splines join with equal second derivatives, so halving the step halves all changes."""
    student = random_student(("Cu", "H"), (6.0, 5.0, 4.0), rcut=4.0)

    def largest_change(step):
        distances = np.arange(1.2, 3.2, step)
        trimers = (
            Atoms("CuHCu", [[0, 0, 0], [r, 0.2, 0], [0.3, 1.7, 0.5]], pbc=False) for r in distances
        )
        forces = np.array([student.forces(trimer)[1, 0] for trimer in trimers])
        curvature = np.diff(forces) / step
        return np.abs(np.diff(curvature)).max()

    assert largest_change(0.002) / largest_change(0.001) == pytest.approx(2.0, rel=0.2)


def test_an_element_that_is_not_in_the_model_is_named(random_student):
    with pytest.raises(UserError, match="knows Cu, H, but the structure has Pt"):
        random_student().predict(Atoms("CuPt", [[0, 0, 0], [2.5, 0, 0]]))
