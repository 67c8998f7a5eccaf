"""A calculator of another environment gives what it gives here; the other Python is this one."""

import pickle
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.models.calculators import load_calculator
from distill.models.other_python import OtherPython

EMT_PATH = "ase.calculators.emt:EMT"


@pytest.fixture(scope="module")
def other():
    return OtherPython(sys.executable, EMT_PATH, {"asap_cutoff": True})


def test_it_gives_the_numbers_of_the_calculator(other):
    for size in (1, 2):
        atoms = bulk("Cu", cubic=True).repeat((size, 1, 1))
        atoms.rattle(0.05, seed=1)
        here = atoms.copy()
        atoms.calc, here.calc = other, EMT(asap_cutoff=True)
        assert atoms.get_potential_energy() == pytest.approx(here.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), here.get_forces(), atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(), here.get_stress(), atol=1e-12)


def test_a_config_names_it():
    args = {"python": sys.executable, "calculator": EMT_PATH}
    config = CalculatorConfig(path="distill.models.other_python:OtherPython", args=args)
    atoms = bulk("Cu", cubic=True)
    atoms.calc = load_calculator(pickle.loads(pickle.dumps(config)))
    here = bulk("Cu", cubic=True)
    here.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(here.get_potential_energy(), abs=1e-12)


def test_what_goes_wrong_there_is_said_here(other):
    with pytest.raises(UserError, match="cannot be started"):
        OtherPython("/no/such/python", EMT_PATH)
    with pytest.raises(UserError, match="No module named 'no_such_module'"):
        OtherPython(sys.executable, "no_such_module:DP")
    atoms = bulk("Cu", cubic=True)
    atoms.numbers[0] = 92
    atoms.calc = other
    with pytest.raises(UserError, match=r"NotImplementedError.*U"):
        atoms.get_potential_energy()
    # It answers on.
    atoms.numbers[0] = 29
    assert np.isfinite(atoms.get_potential_energy())


def test_what_a_model_prints_does_not_get_between_the_answers(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Chatty(EMT):\n"
        "    def calculate(self, *args, **kwargs):\n"
        "        print('a banner')\n"
        "        super().calculate(*args, **kwargs)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    atoms = bulk("Cu", cubic=True)
    atoms.calc = OtherPython(sys.executable, "chatty:Chatty")
    assert np.isfinite(atoms.get_potential_energy())


def test_a_process_that_ended_is_an_error(other):
    gone = OtherPython(sys.executable, EMT_PATH)
    gone._process.kill()
    gone._process.wait()
    atoms = bulk("Cu", cubic=True)
    atoms.calc = gone
    with pytest.raises(UserError, match="ended"):
        atoms.get_potential_energy()
