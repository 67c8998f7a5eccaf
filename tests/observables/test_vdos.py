"""Vibrational density of states: known frequencies, normalisation, intervals, checks, wiring."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write
from ase.units import fs
from observable_tests import HARMLESS_TO_RUNS, INPUTS_OF_RUNS, ObservableContract
from pydantic import ValidationError
from spring_toys import Springs, chain

from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.core.results import read_result, write_result
from distill.core.work import WorkFolder
from distill.metrics.divergence import bhattacharyya_overlap
from distill.metrics.jackknife import jackknife
from distill.observables.base import STUDENT, TEACHER
from distill.observables.vdos.config import FS_THZ, VdosConfig
from distill.observables.vdos.observable import VdosTolerances, VibrationalDensityOfStates
from distill.observables.vdos.result import VdosResult
from distill.observables.vdos.spectra import (
    density_of_states,
    mean_frequency,
    power_spectra,
    without_drift,
)
from distill.observables.vdos.vdos import degrees_of_freedom, require_vibrations
from distill.simulation.trajectory import trajectory_units

SPRINGS, STIFF, RUNAWAY = (
    f"spring_toys:{name}" for name in ("Springs", "stiff_springs", "runaway")
)
BOND, EMT_PATH = "spring_toys:Bond", "ase.calculators.emt:EMT"


def normal_frequencies(atoms: Atoms, shift: float = 1e-4) -> np.ndarray:
    """Frequencies of all modes of a cell with a calculator by finite differences of forces, THz."""
    hessian = []
    for atom in range(len(atoms)):
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.calc = atoms.calc
                moved.positions[atom, axis] += sign * shift
                forces.append(moved.get_forces(apply_constraint=False).ravel())
            hessian.append((forces[1] - forces[0]) / (2 * shift))
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    dynamical = np.array(hessian) / np.outer(root, root)
    squared = np.linalg.eigvalsh(0.5 * (dynamical + dynamical.T))
    return np.sqrt(np.abs(squared)) * fs * FS_THZ / (2 * np.pi)


def test_the_spectrum_is_the_transform_of_the_autocorrelation():
    generator = np.random.default_rng(0)
    velocities = generator.normal(size=(64, 2, 3))
    masses, interval = np.array([1.0, 4.0]), 2.0
    frequencies, spectra = power_spectra(velocities, masses, interval, 64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    for atom in range(2):
        weighted = velocities[:, atom] * window[:, None]
        lags = np.arange(-63, 64)
        correlation = np.array(
            [np.sum(weighted[: 64 - abs(lag)] * weighted[abs(lag) :]) for lag in lags]
        )
        transform = (
            np.cos(2 * np.pi * np.outer(frequencies / FS_THZ, lags * interval)) @ correlation
        )
        expected = 2 * masses[atom] * transform * interval / FS_THZ / np.sum(window**2)
        # The ends of a one-sided spectrum stand for themselves alone.
        expected[[0, -1]] /= 2
        np.testing.assert_allclose(spectra[atom], expected, rtol=1e-9)


def test_the_spectrum_integrates_to_twice_the_kinetic_energy():
    generator = np.random.default_rng(1)
    velocities = generator.normal(size=(40_000, 2, 3))
    masses = np.array([2.0, 5.0])
    frequencies, spectra = power_spectra(velocities, masses, 1.0, 100)
    energies = masses * np.mean(np.sum(velocities**2, axis=2), axis=0)
    np.testing.assert_allclose(spectra.sum(axis=1) * frequencies[1], energies, rtol=0.02)
    density = density_of_states(spectra, frequencies[1], 6)
    assert density.sum() * frequencies[1] == pytest.approx(6)


def test_a_sum_of_waves_has_their_mean_frequency():
    times = np.arange(4000) * 2.0
    velocities = np.zeros((4000, 1, 3))
    for axis, frequency in enumerate((5.0, 10.0, 30.0)):
        velocities[:, 0, axis] = np.cos(2 * np.pi * frequency * times / FS_THZ + axis)
    frequencies, spectra = power_spectra(velocities, np.ones(1), 2.0, 1000)
    assert mean_frequency(spectra[0], frequencies) == pytest.approx(15.0, rel=1e-3)
    assert set(frequencies[np.argsort(spectra[0])[-3:]]) == {5.0, 10.0, 30.0}


def test_the_motion_as_a_whole_is_taken_out():
    generator = np.random.default_rng(2)
    masses = np.array([1.0, 3.0, 5.0])
    velocities = without_drift(generator.normal(size=(4, 3, 3)), masses)
    np.testing.assert_allclose(np.einsum("fic,i->fc", velocities, masses), 0, atol=1e-12)
    atoms = chain("LiFLi")
    assert degrees_of_freedom(atoms) == 6
    atoms.set_constraint(FixAtoms([0]))
    assert degrees_of_freedom(atoms) == 6
    for still in (Atoms("H"), atoms):
        still.set_constraint(FixAtoms(range(len(still))) if len(still) > 1 else [])
        with pytest.raises(UserError, match="nothing in it can vibrate"):
            require_vibrations(still)


def noisy_spectra(generator, density, runs):
    """Spectra of runs: each frequency scatters as the mean of four squared normal numbers."""
    return density * generator.chisquare(4, size=(runs, len(density))) / 4


@pytest.mark.parametrize("shift", [0.0, 0.02])
def test_intervals_of_frequencies_and_overlaps_hold_the_truth(shift):
    generator = np.random.default_rng(3)
    frequencies = np.arange(60) * 0.5
    first = np.exp(-0.5 * ((frequencies - 12) / 4) ** 2)
    second = np.exp(-0.5 * ((frequencies - 12 * (1 + shift)) / 4) ** 2)
    truth = mean_frequency(second, frequencies) / mean_frequency(first, frequencies) - 1
    overlap = bhattacharyya_overlap(first, second)
    held, corrected = np.zeros(2), []
    for _ in range(300):
        pair = [noisy_spectra(generator, density, 8) for density in (first, second)]
        ratio = jackknife(
            lambda a, b: mean_frequency(b, frequencies) / mean_frequency(a, frequencies) - 1, *pair
        )
        shared = jackknife(bhattacharyya_overlap, *pair)
        for place, (found, true) in enumerate(((ratio, truth), (shared, overlap))):
            low, high = found.interval(0.95)
            held[place] += low <= true <= high
        corrected.append(shared.corrected)
    assert np.all(held / 300 > 0.92)
    # Without the correction, finite runs of equal models overlap by a hundredth less.
    assert np.mean(corrected) == pytest.approx(overlap, abs=0.002)


def other_ring(folder: Path) -> str:
    """A file of another ring."""
    write(folder / "other.xyz", chain("LiFLiF"), format="extxyz")
    return str(folder / "other.xyz")


class TestContract(ObservableContract):
    observable = VibrationalDensityOfStates
    models: ClassVar = {TEACHER: SPRINGS, STUDENT: STIFF}
    other = CalculatorConfig(path=SPRINGS, args={"stiffness": 9.0})
    harmless: ClassVar = HARMLESS_TO_RUNS | {"resolution": 2.5, "confidence": 0.9}
    inputs: ClassVar = INPUTS_OF_RUNS | {"structure": other_ring}

    @classmethod
    def config(cls, folder: Path) -> VdosConfig:
        write(folder / "ring.xyz", chain("LiFLiFLiFLiF"), format="extxyz")
        return VdosConfig(
            structure=str(folder / "ring.xyz"),
            runs=2,
            time=1000.0,
            equilibration_time=200.0,
            time_step=2.0,
            friction=0.05,
            save_every=4.0,
            resolution=2.0,
        )


@pytest.fixture
def options(tmp_path) -> dict:
    """Runs of a moment of a ring of eight atoms."""
    path = tmp_path / "ring.xyz"
    write(path, chain("LiFLiFLiFLiF"), format="extxyz")
    return {
        "structure": str(path),
        "temperatures": [100.0],
        "runs": 4,
        "time": 1000.0,
        "equilibration_time": 200.0,
        "time_step": 2.0,
        "friction": 0.05,
        "save_every": 4.0,
        "resolution": 2.0,
    }


def result_of(options: dict, models: dict[str, str], out: Path, seed: int = 1) -> VdosResult:
    return VibrationalDensityOfStates().run(VdosConfig(**options), models, WorkFolder(out, seed))


@pytest.mark.physics
def test_a_bond_vibrates_with_its_frequency(options, tmp_path):
    path = tmp_path / "h2.xyz"
    write(path, Atoms("H2", [[0, 0, 0], [0.75, 0, 0]]), format="extxyz")
    dynamics = {"time_step": 0.2, "save_every": 1.0, "temperatures": [2.0], "resolution": 1.0}
    result = result_of(
        options | dynamics | {"structure": str(path)}, {TEACHER: BOND}, tmp_path / "out"
    )
    assert result.degrees_of_freedom == 3
    density = np.array(result.temperatures[0].models[TEACHER].parts["all"].density)
    frequencies = np.array(result.frequencies)
    # √(k/μ)/2π with k = 35 eV/Å² and μ = m/2, as a wave number about 4370 cm⁻¹.
    expected = np.sqrt(2 * 35 / 1.008) * fs * FS_THZ / (2 * np.pi)
    assert frequencies[np.argmax(density * (frequencies > 20))] == pytest.approx(expected, abs=1)
    assert density.sum() * frequencies[1] == pytest.approx(3)


@pytest.mark.physics
def test_a_chain_has_the_frequencies_of_its_waves(options, tmp_path):
    path = tmp_path / "mono.xyz"
    write(path, chain("Li8"), format="extxyz")
    dynamics = {"time": 2000.0, "resolution": 1.0, "runs": 6}
    result = result_of(
        options | dynamics | {"structure": str(path)}, {TEACHER: SPRINGS}, tmp_path / "out"
    )
    # ω = 2 √(k/m) |sin(qa/2)|, three directions each, without the motion as a whole.
    waves = 2 * np.sqrt(5 / 6.94) * np.sin(np.pi * np.arange(1, 8) / 8)
    waves *= fs * FS_THZ / (2 * np.pi)
    atoms = chain("Li8")
    atoms.calc = Springs()
    np.testing.assert_allclose(
        np.sort(np.repeat(waves, 3)), normal_frequencies(atoms)[3:], rtol=1e-3
    )
    part = result.temperatures[0].models[TEACHER].parts["all"]
    low, high = part.mean_frequency_interval
    assert low <= waves.mean() <= high and high - low < 0.25 * waves.mean()
    density, frequencies = np.array(part.density), np.array(result.frequencies)
    inside = (frequencies > waves.min() - 3) & (frequencies < waves.max() + 3)
    assert density[inside].sum() * frequencies[1] == pytest.approx(21, rel=0.01)


@pytest.mark.physics
def test_emt_copper_has_its_finite_difference_phonons(tmp_path):
    copper = bulk("Cu", a=3.59, cubic=True)
    write(tmp_path / "copper.xyz", copper, format="extxyz")
    options = {
        "structure": str(tmp_path / "copper.xyz"),
        "temperatures": [10.0],
        "runs": 3,
        "time": 1000.0,
        "equilibration_time": 400.0,
        "time_step": 5.0,
        "save_every": 10.0,
        "friction": 0.02,
        "resolution": 1.0,
    }
    result = result_of(options, {TEACHER: EMT_PATH}, tmp_path / "out")
    copper.calc = EMT()
    modes = normal_frequencies(copper)[3:]
    density = np.array(result.temperatures[0].models[TEACHER].parts["all"].density)
    frequencies = np.array(result.frequencies)
    for mode, side in ((modes[0], frequencies < 6.8), (modes[-1], frequencies > 6.8)):
        assert frequencies[np.argmax(density * side)] == pytest.approx(mode, abs=0.6)
    near = np.abs(frequencies[:, None] - modes).min(axis=1) < 2.1
    assert density[near].sum() / density.sum() > 0.98


def test_elements_add_up_and_carry_their_degrees_of_freedom(options, tmp_path):
    result = result_of(options | {"runs": 8}, {TEACHER: SPRINGS}, tmp_path / "out")
    parts = result.temperatures[0].models[TEACHER].parts
    assert list(parts) == ["all", "Li", "F"]
    lithium, fluorine = (np.array(parts[symbol].density) for symbol in ("Li", "F"))
    np.testing.assert_allclose(lithium + fluorine, parts["all"].density, rtol=1e-9)
    spacing = result.frequencies[1]
    assert (lithium + fluorine).sum() * spacing == pytest.approx(result.degrees_of_freedom)
    assert result.degrees_of_freedom == 21
    # The light atoms give up most of the motion as a whole.
    assert lithium.sum() * spacing == pytest.approx(12 - 3 * 6.94 / 25.94, rel=0.15)


def test_a_stiffer_student_is_as_much_higher_as_its_springs_say(options, tmp_path):
    observable = VibrationalDensityOfStates()
    models = {TEACHER: SPRINGS, STUDENT: STIFF}
    result = result_of(options | {"runs": 8}, models, tmp_path / "out")
    difference = result.temperatures[0].differences[STUDENT]["all"]
    low, high = difference.mean_frequency_interval
    assert low <= np.sqrt(1.2) - 1 <= high
    # The runs are pairs: alone, each mean frequency is known to a tenth.
    assert high - low < 0.1
    assert difference.overlap < 0.99
    [strict] = observable.checks(result, VdosTolerances(vdos=0.01))
    [loose] = observable.checks(result, VdosTolerances(vdos=0.2))
    assert not strict.passed and loose.passed
    between = VdosTolerances(vdos=0.5 * (difference.mean_frequency + high))
    [check] = observable.checks(result, between)
    assert not check.passed and "longer or more runs" in check.comment


def test_one_model_twice_has_the_same_runs_and_passes_the_narrowest_bound(options, tmp_path):
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: SPRINGS}, tmp_path / "out")
    difference = result.temperatures[0].differences[STUDENT]["all"]
    assert difference.mean_frequency_interval == pytest.approx((0, 0), abs=1e-12)
    assert difference.overlap_interval == pytest.approx((1, 1), abs=1e-12)
    [check] = VibrationalDensityOfStates().checks(result, VdosTolerances(vdos=1e-9))
    assert check.passed


def test_rows_figure_and_card_say_what_the_result_does(options, tmp_path):
    observable = VibrationalDensityOfStates()
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: STIFF}, tmp_path / "out")
    rows = observable.rows(result)
    assert len(rows["vdos"]) == 2 * 3 * len(result.frequencies)
    assert len(rows["vdos_frequencies"]) == 2 * 3
    assert rows["vdos_frequencies"][0]["difference"] is None
    student = next(row for row in rows["vdos_frequencies"] if row["model"] == STUDENT)
    [card] = observable.cards(result)
    assert card.value == pytest.approx(100 * student["difference"])
    assert set(observable.draw(result)) == {"vdos"}
    write_result(tmp_path / "vdos.json", result)
    assert read_result(tmp_path / "vdos.json", VdosResult) == result


def test_models_that_blow_up_and_bounds_without_both_models_fail(options, tmp_path):
    observable = VibrationalDensityOfStates()
    bounds = VdosTolerances(vdos=0.1)
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: RUNAWAY}, tmp_path / "out")
    [check] = observable.checks(result, bounds)
    assert not check.passed and "two runs are good" in check.comment
    with pytest.raises(UserError, match="no model has two good runs"):
        result_of(options, {TEACHER: RUNAWAY}, tmp_path / "other")
    alone = result_of(options, {TEACHER: SPRINGS}, tmp_path / "alone")
    with pytest.raises(UserError, match=r"tolerances\.vdos"):
        observable.checks(alone, bounds)


def test_segments_have_to_fit_into_the_runs(options):
    with pytest.raises(ValidationError, match="raise time or resolution"):
        VdosConfig(**options | {"resolution": 0.1})
    with pytest.raises(ValidationError, match="lower save_every or resolution"):
        VdosConfig(**options | {"resolution": 50.0})


CHANGED_UNITS = {
    "structure": None,
    "index": 1,
    "supercell": (2, 1, 1),
    "temperatures": [200.0],
    "runs": 2,
    "time": 600.0,
    "equilibration_time": 50.0,
    "time_step": 1.0,
    "friction": 0.02,
    "save_every": 8.0,
    "max_temperature": 5000.0,
}
CHANGED_RESULT = {"resolution": 4.0, "confidence": 0.5}


# Of the engine, tried in the contract and with multiple time steps.
ENGINE = {"engine", "multiple_time_steps"}


def test_every_option_is_tried_below():
    assert {*CHANGED_UNITS, *CHANGED_RESULT, *ENGINE} == set(VdosConfig.model_fields)


@pytest.mark.parametrize("name", CHANGED_UNITS)
def test_options_of_the_dynamics_make_other_runs(name, options):
    path = Path(options["structure"])
    write(path, [chain("LiF" * 4), chain("Li8")], format="extxyz")
    value = CHANGED_UNITS[name]
    if name == "structure":
        value = str(path.with_name("other.xyz"))
        write(value, chain("LiF" * 3), format="extxyz")

    def keys(changed: dict) -> set[str]:
        units = trajectory_units(
            VdosConfig(**options | changed),
            {TEACHER: SPRINGS},
            WorkFolder(Path("out")),
            ensemble="nve",
            quantity="velocities",
        )
        return {unit.key for of_model in units.values() for unit in of_model}

    assert keys({}) != keys({name: value})


@pytest.mark.parametrize("name", CHANGED_RESULT)
def test_options_of_the_analysis_change_the_result_and_repeat_no_run(name, options, tmp_path):
    models = {TEACHER: SPRINGS, STUDENT: STIFF}
    first = result_of(options, models, tmp_path)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    second = result_of(options | {name: CHANGED_RESULT[name]}, models, tmp_path)
    assert first.temperatures != second.temperatures
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == made
