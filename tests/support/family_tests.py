"""What every kind of model must do: base classes of the tests of each.

`FamilyContract` is the interface, `FamilyPhysics` the invariances and derivatives. A subclass gives
the fixtures that its base names, and says in class attributes what is true of its model.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.quantities import has_volume
from distill.models.base import FAMILIES, Family, Predictions, StructureError


class FamilyContract:
    """Give `model`, a fixture, and `structures`, some of them periodic in all directions."""

    stressed: ClassVar[bool] = True
    unknown: ClassVar[Atoms] = Atoms("Og", cell=[12] * 3, pbc=True)

    def test_it_is_registered_under_its_kind(self, model):
        assert FAMILIES.load(type(model).kind) is type(model)
        assert issubclass(type(model).Config, Section)

    def test_predictions_are_those_of_its_calculator(self, model, structures):
        found = model.predict(structures, stress=self.stressed)
        calculator = model.calculator()
        for index, atoms in enumerate(structures):
            copy = atoms.copy()
            copy.calc = calculator
            energy, forces = copy.get_potential_energy(), copy.get_forces(apply_constraint=False)
            assert found.energies[index] == pytest.approx(energy, abs=1e-8)
            assert found.forces[index].shape == (len(atoms), 3)
            np.testing.assert_allclose(found.forces[index], forces, atol=1e-8)
            if self.stressed and has_volume(atoms.cell[:]):
                np.testing.assert_allclose(found.stresses[index], copy.get_stress(), atol=1e-9)
            else:
                assert found.stresses[index] is None

    def test_no_stress_is_given_that_was_not_asked_for(self, model, structures):
        assert model.predict(structures).stresses == [None] * len(structures)

    def test_batches_change_nothing(self, model, structures):
        one, many = (model.in_batches(size).predict(structures) for size in (1, len(structures)))
        np.testing.assert_allclose(one.energies, many.energies, atol=1e-8)
        for single, batched in zip(one.forces, many.forces, strict=True):
            np.testing.assert_allclose(single, batched, atol=1e-8)

    def test_nothing_to_predict_gives_nothing(self, model):
        found = model.predict([])
        assert (found.energies.shape, found.forces, found.stresses) == ((0,), [], [])

    def test_a_saved_model_gives_the_same_predictions(self, model, structures, tmp_path):
        kind = type(model)
        path = tmp_path / f"model{kind.suffixes[0] if kind.suffixes else '.calculator'}"
        model.save(path)
        again = kind.load(path)
        assert again.elements == model.elements
        before, after = model.predict(structures), again.predict(structures)
        np.testing.assert_allclose(after.energies, before.energies, atol=1e-10)
        for one, other in zip(before.forces, after.forces, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-10)
        if kind.suffixes:
            readers = [name for name, family in FAMILIES.members().items() if family.reads(path)]
            assert readers == [kind.kind]

    def test_it_knows_the_elements_of_what_it_predicts(self, model, structures):
        known = model.elements
        assert known is None or known >= {s for atoms in structures for s in atoms.symbols}

    def test_an_unknown_element_is_an_error_of_that_structure(self, model, structures):
        with pytest.raises(StructureError) as caught:
            model.predict([structures[0], self.unknown])
        assert caught.value.index == 1

    def test_options_that_it_does_not_have_are_refused(self, model):
        assert model.with_options({}).elements == model.elements
        with pytest.raises(UserError, match=r"takes no args, found colour"):
            model.with_options({"colour": "red"})

    def test_descriptors_and_uncertainties_have_their_shape_or_are_refused(self, model, structures):
        try:
            rows = model.descriptors(structures)
            assert rows.shape[0] == len(structures)
            assert rows.ndim == 2
        except UserError as error:
            assert "has no descriptors" in str(error)
        try:
            for atoms, spread in zip(structures, model.uncertainty(structures), strict=True):
                assert spread.shape == (len(atoms), 3)
                assert (spread >= 0).all()
        except UserError as error:
            assert "has no uncertainty" in str(error)


class FamilyPhysics:
    """Physical invariants of a model: give `model` and `atoms`, a fixture each.

    Attributes
    ----------
    local
        Whether energies are sums over atoms with a finite cutoff, so that they are extensive.
    energy_tolerance
        Rounding of energies, eV/atom: some 1e-10 in double precision, 1e-5 in single.
    force_tolerance
        Rounding of forces, eV/Å.
    step
        Of finite differences, Å.
    """

    local = True
    energy_tolerance = 1e-9
    force_tolerance = 1e-8
    step = 1e-3

    @pytest.fixture
    def model(self) -> Family:
        """A model of the family, small and cheap."""
        raise NotImplementedError

    @pytest.fixture
    def atoms(self, model: Family) -> Atoms:
        """A periodic structure that it can evaluate, with forces and without symmetry."""
        symbol = sorted(model.elements or {"Cu"})[0]
        atoms = bulk(symbol, "fcc", a=3.7, cubic=True)
        atoms.symbols[:] = [sorted(model.elements or {"Cu"})[k % 2 - 1] for k in range(4)]
        atoms.rattle(0.1, seed=3)
        return atoms

    def test_the_registry_knows_it(self, model: Family) -> None:
        assert FAMILIES.load(model.kind) is type(model)

    def test_a_saved_model_predicts_the_same(self, model: Family, atoms: Atoms, tmp_path) -> None:
        for suffix in model.suffixes:
            path = tmp_path / f"model{suffix}"
            model.save(path)
            copy = type(model).load(path)
            assert copy.elements == model.elements
            one, other = model.predict([atoms]), copy.predict([atoms])
            np.testing.assert_array_equal(one.energies, other.energies)
            np.testing.assert_array_equal(one.forces[0], other.forces[0])

    def test_one_prediction_for_each_structure_in_its_order(self, model, atoms) -> None:
        larger = atoms.repeat((2, 1, 1))
        found = model.predict([larger, atoms, larger])
        assert found.energies.shape == (3,)
        assert [forces.shape for forces in found.forces] == [(8, 3), (4, 3), (8, 3)]
        self.same(model.predict([atoms]), found, 1)
        assert model.predict([]).energies.shape == (0,)

    def test_stress_comes_where_it_is_asked_for(self, model: Family, atoms: Atoms) -> None:
        assert model.predict([atoms]).stresses == [None]
        stress = model.predict([atoms], stress=True).stresses[0]
        if stress is None:
            pytest.skip(f"a model of kind {model.kind} has no stress")
        assert stress.shape == (6,)
        pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
        for number, (i, j) in zip(stress, pairs, strict=True):

            def energy(amount: float, i: int = i, j: int = j) -> float:
                strained = atoms.copy()
                strain = np.eye(3)
                strain[i, j] += amount / 2
                strain[j, i] += amount / 2
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                return float(model.predict([strained]).energies[0])

            slope = self.slope(energy) / atoms.get_volume()
            assert number == pytest.approx(slope, abs=self.derivative_tolerance(atoms))

    def test_forces_are_minus_the_slope_of_the_energy(self, model: Family, atoms: Atoms) -> None:
        forces = model.predict([atoms]).forces[0]
        for atom, axis in ((0, 0), (1, 2), (3, 1)):

            def energy(distance: float, atom: int = atom, axis: int = axis) -> float:
                moved = atoms.copy()
                moved.positions[atom, axis] += distance
                return float(model.predict([moved]).energies[0])

            expected = pytest.approx(forces[atom, axis], abs=self.derivative_tolerance(atoms))
            assert -self.slope(energy) == expected

    def test_energy_is_extensive(self, model: Family, atoms: Atoms) -> None:
        if not self.local:
            pytest.skip("the model is not local")
        found = model.predict([atoms, atoms.repeat((1, 2, 1))])
        np.testing.assert_allclose(
            found.energies[1], 2 * found.energies[0], atol=self.energy_tolerance * 2 * len(atoms)
        )
        np.testing.assert_allclose(
            found.forces[1], np.concatenate([found.forces[0]] * 2), atol=self.force_tolerance
        )

    def test_moving_and_turning_and_renumbering_change_nothing(self, model, atoms) -> None:
        generator = np.random.default_rng(0)
        rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
        rotation *= np.sign(np.linalg.det(rotation))
        order = generator.permutation(len(atoms))
        moved, turned, renumbered = atoms.copy(), atoms.copy(), atoms[order]
        moved.positions += [0.3, -1.7, 2.9]
        turned.set_cell(atoms.cell.array @ rotation)
        turned.positions = atoms.positions @ rotation
        found = model.predict([atoms, moved, turned, renumbered])
        scale = self.energy_tolerance * len(atoms)
        np.testing.assert_allclose(found.energies, found.energies[0], atol=scale)
        forces = found.forces[0]
        for mine, expected in zip(
            found.forces[1:], (forces, forces @ rotation, forces[order]), strict=True
        ):
            np.testing.assert_allclose(mine, expected, atol=self.force_tolerance)

    def test_an_element_that_it_does_not_know_is_refused_by_name(self, model, atoms) -> None:
        if model.elements is None:
            pytest.skip("the model does not say what it knows")
        stranger = next(s for s in chemical_symbols[::-1] if s not in model.elements)
        foreign = atoms.copy()
        foreign.symbols[0] = stranger
        with pytest.raises(UserError, match=rf"\b{stranger}\b"):
            model.predict([foreign])

    def test_each_element_that_it_names_can_be_evaluated(self, model, atoms) -> None:
        for symbol in sorted(model.elements or ()):
            pure = atoms.copy()
            pure.symbols[:] = symbol
            assert np.isfinite(model.predict([pure]).energies).all(), symbol

    def test_its_calculator_predicts_the_same(self, model: Family, atoms: Atoms) -> None:
        found = model.predict([atoms], stress=True)
        copy = atoms.copy()
        copy.calc = model.calculator()
        energy = copy.get_potential_energy()
        assert energy == pytest.approx(found.energies[0], abs=self.energy_tolerance * len(atoms))
        np.testing.assert_allclose(copy.get_forces(), found.forces[0], atol=self.force_tolerance)
        if found.stresses[0] is not None:
            np.testing.assert_allclose(
                copy.get_stress(), found.stresses[0], atol=self.force_tolerance
            )

    def test_descriptors_are_a_row_a_structure_or_refused(self, model, atoms) -> None:
        try:
            rows = model.descriptors([atoms, atoms.repeat((2, 1, 1)), atoms])
        except UserError as error:
            assert model.kind in str(error)
            return
        assert rows.ndim == 2
        assert len(rows) == 3
        np.testing.assert_array_equal(rows[0], rows[2])
        assert np.isfinite(rows).all()

    def test_uncertainties_are_of_the_forces_or_refused(self, model, atoms) -> None:
        try:
            (deviations,) = model.uncertainty([atoms])
        except UserError:
            return
        assert deviations.shape == (len(atoms), 3)
        assert (deviations >= 0).all()
        assert deviations.any()

    def same(self, one: Predictions, other: Predictions, place: int) -> None:
        """Whether the only prediction of one is that at a place of another."""
        scale = self.energy_tolerance * len(one.forces[0])
        assert one.energies[0] == pytest.approx(other.energies[place], abs=scale)
        np.testing.assert_allclose(one.forces[0], other.forces[place], atol=self.force_tolerance)

    def slope(self, energy) -> float:
        """Fourth-order central difference at 0."""
        values = [energy(k * self.step) for k in (-2, -1, 1, 2)]
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * self.step)

    def derivative_tolerance(self, atoms: Atoms) -> float:
        """Of a finite difference: rounding of energies over the step, and its fourth power."""
        return 2 * self.energy_tolerance * len(atoms) / self.step + 1e4 * self.step**4
