"""Calculators by name, and the labelling loop."""

import copy

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from helpers import SinglePrecision, rattled_copper
from odd_calculators import OneArray, Pushing

from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces, reference_stress
from distill.models.calculators import AnyCalculator, load_calculator
from distill.models.labelling import label_structures
from distill.models.mace.torch_tools import precision
from distill.simulation.dynamics import velocity_verlet


class Nonsense(Calculator):
    """Returns NaN, as a broken model does."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": np.nan, "forces": np.zeros((len(self.atoms), 3))}


def test_any_ase_class_by_import_path():
    calculator = load_calculator(
        CalculatorConfig(path="ase.calculators.lj:LennardJones", args={"sigma": 2.0})
    )
    assert calculator.parameters.sigma == 2.0


def test_a_model_in_single_precision_works_whatever_torch_defaults_to():
    """Made and called under float64, as in training; the default of the others stays."""
    import torch

    expected = label_structures(rattled_copper(1), SinglePrecision())[0]
    with precision("float64"):
        calculator = load_calculator("helpers:SinglePrecision")
        for one in (calculator, copy.deepcopy(calculator)):
            labelled = label_structures(rattled_copper(1), one)[0]
            assert reference_energy(labelled) == reference_energy(expected)
            np.testing.assert_array_equal(reference_forces(labelled), reference_forces(expected))
            assert one.results["forces"].dtype == np.float32
        assert torch.get_default_dtype() == torch.float64


def test_a_precision_that_a_model_sets_is_its_own():
    """Some make float64 torch's default while they are made: theirs, and nobody else's."""
    import torch

    calculator = load_calculator("odd_calculators:DoublePrecision")
    assert torch.get_default_dtype() == torch.float32
    label_structures(rattled_copper(1), calculator)
    assert calculator.dtype_of_calls == torch.float64
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module:Thing", "cannot import no_such_module"),
        ("ase.calculators.emt:Nothing", "has no 'Nothing'"),
        ("missing.model", "no such model file"),
        ("missing.npz", "no such model file"),
    ],
)
def test_unusable_names_are_explained(spec, words):
    with pytest.raises(UserError, match=words):
        load_calculator(spec)


def test_wrong_arguments_are_explained():
    spec = CalculatorConfig(path="distill.core.artifacts:read_json", args={"colour": "red"})
    with pytest.raises(UserError, match=r"refused its arguments.*colour"):
        load_calculator(spec)


def test_a_misspelt_argument_is_refused_and_others_reach_the_class():
    """ASE's classes leave an unknown keyword unused, without a word."""
    atoms = bulk("Ar", cubic=True)
    path = "ase.calculators.lj:LennardJones"
    wide, usual = (
        load_calculator(CalculatorConfig(path=path, args=args)).get_potential_energy(atoms)
        for args in ({"sigma": 3.4}, {})
    )
    assert wide != usual
    with pytest.raises(UserError, match="unknown argument 'sgma', did you mean 'sigma'"):
        load_calculator(CalculatorConfig(path=path, args={"sgma": 3.4}))


def test_a_folder_is_named_with_the_models_in_it(tmp_path):
    with pytest.raises(UserError, match=r"is a folder, expected a model file$"):
        load_calculator(tmp_path)
    for name in ("teacher.model", "student.npz", "notes.txt", "teacher.json"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"is a folder.*; in it are student\.npz, teacher\.model$"):
        load_calculator(tmp_path)


def test_weights_alone_and_compiled_models_are_called_so(tmp_path):
    import torch

    layer = torch.nn.Linear(2, 2)
    torch.save(layer.state_dict(), tmp_path / "weights.model")
    with pytest.raises(UserError, match=r"found OrderedDict .a checkpoint or state dict"):
        load_calculator(tmp_path / "weights.model")
    torch.jit.save(torch.jit.script(layer), tmp_path / "compiled.pt")
    with pytest.raises(UserError, match="a model compiled by TorchScript"):
        load_calculator(tmp_path / "compiled.pt")


@pytest.mark.parametrize("name", ["damaged.model", "damaged.npz", "notes.txt"])
def test_damaged_model_files_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 this is no model")
    with pytest.raises(UserError, match=name):
        load_calculator(path)


def test_labels_equal_the_calculator_and_leave_the_input_alone():
    structures = rattled_copper(3)
    bare = [atoms.copy() for atoms in structures]
    for atoms in bare:
        atoms.info.clear()
        del atoms.arrays["REF_forces"]
    labelled = label_structures(bare, EMT(), stress=True)
    for expected, atoms in zip(structures, labelled, strict=True):
        assert reference_energy(atoms) == pytest.approx(reference_energy(expected), abs=1e-12)
        np.testing.assert_allclose(reference_forces(atoms), reference_forces(expected), atol=1e-12)
        np.testing.assert_allclose(reference_stress(atoms), reference_stress(expected), atol=1e-12)
    assert all(reference_energy(atoms) is None for atoms in bare)


def test_nan_from_a_calculator_is_an_error_with_the_index():
    with pytest.raises(UserError, match="structure 0: the calculator Nonsense returned an"):
        label_structures(rattled_copper(1), Nonsense())


def test_a_calculator_may_move_its_atoms_and_fill_its_array_again():
    [atoms] = rattled_copper(1)
    pushed, plain = (label_structures([atoms], c)[0] for c in (Pushing(), EMT()))
    np.testing.assert_array_equal(pushed.positions, atoms.positions)
    assert reference_energy(pushed) == reference_energy(plain)
    np.testing.assert_array_equal(reference_forces(pushed), reference_forces(plain))
    pair = [Atoms("H", [[x, 0, 0]]) for x in (1.0, 2.0)]
    found = AnyCalculator(OneArray()).predict(pair).forces
    np.testing.assert_allclose([forces[0, 0] for forces in found], [0.1, 0.2])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("none", "returned an energy of None, expected one number"),
        ("words", "returned an energy of 'low', expected one number"),
        ("shape", r"returned forces of shape \(3,\), expected shape \(4, 3\)"),
        ("exit", "ended the program by itself"),
        ("not implemented", "failed: NotImplementedError: no parameters for Cu"),
        ("wordless", r"failed: Wordless: \(it cannot be put into words\)"),
        ("lines", "failed: RuntimeError: one two three$"),
    ],
)
def test_what_a_foreign_calculator_leaves_is_checked_wherever_it_is_asked(how, words):
    args = {"how": how, "call": 0}
    calculator = load_calculator(CalculatorConfig(path="odd_calculators:Failing", args=args))
    with pytest.raises(UserError, match=f"odd_calculators:Failing.*{words}"):
        next(velocity_verlet(bulk("Cu", cubic=True), calculator, 1.0))
