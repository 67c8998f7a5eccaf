"""The bundled data sets: complete, as recorded, split cleanly, and small."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms

from distill.core.artifacts import read_json, sha256
from distill.core.errors import UserError
from distill.core.input_files import BUNDLED_FOLDER, bundled_data
from distill.data.structures import (
    config_type,
    read_structures,
    reference_energy,
    reference_forces,
    reference_stress,
)

NAMES = ["h2cu_train", "h2cu_validation", "h2cu_test", "lif_train", "lif_test"]
HELD_OUT = [("h2cu", "validation"), ("h2cu", "test"), ("lif", "test")]
LARGEST_BUNDLE = 6e6  # bytes


@pytest.fixture(scope="module")
def structures() -> dict[str, list[Atoms]]:
    return {name: read_structures(bundled_data(name)) for name in NAMES}


def test_everything_bundled_is_small() -> None:
    total = sum(path.stat().st_size for path in BUNDLED_FOLDER.rglob("*") if path.is_file())
    assert total < LARGEST_BUNDLE


def test_unknown_set_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r"h2cu_tain.*h2cu_test, h2cu_train, h2cu_validation, lif"):
        bundled_data("h2cu_tain")


@pytest.mark.parametrize("name", NAMES)
def test_file_is_the_recorded_one(name: str, structures: dict[str, list[Atoms]]) -> None:
    provenance = read_json(BUNDLED_FOLDER / f"{name}.provenance.json")
    assert provenance["file"] == f"{name}.xyz"
    assert provenance["sha256"] == sha256(bundled_data(name))
    counts = Counter(config_type(atoms) for atoms in structures[name])
    assert provenance["contents"]["by_config_type"] == dict(counts)


@pytest.mark.parametrize("name", NAMES)
def test_provenance_holds_no_path_of_a_machine(name: str) -> None:
    text = (BUNDLED_FOLDER / f"{name}.provenance.json").read_text(encoding="utf-8")
    assert "/home" not in text
    assert "/tmp" not in text
    assert "/work" not in text


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_complete_and_moderate(name: str, structures: dict[str, list[Atoms]]) -> None:
    for index, atoms in enumerate(structures[name]):
        forces = reference_forces(atoms)
        assert np.isfinite(reference_energy(atoms)), index
        assert forces.shape == (len(atoms), 3)
        assert np.linalg.norm(forces, axis=1).max() <= 50, index
        # Forces of an isolated system sum to nothing: a label that lost an atom shows here.
        assert np.abs(forces.sum(axis=0)).max() < 1e-3, index
        if name.startswith("lif"):
            assert np.isfinite(reference_stress(atoms)).all(), index


@pytest.mark.parametrize(("name", "part"), HELD_OUT)
def test_split_is_disjoint_and_stratified(
    name: str, part: str, structures: dict[str, list[Atoms]]
) -> None:
    train, test = structures[f"{name}_train"], structures[f"{name}_{part}"]
    energies = {round(reference_energy(atoms), 6) for atoms in train}
    assert not energies & {round(reference_energy(atoms), 6) for atoms in test}
    in_train = Counter(config_type(atoms) for atoms in train)
    in_test = Counter(config_type(atoms) for atoms in test)
    in_train.pop("IsolatedAtom", None)
    assert in_train.keys() == in_test.keys()
    for kind, count in in_test.items():
        assert 0.1 <= count / (count + in_train[kind]) <= 0.3, kind


def test_h2cu_covers_every_facet_from_far_away_to_dissociated(
    structures: dict[str, list[Atoms]],
) -> None:
    everything = structures["h2cu_train"] + structures["h2cu_test"]
    for facet in ("111", "110", "100", "211"):
        bonds, heights = [], []
        for atoms in everything:
            hydrogen = np.flatnonzero(atoms.numbers == 1)
            if config_type(atoms) != f"h2_cu{facet}" or len(hydrogen) != 2:
                continue
            bonds.append(atoms.get_distance(*hydrogen, mic=True))
            metal = np.sort(atoms.positions[atoms.numbers == 29, 2])
            heights.append(atoms.positions[hydrogen, 2].mean() - metal[-2:].mean())
        assert min(bonds) < 0.75
        assert np.mean((np.array(bonds) > 0.85) & (np.array(bonds) < 1.5)) > 0.1
        assert max(bonds) > 2.25
        assert max(heights) > 5
        assert min(heights) < 1.2


def test_energies_of_h2cu_are_relative_to_free_atoms(structures: dict[str, list[Atoms]]) -> None:
    train = structures["h2cu_train"]
    isolated = [atoms for atoms in train if config_type(atoms) == "IsolatedAtom"]
    assert {atoms.get_chemical_formula() for atoms in isolated} == {"H", "Cu"}
    assert all(reference_energy(atoms) == 0 for atoms in isolated)
    molecules = [reference_energy(atoms) for atoms in train if config_type(atoms) == "h2"]
    assert min(molecules) == pytest.approx(-4.57, abs=0.02)


def test_lif_has_an_interstitial_in_the_large_cell(structures: dict[str, list[Atoms]]) -> None:
    formulas = Counter(
        atoms.get_chemical_formula()
        for atoms in structures["lif_train"]
        if config_type(atoms) == "lif_interstitial"
    )
    assert formulas["F32Li33"] >= 20
