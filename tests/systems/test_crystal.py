"""Properties of a copper crystal by EMT: consistency between independent routes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.units import GPa, kB
from scipy.integrate import trapezoid

from distill.config import PhononsConfig
from distill.core.errors import UserError
from distill.observables.bulk.elastic import elastic_constants
from distill.systems.crystals import mean_with_interval, relaxed_cell
from distill.systems.equation_of_state import equation_of_state


class Repulsive(Calculator):
    """Energy that falls with the volume for ever."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        self.results = {"energy": 100 / atoms.get_volume(), "forces": np.zeros((len(atoms), 3))}


def relaxed_copper() -> Atoms:
    atoms = bulk("Cu", a=3.6, cubic=True)
    scale = equation_of_state(atoms, EMT())["scale"]
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def test_elastic_constants_agree_with_energies() -> None:
    """Bulk modulus from the energy-volume curve, C44 from the energy of a sheared cell."""
    atoms = relaxed_copper()
    constants = elastic_constants(atoms, EMT())
    curve = equation_of_state(atoms, EMT())
    assert constants.bulk_modulus == pytest.approx(curve["bulk_modulus_GPa"], rel=0.01)
    energies = []
    angles = np.array([-0.004, 0.0, 0.004])
    for angle in angles:
        sheared = atoms.copy()
        shear = np.eye(3)
        shear[0, 1] = shear[1, 0] = angle / 2
        sheared.set_cell(atoms.cell @ shear, scale_atoms=True)
        sheared.calc = EMT()
        energies.append(sheared.get_potential_energy())
    curvature = 2 * np.polyfit(angles, energies, 2)[0] / atoms.get_volume()
    value = {name: constant.value for name, constant in constants.constants.items()}
    assert value["C44"] == pytest.approx(curvature / GPa, rel=0.01)
    low, high = constants.constants["C44"].interval
    assert low < value["C44"] < high
    assert constants.stable
    voigt = (value["C11"] - value["C12"] + 3 * value["C44"]) / 5
    assert 0 < constants.shear_modulus < voigt


def test_properties_that_need_stresses_say_so() -> None:
    with pytest.raises(UserError, match="need stresses"):
        elastic_constants(relaxed_copper(), Repulsive())


def test_block_interval_covers_the_mean_of_a_correlated_series() -> None:
    hits, trials = 0, 200
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        noise = generator.normal(size=2000)
        series = np.zeros(2000)
        for index in range(1, 2000):
            series[index] = 0.9 * series[index - 1] + noise[index]
        _, low, high = mean_with_interval(series[200:] + 5.0, blocks=8)
        hits += low <= 5.0 <= high
    assert hits >= 180
    with pytest.raises(UserError, match="too few for 8 blocks"):
        mean_with_interval(np.zeros(15), blocks=8)


@pytest.mark.physics
def test_long_waves_travel_at_the_speed_of_sound() -> None:
    pytest.importorskip("phonopy")
    from distill.observables.bulk.phonons import phonons

    atoms = relaxed_copper()
    result = phonons(atoms, EMT(), config=PhononsConfig(supercell=(3, 3, 3), mesh=6))
    assert result.stable
    assert result.dispersion.labels[:2] == ["G", "X"]
    distance = np.array(result.dispersion.distance[:4])
    bands = np.array(result.dispersion.frequencies[:4])
    density = atoms.get_masses().sum() / atoms.get_volume()
    constants = elastic_constants(atoms, EMT()).constants
    # sqrt(GPa / (amu/Å³)) in THz Å.
    unit = np.sqrt(1e9 / (1.66053907e-27 * 1e30)) * 1e-2
    longitudinal = np.sqrt(constants["C11"].value / density) * unit
    transverse = np.sqrt(constants["C44"].value / density) * unit
    assert bands[3, 2] / distance[3] == pytest.approx(longitudinal, rel=0.05)
    assert bands[3, 0] / distance[3] == pytest.approx(transverse, rel=0.05)
    states = result.density_of_states
    assert trapezoid(states.density, states.frequency) == pytest.approx(3.0, rel=0.06)
    assert len(result.free_energy) == 4


