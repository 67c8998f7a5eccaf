"""The bundled foundation model: rebuilt exactly, refused when damaged, physically consistent."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.models.mace.bundled_foundation import (
    CONFIG_NAME,
    PROVENANCE_NAME,
    TENSORS_NAME,
    bundled_foundation_path,
    load_foundation,
    save_foundation,
)


@pytest.fixture(scope="module")
def model():
    return load_foundation()


def references() -> list[dict]:
    return read_json(bundled_foundation_path() / PROVENANCE_NAME)["reference_results"]


def atoms_of(reference: dict) -> Atoms:
    return Atoms(
        reference["symbols"],
        positions=reference["positions"],
        cell=reference["cell"],
        pbc=reference["pbc"],
    )


def calculator(model):
    from mace.calculators import MACECalculator

    return MACECalculator(models=[model], device="cpu", default_dtype="float64")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled_foundation_path(), tmp_path / "foundation"))


@pytest.mark.parametrize("index", [0, 1])
def test_rebuilt_model_gives_the_trained_ones_results(model, index: int) -> None:
    reference = references()[index]
    atoms = atoms_of(reference)
    atoms.calc = calculator(model)
    assert atoms.get_potential_energy() == pytest.approx(reference["energy"], abs=1e-10, rel=0)
    np.testing.assert_allclose(atoms.get_forces(), reference["forces"], atol=1e-10, rtol=0)


@pytest.mark.parametrize("index", [0, 1])
def test_forces_are_minus_the_energy_gradient(model, index: int) -> None:
    atoms = atoms_of(references()[index])
    atoms.calc = calculator(model)
    forces = atoms.get_forces()
    step = 1e-4
    for atom in (0, len(atoms) - 1):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                moved.calc = atoms.calc
                energies.append(moved.get_potential_energy())
            slope = (energies[0] - energies[1]) / (2 * step)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-5)


def test_energy_knows_no_orientation_origin_or_order(model) -> None:
    atoms = atoms_of(references()[0])
    atoms.calc = calculator(model)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    turned.translate((0.3, -0.2, 0.7))
    order = np.random.default_rng(5).permutation(len(atoms))
    turned = turned[order]
    turned.calc = atoms.calc
    assert turned.get_potential_energy() == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(
        np.linalg.norm(turned.get_forces(), axis=1),
        np.linalg.norm(forces[order], axis=1),
        atol=1e-7,
    )


def test_knows_its_four_elements_and_free_atoms(model) -> None:
    config = read_json(bundled_foundation_path() / CONFIG_NAME)
    assert config["atomic_numbers"] == [1, 3, 9, 29]
    energies = np.ravel(config["atomic_energies"])
    for number, expected in zip(config["atomic_numbers"], energies, strict=True):
        free = Atoms(numbers=[number], cell=[20, 20, 20], pbc=True)
        free.calc = calculator(model)
        assert free.get_potential_energy() == pytest.approx(expected, abs=1e-5)


def test_copper_and_lithium_fluoride_have_sensible_lattice_constants(model) -> None:
    from ase.build import bulk

    for name, structure, expected in (("Cu", "fcc", 3.62), ("LiF", "rocksalt", 4.09)):
        lattices = expected * np.linspace(0.95, 1.05, 11)
        energies = []
        for lattice in lattices:
            atoms = bulk(name, structure, a=lattice)
            atoms.calc = calculator(model)
            energies.append(atoms.get_potential_energy())
        assert lattices[int(np.argmin(energies))] == pytest.approx(expected, rel=0.021)


def test_saving_and_loading_again_changes_nothing(model, tmp_path: Path) -> None:
    save_foundation(model, tmp_path / "again", {"name": "copy"})
    again = read_json(tmp_path / "again" / PROVENANCE_NAME)["reference_results"]
    for one, other in zip(references(), again, strict=True):
        assert other["energy"] == pytest.approx(one["energy"], abs=1e-10, rel=0)
    rebuilt = load_foundation(tmp_path / "again")
    for name, tensor in model.state_dict().items():
        assert (rebuilt.state_dict()[name] == tensor).all(), name


def test_damaged_tensors_are_refused(copied: Path) -> None:
    path = copied / TENSORS_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{TENSORS_NAME} is damaged: expected SHA-256"):
        load_foundation(copied)


def test_truncated_tensors_are_refused(copied: Path) -> None:
    path = copied / TENSORS_NAME
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged"):
        load_foundation(copied)


def test_missing_files_are_named(copied: Path) -> None:
    (copied / CONFIG_NAME).unlink()
    with pytest.raises(UserError, match=f"cannot read .*{CONFIG_NAME}"):
        load_foundation(copied)


def test_provenance_without_hashes_is_refused(copied: Path) -> None:
    write_json(copied / PROVENANCE_NAME, {"name": "no hashes"})
    with pytest.raises(UserError, match="is damaged: expected the SHA-256"):
        load_foundation(copied)


def test_a_configuration_of_another_library_version_is_explained(copied: Path) -> None:
    from distill.core.artifacts import sha256

    config = read_json(copied / CONFIG_NAME)
    config["interaction_cls"] = "InteractionOfTomorrow"
    write_json(copied / CONFIG_NAME, config)
    provenance = read_json(copied / PROVENANCE_NAME)
    provenance["sha256"][CONFIG_NAME] = sha256(copied / CONFIG_NAME)
    write_json(copied / PROVENANCE_NAME, provenance)
    with pytest.raises(UserError, match=r"does not fit the installed mace-torch.*another found"):
        load_foundation(copied)


def test_provenance_is_honest_and_free_of_paths() -> None:
    text = (bundled_foundation_path() / PROVENANCE_NAME).read_text(encoding="utf-8")
    assert not any(folder in text for folder in ("/home", "/tmp", "/work"))
    provenance = read_json(bundled_foundation_path() / PROVENANCE_NAME)
    assert provenance["limits"]
    assert provenance["test_errors"]["all"]["forces_rmse_meV_per_A"] > 0
