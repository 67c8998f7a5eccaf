"""Calls of a model that are kept: what is computed again after a kill, and what it answers."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from helpers import rattled_copper
from killed_runs import killed_after
from spring_toys import Springs, chain

from distill.models import kept_calls
from distill.models.calculators import known_elements
from distill.models.kept_calls import KeptCalls


@pytest.fixture(autouse=True)
def three_calls_in_a_part(monkeypatch):
    monkeypatch.setattr(kept_calls, "CALLS_IN_PART", 3)


def relaxed(model, folder):
    """Positions and energies on the way of a relaxation, and the calculator."""
    atoms = rattled_copper(1)[0]
    atoms.calc = calculator = KeptCalls(model, folder)
    optimiser, way = BFGS(atoms, logfile=None), []
    for _ in optimiser.irun(fmax=1e-4, steps=14):
        way.append([atoms.get_potential_energy(), *atoms.positions.ravel()])
    return np.array(way), calculator


def test_a_killed_relaxation_of_a_student_goes_the_same_way(random_student, tmp_path):
    """Its neighbour list is of an earlier structure, so it has to forget at the same places."""
    student = random_student(elements=("Cu",)).calculator()
    whole, _ = relaxed(student, tmp_path / "whole")
    with killed_after(3):
        relaxed(student, tmp_path / "killed")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").iterdir()}
    again, _ = relaxed(student, tmp_path / "killed")
    assert len(kept) == 3 and len(whole) > 12
    np.testing.assert_array_equal(again, whole)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_model_is_not_asked_for_what_it_answered(tmp_path):
    class Counted(EMT):
        asked = 0

        def calculate(self, *arguments, **options):
            self.asked += 1
            super().calculate(*arguments, **options)

    first, second = Counted(), Counted()
    whole, _ = relaxed(first, tmp_path)
    again, _ = relaxed(second, tmp_path)
    np.testing.assert_array_equal(again, whole)
    # The last part has no file: it was not whole.
    assert second.asked < 3 < first.asked


def test_another_question_gets_its_own_answer(tmp_path):
    relaxed(EMT(), tmp_path)
    other = bulk("Cu", a=3.7)
    other.calc = KeptCalls(EMT(), tmp_path)
    expected = other.copy()
    expected.calc = EMT()
    assert other.get_potential_energy() == expected.get_potential_energy()
    np.testing.assert_array_equal(other.get_stress(), expected.get_stress())


def test_a_damaged_part_is_made_again(tmp_path, capsys):
    whole, _ = relaxed(EMT(), tmp_path)
    (tmp_path / "00001.npz").write_bytes(b"PK")
    again, _ = relaxed(EMT(), tmp_path)
    np.testing.assert_array_equal(again, whole)
    assert "00001.npz is damaged and made again" in capsys.readouterr().out


def test_what_a_model_lacks_it_still_lacks(random_student, tmp_path):
    atoms = chain("LiF")
    atoms.calc = KeptCalls(Springs(), tmp_path)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    student = random_student(elements=("Cu",)).calculator()
    assert known_elements(KeptCalls(student, None)) == {"Cu"}