def test_free_energy_has_its_limits() -> None:
    """Zero-point energy at 0 K; kT ln(hν/kT) a mode when hot."""
    pytest.importorskip("phonopy")

    from distill.observables.bulk.phonons import phonons

    config = PhononsConfig(mesh=8, temperatures=[0.0, 3000.0], volume_points=5)
    result = phonons(relaxed_copper(), EMT(), config=config)
    states = result.density_of_states
    frequency, density = np.array(states.frequency), np.array(states.density)
    quantum = 4.135667696e-3 * frequency
    cold, hot = (energy.value for energy in result.free_energy)
    assert cold == pytest.approx(trapezoid(density * quantum / 2, frequency), rel=0.03)
    real = frequency > 0.3
    thermal = kB * 3000.0
    classical = trapezoid(
        density[real] * thermal * np.log(quantum[real] / thermal), frequency[real]
    )
    assert hot == pytest.approx(classical, rel=0.03)
    first = result.quasi_harmonic[0]
    assert first.lattice_constant > relaxed_copper().cell.lengths()[0]


def test_phonons_of_an_unrelaxed_cell_are_refused() -> None:
    pytest.importorskip("phonopy")
    from distill.observables.bulk.phonons import phonons

    config = PhononsConfig(mesh=4)
    squeezed = bulk("Cu", a=3.5, cubic=True)
    with pytest.raises(UserError, match=r"not relaxed: a stress"):
        phonons(squeezed, EMT(), config=config)
    displaced = relaxed_copper()
    displaced.positions[0, 0] += 0.05
    with pytest.raises(UserError, match=r"not relaxed: a force"):
        phonons(displaced, EMT(), config=config)


def ordered_alloy(stretch: float = 1.02) -> Atoms:
    """CuAu in the tetragonal L1_0 structure, its longer edge off its length."""
    cell = [2.7, 2.7, 3.7 * stretch]
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Atoms("CuAu", scaled_positions=places, cell=cell, pbc=True)


def test_a_tetragonal_cell_relaxes_in_shape_and_volume() -> None:
    relaxed = [relaxed_cell(ordered_alloy(stretch), EMT()) for stretch in (1.0, 1.04)]
    for atoms in relaxed:
        atoms.calc = EMT()
        assert np.abs(atoms.get_stress()).max() < 1e-4
        assert abs(np.ptp(atoms.cell.lengths())) > 0.3
    assert np.allclose(*(atoms.cell.lengths() for atoms in relaxed), atol=2e-3)
    with pytest.raises(UserError, match="not cubic, so its shape must be relaxed with stresses"):
        relaxed_cell(ordered_alloy(), Repulsive())


@pytest.mark.physics
def test_elastic_constants_of_a_tetragonal_crystal_agree_with_energies() -> None:
    atoms = relaxed_cell(ordered_alloy(), EMT())
    found = elastic_constants(atoms, EMT())
    value = {name: constant.value for name, constant in found.constants.items()}
    assert value["C11"] == pytest.approx(value["C22"], rel=1e-3)
    assert value["C13"] == pytest.approx(value["C23"], rel=1e-3)
    assert value["C44"] == pytest.approx(value["C55"], rel=1e-3)
    assert value["C33"] != pytest.approx(value["C11"], rel=0.01)
    assert found.stable
    # The curvature of the energy over a strain along c is C33.
    strains = np.linspace(-0.004, 0.004, 5)
    energies = []
    for strain in strains:
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * [1, 1, 1 + strain], scale_atoms=True)
        strained.calc = EMT()
        energies.append(strained.get_potential_energy())
    curvature = 2 * np.polyfit(strains, energies, 2)[0] / atoms.get_volume() / GPa
    assert curvature == pytest.approx(value["C33"], rel=0.02)


def test_a_crystal_unstable_when_stretched_gives_a_reason_and_no_number() -> None:
    pytest.importorskip("phonopy")
    from distill.observables.bulk.phonons import quasi_harmonic_energy

    config = PhononsConfig(mesh=4, temperatures=[0.0, 300.0], volume_points=5, volume_strain=0.19)
    rows = quasi_harmonic_energy(relaxed_copper(), EMT(), config=config)
    assert [row.temperature for row in rows] == [0.0, 300.0]
    for row in rows:
        assert "have real frequencies, 5 are needed" in row.reason
        assert row.free_energy is None
