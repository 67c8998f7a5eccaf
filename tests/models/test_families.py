"""Every kind of model of this room against the contract, and models by whatever names them."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, Hookean
from family_tests import FamilyContract
from helpers import SAMPLE_STUDENT
from odd_calculators import Failing
from tiny_mace import rattled_structures, tiny_model

from distill import Student
from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.data.structures import (
    reference_energy,
    reference_forces,
    reference_stress,
    set_labels,
)
from distill.models.base import StructureError
from distill.models.calculators import AnyCalculator, load_calculator, load_model
from distill.models.composite import Committee, Delta
from distill.models.labelling import carry_stress, label_structures
from distill.models.mace import adapter
from distill.models.mace.bundled_foundation import load_foundation
from distill.models.mace.family import Mace

EMT_SOURCE = CalculatorConfig(path="ase.calculators.emt:EMT")


@pytest.fixture(scope="module")
def structures():
    return rattled_structures(6)


def moved_mace(seed):
    """The tiny model with other weights."""
    import torch

    module = tiny_model((1, 29))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.readouts.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return Mace(module)


class TestMace(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return Mace(tiny_model((1, 29)))


class TestBundledFoundation(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return Mace(load_foundation())


class TestDelta(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return Delta(Mace(tiny_model((1, 29))), moved_mace(1))


class TestDeltaOfACalculator(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return Delta(load_model(EMT_SOURCE), moved_mace(1), EMT_SOURCE)


class TestCommittee(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return Committee(tuple(moved_mace(seed) for seed in (1, 2, 3)))


class TestAnyCalculator(FamilyContract):
    @pytest.fixture(scope="class")
    def model(self):
        return load_model(EMT_SOURCE)


class TestHeads:
    """A model of several levels of theory."""

    SHIFT = 3.0

    @pytest.fixture(scope="class")
    def module(self):
        module = tiny_model((1, 29), heads=("pbe", "r2scan"))
        module.atomic_energies_fn.atomic_energies[1] += self.SHIFT
        return module

    @pytest.fixture(scope="class")
    def path(self, module, tmp_path_factory):
        path = tmp_path_factory.mktemp("heads") / "two.model"
        Mace(module).save(path)
        return path

    @pytest.mark.parametrize(("head", "shift"), [("pbe", 0.0), ("r2scan", SHIFT)])
    def test_the_head_of_choice_is_used(self, module, path, structures, head, shift):
        found = load_model(CalculatorConfig(path=str(path), args={"head": head})).predict(
            structures
        )
        e0 = {symbol: value + shift for symbol, value in adapter.facts(module).e0.items()}
        beside = adapter.predictions(module, structures, batch_size=6, e0=e0, head=head)
        np.testing.assert_allclose(found.energies, beside.energies, atol=1e-8)

    def test_none_or_another_head_is_refused_by_name(self, path, structures):
        with pytest.raises(UserError, match=r"several heads \(pbe, r2scan\).*args: {head"):
            load_calculator(path)
        with pytest.raises(UserError, match=r"no head 'scan'; it has pbe, r2scan"):
            load_calculator(CalculatorConfig(path=str(path), args={"head": "scan"}))
        with pytest.raises(UserError, match="takes no args, found colour"):
            load_calculator(CalculatorConfig(path=str(path), args={"colour": 1}))

    def test_a_head_called_default_needs_no_name(self, structures):
        module = tiny_model((1, 29), heads=("pbe", "Default"))
        module.atomic_energies_fn.atomic_energies[1] += 3.0
        chosen = Mace(module).predict(structures).energies
        np.testing.assert_allclose(
            chosen, Mace(copy.deepcopy(module), head="Default").predict(structures).energies
        )
        assert chosen[0] != Mace(module, head="pbe").predict(structures).energies[0]


class TestNames:
    """A model by file, import path, config, or in memory."""

    def test_what_is_in_memory_is_taken_as_it_is(self, structures):
        calculator, model = EMT(), Mace(tiny_model((1, 29)))
        assert load_calculator(calculator) is calculator
        assert load_model(model) is model
        student = Student.load(SAMPLE_STUDENT)
        hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])
        found = load_model(student).predict([hydrogen]).energies[0]
        assert found == pytest.approx(student.energy(hydrogen), abs=1e-10)

    def test_files_are_told_apart_by_what_they_are(self):
        assert load_model(SAMPLE_STUDENT).kind == "ace"
        assert load_model("ase.calculators.emt:EMT").kind == "calculator"

    @pytest.mark.parametrize("thing", [3, None, Atoms("H"), EMT, object()])
    def test_anything_else_is_refused_in_words(self, thing):
        with pytest.raises(UserError, match=r"expected a model: a file, 'package\.module:"):
            load_model(thing)

    @pytest.mark.parametrize("path", ["os:getcwd", "builtins:dict"])
    def test_an_import_path_of_something_else_is_refused(self, path):
        with pytest.raises(UserError, match=rf"calculator {path}: expected an ASE calculator"):
            load_model(path)

    def test_a_class_that_fails_while_it_is_made_is_named(self):
        spec = CalculatorConfig(path="subprocess:check_call", args={"args": ["false"]})
        with pytest.raises(UserError, match=r"subprocess:check_call cannot be made: CalledProcess"):
            load_model(spec)

    def test_a_flipped_bit_in_a_model_file_is_noticed(self, tmp_path):
        path = tmp_path / "one.model"
        Mace(tiny_model((1, 29))).save(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"one\.model is not a readable MACE model"):
            load_model(path)

    def test_another_module_is_no_model(self, tmp_path):
        import torch

        torch.save(torch.nn.Linear(2, 2), tmp_path / "linear.pt")
        with pytest.raises(UserError, match=r"expected a MACE energy model, found Linear"):
            load_model(tmp_path / "linear.pt")


class TestLabels:
    """The one loop, and the one door for calculators of others."""

    WAYS: ClassVar[dict[str, str]] = {
        "raise": "failed: RuntimeError: SCF not converged",
        "exit": r".*ended the program by itself \(exit code 0\)",
        "none": "returned an energy of None, expected one number",
        "words": "returned an energy of 'low', expected one number",
        "shape": r"returned forces of shape \(3,\), expected shape \(\d, 3\)",
        "nan": "returned forces with NaN",
        "huge": r"returned an energy of 1e\+30 eV",
    }

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize("in_memory", [True, False])
    def test_a_failing_calculator_is_an_error_of_one_structure(self, structures, how, in_memory):
        args = {"how": how, "call": 4}
        model = CalculatorConfig(path="odd_calculators:Failing", args=args)
        if in_memory:
            model = Failing(**args)
        words = rf"structure 14: the calculator .*Failing:? {self.WAYS[how]}"
        with pytest.raises(StructureError, match=words):
            label_structures(structures, model, first=10)

    def test_running_out_of_memory_says_nothing_of_the_structure(self, structures):
        with pytest.raises(UserError, match=r"structure 0: .* ran out of memory") as caught:
            label_structures(structures, Failing("memory"))
        assert not isinstance(caught.value, StructureError)

    def test_a_stress_of_five_numbers_is_refused(self, structures):
        crystal = structures[1]
        with pytest.raises(StructureError, match="a stress that is none: expected 6 or 9"):
            label_structures([crystal], Failing("stress"), stress=True)

    def test_each_structure_gets_a_stress_if_it_asks_for_one(self, structures):
        """In batches too, and the labels that it had do not stay."""
        asking = [atoms.copy() for atoms in structures]
        for atoms in asking[::2]:
            set_labels(atoms, stress=np.ones(6))
        labelled = label_structures(asking, moved_mace(1), stress=carry_stress(asking))
        for index, atoms in enumerate(labelled):
            wanted = index % 2 == 0 and atoms.pbc.all()
            assert (reference_stress(atoms) is not None) == wanted
            if wanted:
                assert np.abs(reference_stress(atoms)).max() < 0.9
        assert all(atoms.info.get("REF_stress") is not None for atoms in asking[::2])

    def test_a_model_without_stresses_leaves_none_behind(self, structures):
        crystal = set_labels(structures[1].copy(), stress=np.ones(6))

        class Plain(EMT):
            implemented_properties = ("energy", "forces")

        (labelled,) = label_structures([crystal], AnyCalculator(Plain()), stress=True)
        assert reference_stress(labelled) is None

    def test_constraints_are_no_part_of_the_labels(self, structures):
        held = structures[0].copy()
        held.set_constraint([FixAtoms([0, 1]), Hookean(3, 4, k=20.0, rt=0.1)])
        (labelled,) = label_structures([held], EMT())
        assert reference_energy(labelled) == pytest.approx(reference_energy(structures[0]))
        np.testing.assert_allclose(reference_forces(labelled), reference_forces(structures[0]))
        assert np.abs(reference_forces(labelled)[:2]).min() > 0

    def test_the_index_of_a_batch_is_that_of_the_whole(self, structures):
        unknown = [*structures, Atoms("Li", cell=[8] * 3, pbc=True)]
        with pytest.raises(StructureError, match="structure 26: element Li is not in the model"):
            label_structures(unknown, moved_mace(1), first=20)
