"""Models of several parts: their files, and the calculators that add or average them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.stress import voigt_6_to_full_3x3_stress
from tiny_mace import rattled_structures, tiny_model

from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.models.calculators import AnyCalculator, load_calculator, load_model
from distill.models.composite import Committee, Delta, DeltaCalculator, join_files
from distill.models.mace.adapter import read_model
from distill.models.mace.family import Mace

SLAB = rattled_structures(2)[1]


class FullStress(EMT):
    """EMT whose stress is a matrix, as CHGNet's is."""

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results["stress"] = voigt_6_to_full_3x3_stress(self.results["stress"])


class Scaled(EMT):
    """EMT with energies and forces times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results["energy"] *= self.factor
        self.results["forces"] = self.results["forces"] * self.factor


def evaluate(calculator, atoms=SLAB):
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


@pytest.mark.parametrize("base", [EMT, FullStress])
def test_stresses_of_base_and_correction_add_in_voigt_order(base):
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    alone = atoms.get_stress()
    atoms.calc = DeltaCalculator(base(), EMT())
    assert atoms.get_stress() == pytest.approx(2 * alone)
    assert np.allclose(atoms.get_stress(voigt=False), voigt_6_to_full_3x3_stress(2 * alone))


def test_a_base_file_that_changed_is_refused(tmp_path):
    base = tmp_path / "base.model"
    Mace(tiny_model((1, 29))).save(base)
    path = tmp_path / "teacher.model"
    source = CalculatorConfig(path=str(base))
    Delta(load_model(source), Mace(tiny_model((1, 29))), source).save(path)
    twice = evaluate(load_calculator(path))[0]
    assert twice == pytest.approx(2 * evaluate(load_calculator(base))[0], abs=1e-9)
    base.write_bytes(base.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"corrects .*base\.model, which has changed"):
        load_calculator(path)


def test_a_base_in_memory_is_not_kept_in_a_file(tmp_path):
    with pytest.raises(UserError, match="kind calculator cannot be kept inside"):
        Delta(AnyCalculator(EMT()), Mace(tiny_model((1, 29)))).save(tmp_path / "teacher.model")


def test_a_composite_is_no_foundation_model(tmp_path):
    Committee((Mace(tiny_model((1, 29))),) * 2).save(tmp_path / "teacher.model")
    with pytest.raises(UserError, match=r"expected one MACE energy model, found a committee"):
        read_model(tmp_path / "teacher.model")


def test_a_file_of_a_newer_layout_is_refused(tmp_path):
    from distill.models.mace.torch_tools import write_pickle

    write_pickle({"distill": "committee", "version": 2, "members": []}, tmp_path / "new.model")
    with pytest.raises(UserError, match="layout 2 of a newer distill; this one reads up to 1"):
        load_model(tmp_path / "new.model")


def test_files_become_a_committee_whatever_is_in_them(tmp_path):
    """A plain MACE and a delta model on a calculator by import path."""
    source = CalculatorConfig(path="ase.calculators.emt:EMT")
    mace = Mace(tiny_model((1, 29)))
    mace.save(tmp_path / "one.model")
    Delta(load_model(source), mace, source).save(tmp_path / "two.model")
    join_files([tmp_path / "one.model", tmp_path / "two.model"], tmp_path / "both.model")
    found = load_model(tmp_path / "both.model")
    assert [member.kind for member in found.members] == ["mace", "delta"]
    one, base = evaluate(mace.calculator())[0], evaluate(EMT())[0]
    assert found.predict([SLAB]).energies[0] == pytest.approx(one + base / 2, abs=1e-9)


def test_a_committee_gives_mean_and_spread():
    factors = (0.9, 1.0, 1.2)
    committee = Committee(tuple(AnyCalculator(Scaled(factor)) for factor in factors))
    calculator = committee.calculator()
    energy, forces, _ = evaluate(EMT())
    found = evaluate(calculator)
    deviation = np.std(factors, ddof=1)
    assert found[0] == pytest.approx(energy * 3.1 / 3)
    np.testing.assert_allclose(found[1], forces * 3.1 / 3)
    assert calculator.results["energy_std"] == pytest.approx(abs(energy) * deviation)
    np.testing.assert_allclose(
        calculator.results["forces_std"], deviation * np.sqrt((forces**2).mean(axis=1))
    )
    (spread,) = committee.uncertainty([SLAB])
    np.testing.assert_allclose(spread, deviation * np.abs(forces), atol=1e-12)
