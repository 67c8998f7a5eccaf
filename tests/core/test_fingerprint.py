"""Fingerprints: files by contents, all else by what it says, and nothing by its name alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian

from distill.config import CalculatorConfig, MdConfig, RattleConfig
from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint, model_identity, names_of
from distill.core.input_files import InputFile


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Two files of equal contents, and one of others."""
    paths = [tmp_path / name for name in ("one.xyz", "two.xyz", "other.xyz")]
    for path, text in zip(paths, ("a", "a", "b"), strict=True):
        path.write_text(text)
    return paths


@pytest.mark.parametrize("kind", [InputFile, Path])
def test_files_count_by_their_contents(files, kind):
    one, two, other = (fingerprint({"file": kind(path)}) for path in files)
    assert one == two != other


def test_text_that_is_the_name_of_a_file_counts_as_text(files):
    assert fingerprint(str(files[0])) != fingerprint(str(files[1]))


def test_files_of_sections_count_by_their_contents(files):
    one, two, other = (fingerprint(MdConfig(structure=str(path))) for path in files)
    assert one == two != other
    nested = [fingerprint([{"md": [MdConfig(structure=str(path))]}]) for path in files]
    assert nested[0] == nested[1] != nested[2]


def test_a_file_that_is_replaced_in_its_place_is_another(files):
    section = RattleConfig(structures=str(files[0]))
    before = fingerprint(section)
    files[0].write_text("c")
    assert fingerprint(section) != before


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.xyz does not exist"):
        fingerprint(MdConfig(structure=str(tmp_path / "nothing.xyz")))


def test_names_that_are_no_files_count_as_they_are():
    assert fingerprint(MdConfig(structure="preset:lif")) == fingerprint(
        MdConfig(structure="preset:lif")
    )
    emt = CalculatorConfig(path="ase.calculators.emt:EMT")
    assert fingerprint(emt) == fingerprint(CalculatorConfig(path="ase.calculators.emt:EMT"))
    assert fingerprint(emt) != fingerprint(emt.model_copy(update={"args": {"fixed_cutoff": 1}}))
    assert fingerprint(emt) != fingerprint(CalculatorConfig(path="ase.calculators.lj:LennardJones"))


def test_models_count_by_their_contents_or_their_import_path(files):
    one, two, other = (model_identity(str(path)) for path in files)
    assert one == two != other
    assert model_identity(files[0]) == one
    assert model_identity("ase.calculators.emt:EMT") == "ase.calculators.emt:EMT"


def test_calculators_in_memory_are_like_no_other():
    calculator = EMT()
    assert fingerprint(calculator) == fingerprint(calculator)
    assert fingerprint(calculator) != fingerprint(EMT())


def test_an_object_may_speak_for_itself():
    class Model:
        def __init__(self, weights: list[float]) -> None:
            self.weights = weights

        def fingerprint(self) -> str:
            return fingerprint(self.weights)

    assert fingerprint({"model": Model([1.0])}) == fingerprint({"model": Model([1.0])})
    assert fingerprint({"model": Model([1.0])}) != fingerprint({"model": Model([2.0])})


def test_dataclasses_and_mappings_count_by_their_entries():
    @dataclass(frozen=True)
    class Condition:
        facet: str
        energy: float

    assert fingerprint(Condition("111", 0.5)) == fingerprint(Condition("111", 0.5))
    assert fingerprint(Condition("111", 0.5)) != fingerprint(Condition("111", 0.6))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_arrays_count_by_shape_kind_and_every_digit():
    array = np.arange(6.0)
    same = fingerprint(array)
    assert fingerprint(np.arange(12.0)[::2] / 2) == same
    for other in (array.reshape(2, 3), array.astype(np.float32), array + 1e-15):
        assert fingerprint(other) != same


def changed(atoms: Atoms, what: str) -> Atoms:
    other = atoms.copy()
    match what:
        case "position":
            other.positions[0, 0] += 1e-12
        case "element":
            other.numbers[0] = 47
        case "cell":
            other.cell[0, 0] += 1e-12
        case "periodicity":
            other.pbc = [True, True, False]
        case "momenta":
            other.set_momenta(np.ones((len(other), 3)))
        case "masses":
            other.set_masses(np.full(len(other), 65.0))
        case "constraint":
            other.set_constraint(FixAtoms([1]))
        case "constrained direction":
            other.set_constraint(FixCartesian(0, (True, False, False)))
        case "label":
            other.info["REF_energy"] = -1.0 - 1e-12
        case "long label":
            other.info["REF_stress"] = other.info["REF_stress"] + 1e-12
        case "note":
            other.info["config_type"] = "slab"
    return other


@pytest.mark.parametrize(
    "what",
    [
        "position",
        "element",
        "cell",
        "periodicity",
        "momenta",
        "masses",
        "constraint",
        "constrained direction",
        "label",
        "long label",
        "note",
    ],
)
def test_structures_count_by_all_that_they_hold(what):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    atoms.info.update(REF_energy=-1.0, REF_stress=np.full(6, 0.1), config_type="bulk")
    same = atoms.copy()
    same.calc = EMT()
    assert fingerprint(same) == fingerprint(atoms)
    assert fingerprint(changed(atoms, what)) != fingerprint(atoms)


def test_constraints_of_large_structures_count_in_full():
    """Text of a long array leaves out its middle."""
    atoms = Atoms(f"H{2000}", np.zeros((2000, 3)))
    keys = set()
    for free in (1000, 1001):
        atoms.set_constraint(FixAtoms([n for n in range(2000) if n != free]))
        keys.add(fingerprint(atoms))
        atoms.set_constraint()
        atoms.info["weights"] = np.where(np.arange(2000) == free, 1.0, 0.0)
        keys.add(fingerprint(atoms))
        atoms.info.clear()
    assert len(keys) == 4


def test_fingerprints_are_those_of_every_process(files):
    """Records are read by later processes; hashes of Python's own differ between them."""
    atoms = bulk("Cu", cubic=True)
    atoms.info["spacegroup"] = "Fm-3m"
    value = {"atoms": atoms, "array": np.arange(3), "set": MdConfig(structure=str(files[0]))}
    code = (
        "import sys; import numpy as np; from ase.build import bulk\n"
        "from distill.config import MdConfig; from distill.core.fingerprint import fingerprint\n"
        "atoms = bulk('Cu', cubic=True); atoms.info['spacegroup'] = 'Fm-3m'\n"
        "print(fingerprint({'set': MdConfig(structure=sys.argv[1]), 'array': np.arange(3), "
        "'atoms': atoms}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, str(files[1])], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == fingerprint(value)


def test_names_of_entries_do_not_depend_on_their_place():
    names = dict(zip("abc", names_of(["a", "b", "c"]), strict=True))
    assert len(set(names.values())) == 3
    assert names_of(["c", "a"]) == [names["c"], names["a"]]
    assert names_of(["a", "c", "a", "a"]) == [
        names["a"],
        names["c"],
        f"{names['a']}-1",
        f"{names['a']}-2",
    ]
