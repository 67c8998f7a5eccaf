"""Bulk dynamics and rattled structures: ensembles, labels, what is set aside, and repeats."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixCom, FixedPlane
from ase.io import read, write
from pydantic import ValidationError
from sampling_units import sampling_units

from distill.config import MdConfig, RattleConfig
from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces, reference_stress
from distill.sampling.methods.md import MdUnit, starting_structure

EMT_PATH = "ase.calculators.emt:EMT"


@pytest.fixture
def copper(tmp_path) -> Path:
    """Four copper atoms at EMT's lattice constant."""
    path = tmp_path / "copper.xyz"
    write(path, bulk("Cu", a=3.59, cubic=True), format="extxyz")
    return path


def md(copper: Path, out: Path, **options) -> MdUnit:
    config = MdConfig(
        structure=str(copper), time=200.0, equilibration_time=50.0, time_step=2.0, **options
    )
    unit = sampling_units("md", config, model=EMT_PATH, out=out, seed=2)[0]
    unit.run()
    return unit


def test_structures_carry_labels_and_their_origin(copper, tmp_path):
    unit = md(copper, tmp_path, temperatures=[300.0])
    structures = unit.structures()
    assert unit.finished
    assert re.fullmatch(r"md_[0-9a-f]{8}_300K", unit.name)
    assert len(structures) == 11
    assert structures[0].info["time_fs"] == 50.0
    assert unit.numbers()["calls"] == 126
    for atoms in structures[::5]:
        assert atoms.info["trajectory"] == unit.name
        expected = atoms.copy()
        expected.calc = EMT()
        assert reference_energy(atoms) == pytest.approx(expected.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(reference_forces(atoms), expected.get_forces(), atol=1e-6)
        np.testing.assert_allclose(reference_stress(atoms), expected.get_stress(), atol=1e-6)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_fixed_atoms_stay_and_carry_their_raw_forces(copper, tmp_path, ensemble):
    """Zeros on atoms held fixed would be learned as forces."""
    fixed = read(copper)
    fixed.set_constraint(FixAtoms([0, 1]))
    write(tmp_path / "fixed.xyz", fixed, format="extxyz")
    unit = md(tmp_path / "fixed.xyz", tmp_path, temperatures=[600.0], ensemble=ensemble)
    structures = unit.structures()
    for atoms in structures:
        np.testing.assert_allclose(atoms.positions[:2], fixed.positions[:2], atol=1e-7)
        expected = atoms.copy()
        expected.set_constraint()
        expected.calc = EMT()
        np.testing.assert_allclose(reference_forces(atoms), expected.get_forces(), atol=1e-6)
    assert min(np.abs(reference_forces(atoms)[:2]).max() for atoms in structures) > 1e-3


def test_volume_moves_at_constant_pressure_only(copper, tmp_path):
    volumes = {}
    for ensemble in ("nve", "nvt", "npt"):
        unit = md(copper, tmp_path / ensemble, temperatures=[600.0], ensemble=ensemble)
        volumes[ensemble] = np.ptp([atoms.get_volume() for atoms in unit.structures()])
    assert volumes["nve"] == volumes["nvt"] == 0.0
    assert volumes["npt"] > 1e-3


@pytest.mark.physics
def test_thermostat_holds_its_temperature(copper, tmp_path):
    options = {"supercell": (2, 2, 2), "friction": 0.05, "save_every": 10.0}
    unit = md(copper, tmp_path, temperatures=[400.0], **options)
    bottom = 32 * bulk_energy(copper)
    # Equipartition of a harmonic crystal: 3/2 kT potential energy an atom.
    thermal = np.mean([reference_energy(atoms) for atoms in unit.structures()]) - bottom
    assert thermal / 32 == pytest.approx(1.5 * 8.617e-5 * 400, rel=0.35)


def bulk_energy(copper: Path) -> float:
    atoms = read(copper)
    atoms.calc = EMT()
    return atoms.get_potential_energy() / len(atoms)


def test_too_hot_a_run_is_set_aside(copper, tmp_path):
    unit = md(copper, tmp_path, temperatures=[900.0], max_temperature=50.0)
    summary = unit.numbers()
    assert summary["outcome"] == "blown_up"
    assert "temperature of" in summary["reason"]
    assert unit.structures() == []


def test_every_temperature_is_a_unit_and_repeats(copper, tmp_path):
    config = MdConfig(structure=str(copper), temperatures=[300.0, 600.0], time=20.0)
    units = sampling_units("md", config, model=EMT_PATH, out=tmp_path / "one", seed=2)
    assert [unit.temperature for unit in units] == [300.0, 600.0]
    again = sampling_units("md", config, model=EMT_PATH, out=tmp_path / "two", seed=2)
    for one, other in zip(units, again, strict=True):
        one.run()
        other.run()
        file = f"{one.name}.xyz"
        assert (one.folder / file).read_bytes() == (other.folder / file).read_bytes()


def test_runs_are_their_own_and_further_ones_repeat_none(copper, tmp_path):
    config = MdConfig(structure=str(copper), temperatures=[300.0], time=20.0)
    (alone,) = sampling_units("md", config, model=EMT_PATH, out=tmp_path, seed=2)
    alone.run()
    more = config.model_copy(update={"runs": 3})
    units = sampling_units("md", more, model=EMT_PATH, out=tmp_path, seed=2)
    assert len({unit.name for unit in units}) == 3
    assert [unit.finished for unit in units] == [True, False, False]
    units[1].run()
    first, second = (unit.structures()[-1] for unit in units[:2])
    assert not np.allclose(first.positions, second.positions, atol=1e-3)


@pytest.mark.slow
def test_every_pressure_is_a_unit_and_pressure_compresses(copper, tmp_path):
    config = MdConfig(
        structure=str(copper),
        ensemble="npt",
        temperatures=[300.0],
        pressures=[0.0, 0.1],
        supercell=(2, 2, 2),
        time=300.0,
        equilibration_time=500.0,
        time_step=5.0,
    )
    units = sampling_units("md", config, model=EMT_PATH, out=tmp_path, seed=2)
    assert [unit.name.split("_", 2)[2] for unit in units] == ["300K_0eVA3", "300K_0.1eVA3"]
    volumes = []
    for unit in units:
        unit.run()
        volumes.append(np.mean([atoms.get_volume() for atoms in unit.structures()]))
        assert unit.numbers()["pressure_eV_per_A3"] == unit.pressure
    # 0.1 eV/Å³ is 16 GPa on a bulk modulus of 130 GPa.
    assert 0.04 < 1 - volumes[1] / volumes[0] < 0.18
    with pytest.raises(ValidationError, match="pressures belong to ensemble npt, not to nvt"):
        MdConfig(structure="x", pressures=[0.1])


def test_lithium_in_lif_is_a_preset():
    config = MdConfig(
        structure="preset:lif", supercell=(2, 2, 2), defect="interstitial", defect_element="Li"
    )
    atoms = starting_structure(config)
    assert atoms.get_chemical_formula() == "F32Li33"
    assert atoms.cell[0, 0] == pytest.approx(2 * 4.026)


@pytest.mark.parametrize(
    ("defect", "atoms"), [("none", 32), ("vacancy", 31), ("interstitial", 33), ("dumbbell", 33)]
)
def test_defects_are_put_into_the_supercell(copper, defect, atoms):
    config = MdConfig(structure=str(copper), supercell=(2, 2, 2), defect=defect)
    assert len(starting_structure(config)) == atoms


def test_missing_structures_are_named(copper, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.xyz does not exist"):
        starting_structure(MdConfig(structure=str(tmp_path / "nothing.xyz")))
    with pytest.raises(UserError, match=r"holds 1 structures, expected one at index 3"):
        starting_structure(MdConfig(structure=str(copper), index=3))


def test_rattled_structures_are_labelled_and_relaxed_ones_fall(copper, tmp_path):
    config = RattleConfig(structures=str(copper), copies=2, amplitude=0.15, relax_steps=4)
    [unit] = sampling_units("rattle", config, model=EMT_PATH, out=tmp_path)
    unit.run()
    structures = unit.structures()
    assert [atoms.info["step"] for atoms in structures] == 2 * list(range(5))
    energies = [reference_energy(atoms) for atoms in structures[:5]]
    assert energies[-1] < energies[0]
    assert reference_stress(structures[0]).shape == (6,)
    names = [structures[index].info["trajectory"] for index in (0, -1)]
    assert [name.rsplit("_", 1)[1] for name in names] == ["000", "001"]


@pytest.mark.parametrize("constraint", [FixedPlane([0], [0, 0, 1]), FixBondLength(0, 1), FixCom()])
def test_constraints_that_would_be_ignored_are_refused(copper, tmp_path, constraint):
    """The dynamics here hold whole atoms; a plane or a bond would silently be let go."""
    atoms = read(copper)
    atoms.set_constraint(constraint)
    path = tmp_path / "held.traj"
    write(path, atoms)
    with pytest.raises(UserError, match=f"constraints {type(constraint).__name__}"):
        md(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda atoms: atoms.set_constraint(FixAtoms(range(4))), "has every atom fixed"),
        (lambda atoms: atoms.set_masses([63.5, 0.0, 63.5, 63.5]), r"atom 1 \(Cu\) has the mass 0"),
        (lambda atoms: atoms.set_masses([63.5, 63.5, -1, 63.5]), "atom 2 .* mass -1 amu"),
    ],
)
def test_structures_that_cannot_move_are_refused(copper, tmp_path, change, words):
    atoms = read(copper)
    change(atoms)
    write(tmp_path / "start.traj", atoms)
    with pytest.raises(UserError, match=words):
        md(tmp_path / "start.traj", tmp_path / "out")


@pytest.mark.parametrize("atoms", [fcc111("Cu", (1, 1, 3), vacuum=8), molecule("H2O")])
def test_a_pressure_on_vacuum_is_refused_whatever_the_periodicity_says(tmp_path, atoms):
    atoms.center(vacuum=5.0)
    atoms.pbc = True
    write(tmp_path / "start.traj", atoms)
    with pytest.raises(UserError, match=r"npt: .* has a layer of vacuum"):
        md(tmp_path / "start.traj", tmp_path / "out", ensemble="npt")


def test_dynamics_from_atoms_on_each_other_end_at_once(copper, tmp_path):
    atoms = read(copper)
    atoms.positions[0] = atoms.positions[1]
    write(tmp_path / "start.traj", atoms)
    unit = md(tmp_path / "start.traj", tmp_path / "out", save_every=2.0)
    assert unit.numbers()["outcome"] == "blown_up"
    assert "not finite at step 0; do atoms coincide" in unit.numbers()["reason"]
    assert unit.structures() == []
