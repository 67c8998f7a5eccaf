"""EBK levels against the radial Schrödinger equation, and molecules drawn from them."""

import numpy as np
import pytest
from ase import Atoms, units
from scipy.linalg import eigh
from surface_potentials import MORSE, STICKY, MorseSurface, morse

from distill.core.errors import UserError
from distill.models.calculators import load_calculator
from distill.simulation.dynamics import velocity_verlet
from distill.simulation.rovibrational import (
    ACCELERATION,
    HBAR,
    Diatomic,
    action,
    bound_level,
    diatomic_curve,
    sample_molecule,
    turning_points,
)

MASS = 1.008


@pytest.fixture(scope="module")
def hydrogen() -> Diatomic:
    """The Morse curve of H2, from 0.28 to 3.72 Å."""
    r = np.geomspace(0.28, 3.72, 120)
    return Diatomic(("H", "H"), (MASS, MASS), r, morse(*MORSE[2], r)[0])


def schroedinger_levels(j: int, count: int) -> np.ndarray:
    """Eigenvalues (eV) of the radial equation on a sinc grid (Colbert and Miller 1992)."""
    step, mass = 0.004, MASS / 2 / ACCELERATION
    r = 0.2 + step * np.arange(850)
    difference = np.arange(len(r))[:, None] - np.arange(len(r))[None, :]
    with np.errstate(divide="ignore"):
        kinetic = np.where(difference == 0, np.pi**2 / 3, 2 * (-1.0) ** difference / difference**2)
    potential = morse(*MORSE[2], r)[0] + HBAR**2 * j * (j + 1) / (2 * mass * r**2)
    hamiltonian = HBAR**2 / (2 * mass * step**2) * kinetic + np.diag(potential)
    return eigh(hamiltonian, eigvals_only=True, subset_by_index=[0, count - 1])


@pytest.mark.physics
@pytest.mark.parametrize(("j", "tolerance"), [(0, 1e-6), (1, 1e-5), (10, 2e-4)])
def test_levels_agree_with_the_schroedinger_equation(hydrogen, j, tolerance):
    """Semiclassical error of a Morse H2: below 0.001, 0.01 and 0.2 meV at J = 0, 1 and 10."""
    exact = schroedinger_levels(j, 6)
    levels = [bound_level(hydrogen, v, j).energy for v in range(6)]
    np.testing.assert_allclose(levels, exact, atol=tolerance)


def test_action_is_quantised(hydrogen):
    level = bound_level(hydrogen, 2, 3)
    assert action(hydrogen, 3, level.energy) == pytest.approx(2 * np.pi * HBAR * 2.5, rel=1e-8)
    inner, outer = turning_points(hydrogen, 3, level.energy)
    for r in (inner, outer):
        assert hydrogen.effective_potential(r, 3) == pytest.approx(level.energy, abs=1e-9)


def test_state_above_dissociation_is_refused(hydrogen):
    with pytest.raises(UserError, match=r"\(20, 0\) of H-H is above .* highest bound v is 1\d"):
        bound_level(hydrogen, 20, 0)
    with pytest.raises(UserError, match=r"no minimum|dissociation limit"):
        bound_level(hydrogen, 0, 60)


def test_curve_comes_from_the_calculator(hydrogen):
    curve = diatomic_curve("H2", load_calculator(STICKY))
    # Morse, but for the smooth cutoff beyond 2.6 Å.
    near = curve.distances < 2.5
    expected = morse(*MORSE[2], curve.distances[near])[0]
    np.testing.assert_allclose(curve.energies[near], expected, atol=1e-12)
    assert Diatomic.from_dict(curve.to_dict()).potential(0.8) == curve.potential(0.8)


@pytest.mark.parametrize("name", ["Cu", "H3", "nonsense?"])
def test_only_diatomics_are_taken(name):
    with pytest.raises(UserError, match="expected a diatomic"):
        diatomic_curve(name, MorseSurface())


def test_isotopes_change_the_levels(hydrogen):
    heavy = Diatomic(("H", "H"), (2.014, 2.014), hydrogen.distances, hydrogen.energies)
    bottom = hydrogen.energies.min()
    light_zero = bound_level(hydrogen, 0, 0).energy - bottom
    heavy_zero = bound_level(heavy, 0, 0).energy - bottom
    assert heavy_zero / light_zero == pytest.approx(np.sqrt(MASS / 2.014), rel=0.02)


