"""MACE in compiled code: the numbers of torch, or torch itself where it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from family_tests import FamilyContract
from fast_engine import needs_engine
from tiny_mace import rattled_structures, tiny_model

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.models import fast_mace
from distill.models.calculators import AnyCalculator, load_calculator, load_model
from distill.models.fast_mace import (
    Differences,
    EngineRefused,
    converted_model,
    differences,
    name_files,
    torch_file_of,
)
from distill.models.mace.family import Mace


@pytest.fixture(scope="module")
def structures():
    return rattled_structures(6)


@pytest.fixture(scope="module")
def fast(fast_file):
    return load_model(fast_file)


@pytest.fixture(scope="module")
def torch_model(fast_file):
    return load_model(fast_file.with_name("tiny.model"))


@pytest.fixture(scope="module")
def other_model():
    """One that the engine does not take."""
    return Mace(tiny_model((1, 29)))


@pytest.fixture
def named(other_model, tmp_path):
    """A file that names a torch model and a converted one, which nothing can read."""
    model, converted = tmp_path / "tiny.model", tmp_path / "converted.json"
    other_model.save(model)
    converted.write_text("{}")
    name_files(tmp_path / "fast.model", model, converted, ["H", "Cu"], "float64")
    return tmp_path / "fast.model"


@needs_engine
class TestFastMace(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self, fast):
        return fast


@needs_engine
class TestAgreement:
    def test_energies_forces_and_stresses_are_those_of_torch(self, torch_model, fast, structures):
        sizes = torch_model.predict(structures)
        assert max(np.abs(forces).max() for forces in sizes.forces) > 0.1
        apart = differences(torch_model, fast, structures)
        assert apart.within(Differences(energy=1e-6, forces=1e-4, stress=1e-6))

    def test_a_close_pair_and_a_free_atom_are_those_of_torch(self, torch_model, fast):
        pairs = [Atoms("HCu", [[0, 0, 0], [d, 0, 0]]) for d in (0.4, 0.8, 1.6, 3.2, 3.99)]
        # Atoms may lie outside a cell that is not periodic.
        pairs += [
            Atoms("HCu", [[0, 0, -9], [1, -1, -9.5]], cell=[3, 3, 0], pbc=[True, True, False])
        ]
        apart = differences(torch_model, fast, [*pairs, Atoms("H")])
        assert apart.within(Differences(energy=1e-6, forces=1e-5, stress=0.0))

    def test_single_precision_differs_and_is_within_its_rounding(self, fast, fast_file, structures):
        single = load_model(fast_file, dtype="float32")
        apart = differences(fast, single, structures)
        assert 0 < apart.forces < 1e-4

    def test_torch_answers_where_the_engine_fails_and_says_so_once(
        self, torch_model, fast, structures, monkeypatch, capsys
    ):
        calculator = fast.calculator()

        def failing(atoms, properties):
            raise ValueError("no edges")

        monkeypatch.setattr(calculator._engine, "calculate", failing)
        monkeypatch.setattr(calculator, "failure", None)
        calculator.reset()
        found = AnyCalculator(calculator).predict(structures, stress=True)
        expected = torch_model.predict(structures, stress=True)
        np.testing.assert_allclose(found.energies, expected.energies, atol=1e-9)
        np.testing.assert_allclose(found.stresses[1], expected.stresses[1], atol=1e-9)
        assert capsys.readouterr().out.count("Symmetrix failed (no edges); torch answers") == 1

    def test_a_free_atom_after_a_slab_is_right_in_single_precision_too(
        self, fast, fast_file, structures
    ):
        single = load_model(fast_file, dtype="float32")
        apart = differences(fast, single, [structures[0], Atoms("H"), structures[0]])
        assert apart.energy < 1e-4

    def test_the_stress_of_a_slab_is_by_its_own_volume(self, torch_model, fast):
        slab = bulk("Cu", "fcc", a=3.6, cubic=True).repeat((1, 1, 2))
        slab.center(vacuum=5, axis=2)
        slab.pbc = (True, True, False)
        apart = differences(torch_model, fast, [slab])
        assert apart.stress < 1e-7
        assert np.abs(fast.predict([slab], stress=True).stresses[0]).max() > 1e-4

    def test_a_calculator_that_starts_afresh_repeats_its_numbers_to_the_last_digit(self, fast):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True).repeat(2)
        atoms.rattle(0.05, seed=1)
        moved = atoms.copy()
        moved.rattle(0.04, seed=2)
        calculator = fast.calculator()
        calculator.reset()
        first = calculator.get_forces(atoms)
        for reset in (False, True):
            calculator.reset()
            calculator.get_forces(moved)
            if reset:
                calculator.reset()
            # The neighbour list of the moved atoms serves until then.
            assert np.array_equal(calculator.get_forces(atoms), first) is reset

    def test_features_are_those_of_the_torch_model(self, torch_model, fast, structures):
        np.testing.assert_allclose(
            fast.descriptors(structures), torch_model.descriptors(structures)
        )
        asked = {"invariants_only": True}
        np.testing.assert_allclose(
            fast.calculator().get_descriptors(structures[0], **asked),
            torch_model.calculator().get_descriptors(structures[0], **asked),
        )

    def test_an_element_that_it_lacks_is_named(self, fast):
        with pytest.raises(UserError, match=r"element Og is not in the model \(it knows H, Cu\)"):
            fast.calculator().get_potential_energy(Atoms("Og"))

    def test_its_torch_model_is_found_for_the_timing(self, fast_file):
        tiny = fast_file.with_name("tiny.model")
        assert torch_file_of(fast_file) == tiny
        assert torch_file_of(tiny) is None

    def test_a_model_of_another_order_of_harmonics_is_refused(self, other_model, tmp_path):
        path = tmp_path / "plain.model"
        other_model.save(path)
        with pytest.raises(EngineRefused, match=r"does not take this model: .*l_max=3"):
            converted_model(other_model, tmp_path / "fast.model", tmp_path / "c.json", path)
        assert not (tmp_path / "fast.model").exists()

    def test_a_model_of_several_heads_wants_one_named(self, tmp_path):
        model = Mace(tiny_model((1, 29), heads=("pbe", "r2scan")))
        path = tmp_path / "two.model"
        model.save(path)
        with pytest.raises(UserError, match=r"several heads \(pbe, r2scan\)"):
            converted_model(model, tmp_path / "fast.model", tmp_path / "c.json", path)

    def test_a_file_that_the_engine_cannot_read_leaves_it_to_torch(
        self, named, other_model, structures, capsys
    ):
        self.check_torch_answers(named, other_model, structures)
        assert "Symmetrix cannot run it here" in capsys.readouterr().out

    @staticmethod
    def check_torch_answers(path, other_model, structures):
        model = load_model(path)
        np.testing.assert_array_equal(
            model.predict(structures).energies, other_model.predict(structures).energies
        )
        assert torch_file_of(path) is None


def test_without_the_package_torch_answers_and_says_so(
    named, other_model, structures, monkeypatch, capsys
):
    monkeypatch.setattr(fast_mace, "find_spec", lambda name: None)
    TestAgreement.check_torch_answers(named, other_model, structures)
    said = capsys.readouterr().out
    assert "tiny.model: Symmetrix (symmetrix-xl) is not installed: pip install" in said
    assert "going on with torch" in said
    energy = load_calculator(named).get_potential_energy(structures[0])
    assert energy == pytest.approx(other_model.predict(structures[:1]).energies[0])


def test_without_a_compiler_torch_answers_and_says_so(
    named, other_model, structures, monkeypatch, capsys
):
    monkeypatch.setattr(fast_mace, "find_spec", lambda name: True)
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    TestAgreement.check_torch_answers(named, other_model, structures)
    assert "no C++20 compiler 'no-such-compiler -O3'" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tiny.model", "converted.json"])
def test_a_file_of_another_model_is_refused(named, name):
    (named.parent / name).write_bytes(b"another")
    with pytest.raises(UserError, match=rf"names {name}, which has changed since, or is of anoth"):
        load_model(named)
    (named.parent / name).unlink()
    with pytest.raises(UserError, match=rf"names {name}, which is missing"):
        load_model(named)


def test_the_file_of_a_newer_version_is_refused(named):
    write_json(named, {**read_json(named), "version": 9})
    with pytest.raises(UserError, match="layout 9 of a newer distill"):
        load_model(named)


def test_what_is_not_a_number_is_in_no_bound():
    bounds = Differences(energy=1, forces=1, stress=1)
    assert bounds.within(bounds)
    assert not Differences(energy=0, forces=float("nan"), stress=0).within(bounds)
    assert not Differences(energy=0, forces=0, stress=1.1).within(bounds)
