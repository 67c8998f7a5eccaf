"""Calculators in processes of their own: the same numbers, and what happens when one fails."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from helpers import SUPPORT
from pydantic import ValidationError

from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint
from distill.models import external_calculator
from distill.models.base import StructureError
from distill.models.calculators import load_calculator, load_model
from distill.models.config import CalculatorConfig, LabelConfig
from distill.models.labelling import label_structures, label_units

PROGRAM = f"{sys.executable} {SUPPORT / 'ipi_program.py'}"
SEVENNET = os.environ.get("DISTILL_SEVENNET_PYTHON")


def far(kind="Far", timeout=60.0, **args) -> CalculatorConfig:
    return CalculatorConfig(
        path=f"far_calculators:{kind}",
        python=sys.executable,
        args=args,
        environment={"PYTHONPATH": str(SUPPORT)},
        timeout=timeout,
    )


def crystal(repeat=1, seed=0):
    atoms = bulk("Cu", cubic=True) * (repeat, 1, 1)
    atoms.rattle(0.05, seed=seed)
    return atoms


def processes(note: Path) -> list[int]:
    return [int(line) for line in note.read_text().split()]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def assert_like_emt(calculator, atoms):
    own = atoms.copy()
    own.calc = EMT()
    assert calculator.get_potential_energy(atoms) == pytest.approx(
        own.get_potential_energy(), abs=1e-10
    )
    np.testing.assert_allclose(calculator.get_forces(atoms), own.get_forces(), atol=1e-12)
    if atoms.pbc.all():
        np.testing.assert_allclose(calculator.get_stress(atoms), own.get_stress(), atol=1e-14)


def test_one_process_gives_the_numbers_of_this_one_whatever_the_atoms(tmp_path):
    note = tmp_path / "note"
    calculator = load_calculator(far(note=str(note)))
    for atoms in (crystal(), crystal(2), bulk("Au"), molecule("CO"), crystal(seed=1)):
        assert_like_emt(calculator, atoms)
    (process,) = processes(note)
    assert alive(process)
    calculator.close()
    assert not alive(process)


@pytest.mark.parametrize("place", ["--unixsocket {unixsocket}", "--port {port}"])
def test_a_program_starts_again_for_other_atoms_only(tmp_path, place, monkeypatch):
    note, sockets, open_socket = tmp_path / "note", [], external_calculator._Listener

    def noted(*arguments, **options):
        sockets.append(open_socket(*arguments, **options))
        return sockets[-1]

    monkeypatch.setattr(external_calculator, "_Listener", noted)
    config = CalculatorConfig(command=f"{PROGRAM} {{structure}} {note} {place}", timeout=60)
    calculator = load_calculator(config)
    for atoms in (crystal(), crystal(seed=1), molecule("CO")):
        assert_like_emt(calculator, atoms)
    first, second = processes(note)
    assert not alive(first)
    del calculator
    gc.collect()
    assert not alive(second)
    assert len(sockets) == 2
    assert not any(os.path.exists(listener.path) for listener in sockets)


def test_a_process_that_dies_is_started_again(tmp_path):
    note, once = tmp_path / "note", tmp_path / "once"
    calculator = load_calculator(far(note=str(note), at=8, does="leave", once=str(once)))
    assert_like_emt(calculator, crystal())
    assert_like_emt(calculator, crystal(2))
    assert len(processes(note)) == 2


def test_a_process_that_always_dies_is_an_error_with_its_last_words():
    calculator = load_calculator(far(at=8, does="leave"))
    with pytest.raises(
        UserError, match=r"far_calculators:Far ended with exit code 7(.|\n)*licence"
    ):
        calculator.get_potential_energy(crystal(2))
    # The next structure is none the worse for it.
    assert_like_emt(calculator, crystal())


def test_a_silent_process_is_ended_and_said(tmp_path):
    note = tmp_path / "note"
    calculator = load_calculator(far(note=str(note), at=8, does="wait", timeout=6.0))
    assert_like_emt(calculator, crystal())
    with pytest.raises(UserError, match=r"no answer in 6 s(.|\n)*licence is in use"):
        calculator.get_potential_energy(crystal(2))
    assert not any(map(alive, processes(note)))


def test_a_failure_names_the_structure():
    with pytest.raises(StructureError, match=r"structure 1: .*No EMT-potential for W"):
        label_structures([crystal(), bulk("W")], far())
    with pytest.raises(StructureError, match=r"structure 0: .*NaN"):
        label_structures([crystal(2)], far(at=8, does="nan"))


@pytest.mark.parametrize("computed", [True, False])
def test_the_zeros_of_a_program_without_stress_are_no_stress(tmp_path, computed):
    config = CalculatorConfig(
        command=f"{PROGRAM} {{structure}} {tmp_path / 'note'} --unixsocket {{unixsocket}}",
        environment={} if computed else {"NO_STRESS": "1"},
    )
    (labelled,) = label_structures([crystal()], config, stress=True)
    assert ("REF_stress" in labelled.info) is computed


def test_a_stress_that_the_calculator_lacks_is_none():
    (labelled,) = label_structures([crystal()], far("NoStress"), stress=True)
    assert "REF_stress" not in labelled.info
    assert "REF_energy" in labelled.info


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (CalculatorConfig(path="no:Where", python=sys.executable), ["No module named 'no'"]),
        (CalculatorConfig(path="a:B", python="/no/python"), ["cannot start a:B", "/no/python"]),
        (CalculatorConfig(command="false {socket}"), ["false", "exit code 1", "never connected"]),
    ],
)
def test_what_cannot_start_is_said_at_once(config, words):
    with pytest.raises(UserError) as caught:
        load_calculator(config).get_potential_energy(crystal())
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "either path or command"),
        ({"path": "a:B", "command": "c {socket}"}, "either path or command"),
        ({"command": "vasp"}, "{socket}"),
        ({"path": "teacher.model", "python": "python"}, "package.module:Class"),
        ({"path": "a:B", "python": "env/bin/python"}, "absolute"),
        ({"path": "a:B", "environment": {"A": "b"}}, "environment"),
        ({"command": "c {socket}", "args": {"a": 1}}, "args"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, word):
    with pytest.raises(ValidationError, match=word):
        CalculatorConfig(**options)


def test_patience_changes_no_result():
    assert fingerprint(far(timeout=1.0)) == fingerprint(far(timeout=2.0))
    assert fingerprint(far(at=3)) != fingerprint(far(at=4))
    assert fingerprint({"a": far(timeout=1.0)}) == fingerprint({"a": far(timeout=2.0)})


def test_a_saved_one_is_loaded_and_labels_a_shard(tmp_path):
    path = tmp_path / "teacher.model"
    load_model(far()).save(path)
    (unit,) = label_units(
        [crystal()], model=str(path), folder=tmp_path, name="labels", options=LabelConfig()
    )
    unit.run()
    assert_like_emt(load_calculator(path), unit.labelled()[0])


@pytest.mark.skipif(SEVENNET is None, reason="DISTILL_SEVENNET_PYTHON names no Python with sevenn")
def test_sevennet_in_its_own_environment_knows_copper():
    config = CalculatorConfig(
        path="sevenn.calculator:SevenNetCalculator", args={"model": "7net-0"}, python=SEVENNET
    )
    calculator = load_calculator(config)
    lattice = {a: calculator.get_potential_energy(bulk("Cu", a=a)) for a in (3.5, 3.6, 3.7)}
    assert min(lattice, key=lattice.get) == 3.6
