"""Radial distribution: normalisation, coordination, noise floor, checks, wiring of the options."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.io import write
from observable_tests import HARMLESS_TO_RUNS, INPUTS_OF_RUNS, ObservableContract
from pydantic import ValidationError
from spring_toys import chain

from distill.config import CalculatorConfig
from distill.core.errors import UserError
from distill.core.results import read_result, write_result
from distill.core.work import WorkFolder
from distill.observables.base import STUDENT, TEACHER
from distill.observables.rdf.config import RdfConfig
from distill.observables.rdf.observable import RadialDistribution, RdfTolerances
from distill.observables.rdf.pair_distances import (
    coordination_within,
    distance_counts,
    first_minimum,
    pairs_of,
    radial_distribution,
)
from distill.observables.rdf.rdf import checked_pairs
from distill.observables.rdf.result import RdfResult
from distill.simulation.trajectory import trajectory_units

SPRINGS, STIFF, RUNAWAY = (
    f"spring_toys:{name}" for name in ("Springs", "stiff_springs", "runaway")
)


def coordination(atoms: Atoms, radius: float, pair: tuple[str, str], bins: int = 400) -> float:
    edges = np.linspace(0, 6.0, bins + 1)
    counts = distance_counts(atoms, atoms.positions[None], [pair], edges)[0, 0]
    symbols = atoms.get_chemical_symbols()
    return float(coordination_within(counts, edges, symbols.count(pair[0]), radius))


@pytest.mark.parametrize(
    ("atoms", "pair", "shells"),
    [
        (bulk("Cu", a=3.6), ("Cu", "Cu"), [(3.0, 12), (4.0, 18), (4.7, 42), (5.6, 54)]),
        (bulk("Fe", a=2.87), ("Fe", "Fe"), [(2.7, 8), (3.3, 14), (4.4, 26)]),
        (bulk("LiF", "rocksalt", a=4.03), ("Li", "F"), [(2.5, 6), (3.9, 14)]),
        (bulk("LiF", "rocksalt", a=4.03), ("Li", "Li"), [(2.5, 0), (3.5, 12)]),
    ],
)
@pytest.mark.parametrize("repeats", [1, 2])
def test_neighbours_of_a_crystal_are_counted_shell_by_shell(atoms, pair, shells, repeats):
    # The primitive cell's neighbours are images of the atom itself.
    for radius, expected in shells:
        assert coordination(atoms.repeat(repeats), radius, pair) == pytest.approx(expected)


def test_counts_agree_with_all_images_written_out():
    generator = np.random.default_rng(0)
    cell = [[4.0, 0, 0], [1.0, 3.5, 0], [0.5, -1.0, 5.0]]
    atoms = Atoms("Li2F3", cell=cell, pbc=True)
    atoms.positions = 20 * generator.normal(size=(5, 3))
    edges = np.linspace(0, 6.0, 61)
    pairs = pairs_of(atoms.get_chemical_symbols())
    assert pairs == [("Li", "Li"), ("Li", "F"), ("F", "F")]
    found = distance_counts(atoms, atoms.positions[None], pairs, edges)[0]
    steps = np.arange(-4, 5)
    shifts = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) @ np.array(cell)
    wrapped = atoms.get_positions(wrap=True)
    symbols = np.array(atoms.get_chemical_symbols())
    for counts, (first, second) in zip(found, pairs, strict=True):
        vectors = wrapped[symbols == second][None] - wrapped[symbols == first][:, None]
        distances = np.linalg.norm(vectors[:, :, None] + shifts, axis=-1).ravel()
        np.testing.assert_array_equal(counts, np.histogram(distances[distances > 0], edges)[0])


def test_an_ideal_gas_has_no_structure_even_beyond_half_the_cell():
    generator = np.random.default_rng(1)
    atoms = Atoms("Ar40Kr60", cell=[[9.0, 0, 0], [3.0, 9.0, 0], [0, 2.0, 9.0]], pbc=True)
    edges = np.linspace(0, 8.0, 17)
    frames = generator.random((100, 100, 3)) @ atoms.cell.array
    pairs = [("Ar", "Kr"), ("Ar", "Ar")]
    counts = distance_counts(atoms, frames, pairs, edges)
    # Counts scatter as Poisson's do; those of like atoms come in twos.
    scatter = 4 / np.sqrt(counts.sum(axis=0)) * np.sqrt([[1.0], [2.0]])
    mean, volume = counts.mean(axis=0), atoms.get_volume()
    unlike = radial_distribution(mean[0], edges, 40, 60, volume)
    assert np.all(np.abs(unlike - 1) < scatter[0])
    # An atom is not its own neighbour within the shortest lattice vector, 9 Å.
    like = radial_distribution(mean[1], edges, 40, 40, volume)
    assert np.all(np.abs(like - (1 - 1 / 40)) < scatter[1])


def test_the_first_minimum_lies_between_the_first_two_shells():
    edges = np.linspace(0, 6.0, 121)
    atoms = bulk("Cu", a=3.6, cubic=True).repeat(3)
    generator = np.random.default_rng(2)
    frames = atoms.positions + generator.normal(scale=0.08, size=(5, len(atoms), 3))
    counts = distance_counts(atoms, frames, [("Cu", "Cu")], edges)[:, 0].mean(axis=0)
    count = len(atoms)
    g = radial_distribution(counts, edges, count, count, atoms.get_volume())
    assert first_minimum(g, edges) == pytest.approx((2.546 + 3.6) / 2, abs=0.15)
    assert first_minimum(np.zeros(120), edges) == 6.0
    assert first_minimum(np.where(np.arange(120) > 60, 1.5, 0.0), edges) == 6.0


def other_ring(folder: Path) -> str:
    """A file of another ring."""
    write(folder / "other.xyz", chain("LiFLiF"), format="extxyz")
    return str(folder / "other.xyz")


class TestContract(ObservableContract):
    observable = RadialDistribution
    models: ClassVar = {TEACHER: SPRINGS, STUDENT: STIFF}
    other = CalculatorConfig(path=SPRINGS, args={"stiffness": 9.0})
    harmless: ClassVar = HARMLESS_TO_RUNS | {
        "pairs": None,
        "r_max": 4.0,
        "bins": 40,
        "coordination_radii": {},
        "confidence": 0.9,
    }
    inputs: ClassVar = INPUTS_OF_RUNS | {"structure": other_ring}

    @classmethod
    def config(cls, folder: Path) -> RdfConfig:
        write(folder / "ring.xyz", chain("LiFLiFLiFLiF"), format="extxyz")
        return RdfConfig(
            structure=str(folder / "ring.xyz"),
            pairs=["Li-F"],
            r_max=5.0,
            bins=50,
            coordination_radii={"Li-F": 2.0},
            runs=2,
            time=800.0,
            equilibration_time=100.0,
            time_step=2.0,
            friction=0.05,
            save_every=10.0,
        )


@pytest.fixture
def ring(tmp_path) -> Path:
    """A file with a ring of eight atoms."""
    path = tmp_path / "ring.xyz"
    write(path, chain("LiFLiFLiFLiF"), format="extxyz")
    return path


@pytest.fixture
def options(ring) -> dict:
    """Runs of a moment."""
    return {
        "structure": str(ring),
        "temperatures": [300.0],
        "runs": 3,
        "time": 800.0,
        "equilibration_time": 100.0,
        "time_step": 2.0,
        "friction": 0.05,
        "save_every": 10.0,
        "r_max": 5.0,
        "bins": 50,
    }


def result_of(options: dict, models: dict[str, str], out: Path, seed: int = 1) -> RdfResult:
    return RadialDistribution().run(RdfConfig(**options), models, WorkFolder(out, seed))


def test_one_model_twice_has_the_same_runs_and_passes_the_narrowest_bound(options, tmp_path):
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: SPRINGS}, tmp_path / "out")
    [entry] = result.temperatures
    assert list(entry.differences) == [STUDENT]
    assert set(entry.radii) == {"Li-Li", "Li-F", "F-F"}
    for difference in entry.differences[STUDENT].values():
        assert difference.divergence == pytest.approx(0, abs=1e-12)
        assert difference.excess_interval == pytest.approx((0, 0), abs=1e-12)
        assert difference.coordination_interval == pytest.approx((0, 0), abs=1e-12)
    bounds = RdfTolerances(rdf=1e-9, coordination=1e-9)
    checks = RadialDistribution().checks(result, bounds)
    assert len(checks) == 6 and all(check.passed for check in checks)


@pytest.mark.physics
def test_intervals_of_runs_with_other_random_numbers_overlap(options, tmp_path):
    options = options | {"runs": 4, "coordination_radii": {"Li-F": 2.0}}
    curves = []
    for seed in (1, 2):
        result = result_of(options, {TEACHER: SPRINGS}, tmp_path / str(seed), seed)
        curves.append(result.temperatures[0].models[TEACHER].pairs["Li-F"])
    first, second = curves
    assert first.coordination != second.coordination
    assert first.coordination_interval[0] <= second.coordination_interval[1]
    assert second.coordination_interval[0] <= first.coordination_interval[1]
    one, other = np.array(first.g_interval), np.array(second.g_interval)
    overlapping = (one[:, 0] <= other[:, 1]) & (other[:, 0] <= one[:, 1])
    assert overlapping.mean() > 0.9


@pytest.mark.physics
def test_a_wrong_student_is_found_out(options, tmp_path):
    options = options | {"runs": 4, "time": 2000.0}
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: STIFF}, tmp_path / "out")
    difference = result.temperatures[0].differences[STUDENT]["Li-F"]
    assert difference.excess_interval[0] > 0
    assert 0 < difference.noise_floor < difference.divergence
    [check] = [
        check
        for check in RadialDistribution().checks(result, RdfTolerances(rdf=1e-5))
        if "Li-F" in check.name
    ]
    assert not check.passed and check.sense == "at most"
    loose = RadialDistribution().checks(result, RdfTolerances(rdf=0.5))
    assert all(check.passed for check in loose)


def test_an_interval_beyond_the_bound_fails_and_asks_for_longer_runs(options, tmp_path):
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: STIFF}, tmp_path / "out")
    difference = result.temperatures[0].differences[STUDENT]["Li-F"]
    bound = 0.5 * (difference.excess + difference.excess_interval[1])
    checks = RadialDistribution().checks(result, RdfTolerances(rdf=bound))
    [check] = [check for check in checks if "Li-F" in check.name]
    assert not check.passed and "longer or more runs" in check.comment


def test_rows_figure_and_card_say_what_the_result_does(options, tmp_path):
    observable = RadialDistribution()
    models = {"reference": SPRINGS, TEACHER: SPRINGS, STUDENT: STIFF}
    result = result_of(options, models, tmp_path / "out")
    assert result.baseline == TEACHER
    rows = observable.rows(result)
    assert len(rows["rdf"]) == 3 * 3 * 50
    assert len(rows["rdf_coordination"]) == 3 * 3
    [row] = [
        row for row in rows["rdf_coordination"] if (row["model"], row["pair"]) == (STUDENT, "Li-F")
    ]
    difference = result.temperatures[0].differences[STUDENT]["Li-F"]
    assert row["excess"] == pytest.approx(row["divergence"] - row["noise_floor"])
    assert row["difference"] == difference.coordination
    assert set(observable.draw(result)) == {"rdf"}
    [card] = observable.cards(result)
    assert card.value == max(d.excess for d in result.temperatures[0].differences[STUDENT].values())
    write_result(tmp_path / "rdf.json", result)
    assert read_result(tmp_path / "rdf.json", RdfResult) == result


def test_a_model_that_blows_up_fails_its_checks_with_the_reason(options, tmp_path, capsys):
    result = result_of(options, {TEACHER: SPRINGS, STUDENT: RUNAWAY}, tmp_path / "out")
    assert result.temperatures[0].models[STUDENT] is None
    assert "left out: temperature of" in capsys.readouterr().out
    [check] = RadialDistribution().checks(result, RdfTolerances(rdf=0.1))
    assert not check.passed and "two runs are good" in check.comment
    with pytest.raises(UserError, match="no model has two good runs"):
        result_of(options, {TEACHER: RUNAWAY}, tmp_path / "other")


def test_a_bound_without_both_models_is_refused(options, tmp_path):
    result = result_of(options, {TEACHER: SPRINGS}, tmp_path / "out")
    with pytest.raises(UserError, match=r"tolerances\.coordination"):
        RadialDistribution().checks(result, RdfTolerances(coordination=0.1))


def test_slabs_and_pairs_that_are_not_there_are_refused(options, tmp_path):
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    with pytest.raises(UserError, match=r"pbc is \[True, True, False\].*vacuum"):
        checked_pairs(RdfConfig(structure="slab.xyz"), slab)
    refuse = RadialDistribution().refuse
    for changed, message in (
        ({"pairs": ["Li-Cu"]}, "holds no Cu, but Li, F"),
        ({"pairs": ["Li-F"], "coordination_radii": {"F-F": 2.0}}, "'F-F' is none of the pairs"),
        ({"coordination_radii": {"Li-F": 7.0}}, "at most r_max"),
        ({"structure": "nowhere.xyz"}, "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            refuse(RdfConfig(**options | changed), RdfTolerances())
    refuse(RdfConfig(**options), RdfTolerances())
    with pytest.raises(ValidationError, match="no pair of elements"):
        RdfConfig(**options, pairs=["LiF"])


CHANGED_UNITS = {
    "structure": None,
    "index": 1,
    "supercell": (2, 1, 1),
    "temperatures": [200.0],
    "runs": 2,
    "time": 500.0,
    "equilibration_time": 50.0,
    "time_step": 1.0,
    "friction": 0.02,
    "save_every": 20.0,
    "max_temperature": 5000.0,
}
CHANGED_RESULT = {
    "pairs": ["F-Li"],
    "r_max": 4.0,
    "bins": 40,
    "coordination_radii": {"Li-F": 2.1},
    "confidence": 0.5,
}


# Of the engine, tried in the contract and with multiple time steps.
ENGINE = {"engine", "multiple_time_steps"}


def test_every_option_is_tried_below():
    assert {*CHANGED_UNITS, *CHANGED_RESULT, *ENGINE} == set(RdfConfig.model_fields)


@pytest.mark.parametrize("name", CHANGED_UNITS)
def test_options_of_the_dynamics_make_other_runs(name, options, ring):
    write(ring, [chain("LiF" * 4), chain("Li8")], format="extxyz")
    value = CHANGED_UNITS[name]
    if name == "structure":
        value = str(ring.with_name("other.xyz"))
        write(value, chain("LiF" * 3), format="extxyz")

    def keys(changed: dict) -> set[str]:
        units = trajectory_units(
            RdfConfig(**options | changed),
            {TEACHER: SPRINGS},
            WorkFolder(Path("out")),
            ensemble="nvt",
            quantity="positions",
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
