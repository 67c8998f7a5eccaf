"""What training starts from: the energy of free atoms, and models that have none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from tiny_mace import rattled_structures

from distill.config import TeacherConfig
from distill.core.errors import UserError
from distill.data.structures import set_labels
from distill.models.calculators import AnyCalculator
from distill.models.config import CalculatorConfig
from distill.teacher import starting_model
from distill.teacher.starting_model import Start, starting_energies

STRUCTURES = rattled_structures(9)
CONFIG = TeacherConfig(strategy="delta", delta={"base": {"path": "ase.calculators.emt:EMT"}})


class NoFreeAtoms(EMT):
    """EMT that has no answer for an atom without neighbours."""

    error: BaseException = ValueError("no neighbours")

    def calculate(self, atoms=None, *arguments, **options):
        if len(atoms) == 1:
            raise self.error
        super().calculate(atoms, *arguments, **options)


def start_of(calculator):
    source = CalculatorConfig(path="ase.calculators.emt:EMT")
    return Start("the base", "", AnyCalculator(calculator), source)


def energies_of(calculator, isolated=()):
    return starting_energies(CONFIG, start_of(calculator), STRUCTURES, list(isolated))


def test_free_atoms_fix_the_energies_where_the_model_has_them(capsys):
    free = Atoms("Cu", cell=[20] * 3, positions=[[10] * 3])
    free.calc = EMT()
    found = energies_of(EMT())
    assert found.values["Cu"] == pytest.approx(free.get_potential_energy(), abs=1e-6)
    assert "no energy of a free" not in capsys.readouterr().out


def test_a_model_without_free_atoms_is_said_and_takes_least_squares(capsys):
    found = energies_of(NoFreeAtoms())
    said = capsys.readouterr().out
    assert "the base gives no energy of a free H atom" in said
    assert "ValueError: no neighbours" in said
    assert "by least squares" in said
    assert found.shifts == pytest.approx({"H": 0.0, "Cu": 0.0}, abs=1e-9)
    free = energies_of(EMT())
    assert abs(found.values["Cu"] - free.values["Cu"]) > 0.1


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_other_failures_are_not_swallowed(error):
    calculator = NoFreeAtoms()
    calculator.error = error
    with pytest.raises((UserError, KeyboardInterrupt), match=r"memory|^$"):
        energies_of(calculator)


def test_a_fault_of_our_own_is_not_swallowed(monkeypatch):
    original = starting_model.label_structures

    def broken(structures, *arguments, **options):
        if len(structures[0]) == 1:
            raise TypeError("a bug")
        return original(structures, *arguments, **options)

    monkeypatch.setattr(starting_model, "label_structures", broken)
    with pytest.raises(TypeError, match="a bug"):
        energies_of(EMT())


def test_isolated_atoms_that_disagree_are_refused():
    isolated = [
        set_labels(Atoms("H"), energy=energy, forces=np.zeros((1, 3))) for energy in (0.0, 1.5)
    ]
    with pytest.raises(UserError, match=r"isolated H atoms .* differ in energy: 0, 1\.5 eV"):
        energies_of(EMT(), isolated)


def test_a_free_atom_is_right_although_the_base_has_no_answer_for_it():
    """Its energy is then on the base's scale of the training set, as all others are."""
    free = set_labels(Atoms("Cu"), energy=-7.0, forces=np.zeros((1, 3)))
    found = energies_of(NoFreeAtoms(), [free])
    assert found.values["Cu"] == pytest.approx(-7.0)
    assert found.method == "isolated and lstsq"
