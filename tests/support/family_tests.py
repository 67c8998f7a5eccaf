"""What every kind of model must do: the base class of the tests of each."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms

from distill.core.config import Section
from distill.core.errors import UserError
from distill.models.base import FAMILIES, StructureError


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
            if self.stressed and atoms.pbc.all():
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