def molecule_energy(hydrogen, positions, velocities) -> float:
    r = np.linalg.norm(positions[1] - positions[0])
    kinetic = 0.5 * MASS / ACCELERATION * np.sum(velocities**2)
    return float(hydrogen.potential(r)) + kinetic


def angular_momentum(positions, velocities) -> np.ndarray:
    return MASS / ACCELERATION * np.sum(np.cross(positions, velocities), axis=0)


def test_sampled_molecules_have_the_level_s_energy_and_angular_momentum(hydrogen):
    level = bound_level(hydrogen, 1, 4)
    generator = np.random.default_rng(3)
    for _ in range(20):
        positions, velocities = sample_molecule(hydrogen, level, generator)
        assert molecule_energy(hydrogen, positions, velocities) == pytest.approx(level.energy)
        moment = np.linalg.norm(angular_momentum(positions, velocities))
        assert moment == pytest.approx(HBAR * np.sqrt(20.0))
        np.testing.assert_allclose(positions.sum(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(velocities.sum(axis=0), 0, atol=1e-12)


@pytest.mark.physics
def test_orientation_and_phase_are_uniform(hydrogen):
    level = bound_level(hydrogen, 0, 2)
    generator = np.random.default_rng(5)
    drawn = [sample_molecule(hydrogen, level, generator) for _ in range(3000)]
    bonds = np.array([positions[1] - positions[0] for positions, _ in drawn])
    r = np.linalg.norm(bonds, axis=1)
    cosines = bonds[:, 2] / r
    # A uniform direction has cosines uniform in [-1, 1]: mean 0, mean square 1/3.
    assert abs(cosines.mean()) < 0.04
    assert np.mean(cosines**2) == pytest.approx(1 / 3, abs=0.02)
    moments = np.array([angular_momentum(*sample) for sample in drawn])
    assert np.abs(moments.mean(axis=0)).max() < 0.06 * np.linalg.norm(moments[0])
    # Uniform in time: the mean bond length is the orbit's time average, by direct integration.
    atoms = Atoms("H2", positions=drawn[0][0], masses=[MASS, MASS])
    atoms.set_velocities(drawn[0][1] / units.fs)
    lengths = []
    for step in velocity_verlet(atoms, MorseSurface(), 0.05):
        lengths.append(np.linalg.norm(step.positions[1] - step.positions[0]))
        if step.index == 3000:
            break
    assert r.mean() == pytest.approx(np.mean(lengths), abs=0.004)
    assert r.std() == pytest.approx(np.std(lengths), abs=0.004)


@pytest.mark.physics
@pytest.mark.parametrize("state", [(0, 1), (1, 1)])
def test_free_flight_conserves_energy_and_angular_momentum(state):
    """To 1e-4 relative over 75 fs at 0.025 fs, while the molecule flies on."""
    calculator = MorseSurface()
    curve = diatomic_curve("H2", calculator)
    level = bound_level(curve, *state)
    positions, velocities = sample_molecule(curve, level, np.random.default_rng(11))
    atoms = Atoms("H2", positions=positions, masses=[MASS, MASS])
    atoms.set_velocities((velocities + np.array([0.01, -0.02, -0.05])) / units.fs)
    internal, moments = [], []
    for step in velocity_verlet(atoms, calculator, 0.025):
        centred = step.positions - step.positions.mean(axis=0)
        relative = step.velocities - step.velocities.mean(axis=0)
        kinetic = 0.5 * MASS / ACCELERATION * np.sum(relative**2)
        internal.append(step.energy + kinetic)
        moments.append(np.linalg.norm(angular_momentum(centred, relative)))
        if step.index == 3000:
            break
    above_bottom = level.energy - curve.energies.min()
    assert np.ptp(internal) < 1e-4 * abs(level.energy)
    assert abs(np.mean(internal) - level.energy) < 1e-3 * above_bottom
    assert np.ptp(moments) < 1e-4 * moments[0]
