"""What structures note about their labels is respected, refused or said, never passed over."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from helpers import rattled_copper

from distill.config import DataConfig
from distill.core.errors import UserError
from distill.data.annotations import respect_annotations
from distill.data.data_stage import run
from distill.data.structures import read_structures, reference_stress, set_labels


def noted(**notes):
    """Structures of which those with the indices given have an entry in `info`."""
    structures = rattled_copper(4)
    for key, of_structures in notes.items():
        for index, value in of_structures.items():
            structures[index].info[key] = value
    return structures


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"head": {0: "pbe", 1: "r2scan"}}, r"several heads \(Default: 2, pbe: 1, r2scan: 1\)"),
        ({"Head": {2: "omat"}}, "several heads"),
        ({"config_energy_weight": {3: 0.0}}, "structure 3 has config_energy_weight 0"),
        ({"config_forces_weight": {1: 0}}, "structure 1 has config_forces_weight 0, so its forces"),
        ({"config_weight": {0: "0.0"}}, "structure 0 has config_weight 0"),
        ({"config_weight": {0: "high"}}, "config_weight is 'high'; expected a number"),
    ],
)
def test_labels_that_are_not_to_be_mixed_or_learnt_are_refused(notes, words):
    with pytest.raises(UserError, match=words):
        respect_annotations(noted(**notes), "a.xyz")


def test_a_stress_of_weight_zero_is_no_label_of_the_run(tmp_path, capsys):
    structures = noted(config_stress_weight={1: 0.0, 2: 1.0}, head=dict.fromkeys(range(4), "pbe"))
    write(tmp_path / "a.xyz", structures, format="extxyz")
    config = DataConfig(train=str(tmp_path / "a.xyz"), test_fraction=0.3)
    run(config, out=tmp_path / "out", seed=1)
    assert "left out the stress of weight 0 of structures 1" in capsys.readouterr().out
    kept = [read_structures(tmp_path / "out" / f"{part}.xyz") for part in ("train", "test")]
    assert sum(reference_stress(atoms) is not None for part in kept for atoms in part) == 3


@pytest.mark.parametrize("others", [{}, {0: 0, 1: 0.0}])
def test_an_isolated_ion_is_no_free_atom(others):
    """Its energy would become that of the neutral atom, whether the others note a charge or not."""
    structures = noted(charge=others)
    ion = set_labels(Atoms("Cu", info={"charge": 1}), energy=7.5)
    with pytest.raises(UserError, match="structure 4 is an isolated Cu of charge 1"):
        respect_annotations([*structures, ion], "a.xyz")
    ion.info["charge"] = 0
    respect_annotations([*structures, ion], "a.xyz")
    charged = [set_labels(Atoms("Cu", info={"charge": 1}), energy=7.5) for _ in range(2)]
    respect_annotations(charged, "a.xyz")


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"config_energy_weight": {0: 10.0, 1: 1.0}}, "weights of 1 structures"),
        ({"charge": {0: 0, 1: -1, 2: 0}}, "differ in charge (0: 3, -1: 1)"),
        ({"charge": {1: 1, 2: 0.0}}, "differ in charge (0: 3, 1: 1)"),
        ({"total_spin": {0: 1, 3: 3}}, "differ in spin (1: 1, 3: 1)"),
        ({"REF_energy": {2: 0.0}}, "the energy of 1 structures is exactly zero"),
        ({"REF_stress": {0: np.zeros(6), 3: np.zeros(6)}}, "stress of 2 structures is exactly"),
        ({"charge": dict.fromkeys(range(4), 1), "config_weight": {0: 1.0}}, ""),
    ],
)
def test_notes_that_change_nothing_here_are_said(notes, words, capsys):
    respect_annotations(noted(**notes), "a.xyz")
    said = capsys.readouterr().out
    assert (words in said) if words else (said == "")
