"""Gates: what each one measures of models that pass and of one that fails."""

from __future__ import annotations

import itertools
from typing import ClassVar

import gate_toys
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from helpers import rattled_copper
from observable_tests import ObservableContract

from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.data.structures import write_structures
from distill.models.config import CalculatorConfig
from distill.observables.base import REFERENCE
from distill.observables.gates.config import GatesConfig, GateTolerances
from distill.observables.gates.force_checks import (
    curl,
    extensivity,
    gradient_residual,
    largest_jump,
)
from distill.observables.gates.observable import Gates
from distill.student.fit.native_fit import fit


def toy(name):
    return CalculatorConfig(path=f"gate_toys:{name}")


def clusters(count=3):
    """Cubes of eight atoms, a little displaced."""
    rng = np.random.default_rng(4)
    corners = 3.0 * np.array(list(itertools.product((0, 1), repeat=3)))
    structures = [Atoms("Ar8", positions=corners) for _ in range(count)]
    for atoms in structures:
        atoms.rattle(0.05, rng=rng)
    return structures


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gates") / "clusters.xyz"
    write_structures(path, clusters())
    return str(path)


def gates(file, folder, model="Changed", **options):
    config = GatesConfig(
        structures=file,
        **{"time": 50.0, "time_step": 2.0, "temperature": 40.0, "runs": 2, "probes": 2, **options},
    )
    models = {"teacher": toy("Changed"), "student": toy(model)}
    return Gates().run(config, models, WorkFolder(folder, seed=1))


def failed(result):
    return {c.tolerance for c in Gates().checks(result, GateTolerances()) if not c.passed}


def other_clusters(folder):
    write_structures(folder / "other.xyz", clusters(3)[1:])
    return str(folder / "other.xyz")


class TestContract(ObservableContract):
    observable = Gates
    models: ClassVar = {"teacher": toy("Changed"), "student": toy("Changed")}
    other = toy("NotExtensive")
    harmless: ClassVar = {"runs": 3}
    inputs: ClassVar = {
        "structures": other_clusters,
        "temperature": 50.0,
        "time": 40.0,
        "time_step": 1.0,
        "friction": 0.02,
        "probes": 2,
    }

    @classmethod
    def config(cls, folder):
        write_structures(folder / "clusters.xyz", clusters(2))
        return GatesConfig(
            structures=str(folder / "clusters.xyz"),
            runs=2,
            time=30.0,
            time_step=2.0,
            temperature=40.0,
            probes=1,
        )


def test_a_potential_passes_every_gate_by_default(file, tmp_path):
    result = gates(file, tmp_path, time=1000.0)
    assert failed(result) == set()
    checks = Gates().checks(result, GateTolerances())
    assert {check.tolerance for check in checks} == set(GateTolerances.model_fields)
    assert {check.question for check in checks} == {"sound"}
    assert result.shortest == 1.0


@pytest.mark.parametrize(
    ("model", "gate"),
    [
        ("NotExtensive", "extensivity"),
        ("Direct", "gradient"),
        ("OtherEnergy", "gradient"),
        ("Pushed", "momentum_drift"),
        ("Sharp", "smoothness"),
        ("Exploding", "lost_time"),
    ],
)
def test_each_fault_fails_its_gate(file, tmp_path, model, gate):
    assert gate in failed(gates(file, tmp_path, model))


def test_what_was_not_measured_fails_where_it_has_a_bar(file, tmp_path):
    result = gates(file, tmp_path, "Exploding")
    assert result.energy_drift is None
    (check,) = [
        c for c in Gates().checks(result, GateTolerances()) if c.tolerance == "energy_drift"
    ]
    assert check.value is None and not check.passed and "ended early" in check.comment


def test_a_teacher_whose_forces_are_no_gradient_is_recognised(file, tmp_path):
    config = GatesConfig(structures=file, time=20.0, time_step=2.0, runs=2, probes=4)
    models = {"teacher": toy("Direct"), "student": toy("Changed")}
    result = Gates().run(config, models, WorkFolder(tmp_path, seed=1))
    rows = {row["model"]: row["forces_are"] for row in Gates().rows(result)["gates_forces"]}
    assert rows == {"teacher": "no gradient", "student": "a gradient"}
    (card,) = Gates().cards(result)
    assert card.value == pytest.approx(1000 * result.forces["teacher"].gradient_residual)
    models = {"teacher": toy("OtherEnergy"), "student": toy("Changed")}
    other = Gates().run(config, models, WorkFolder(tmp_path / "other", seed=1))
    # They are one of another energy, so that a student can follow them.
    assert Gates().cards(other) == []


def test_the_reference_is_not_asked(file, tmp_path):
    config = GatesConfig(structures=file, time=20.0, time_step=2.0, runs=2, probes=1)
    models = {REFERENCE: toy("Missing"), "teacher": toy("Changed"), "student": toy("Changed")}
    result = Gates().run(config, models, WorkFolder(tmp_path, seed=1))
    assert set(result.forces) == {"teacher", "student"}


@pytest.mark.filterwarnings("ignore::distill.student.uncertainty.grading.ExtrapolationWarning")
def test_what_the_watch_saw_of_the_runs_is_counted(tmp_path):
    """The student knows crystals that are hardly displaced, and is run far too hot."""
    config = StudentConfig(order=2, totaldegree=5.0, rcut=4.0, backend="native", threads=1)
    student = fit(rattled_copper(8, amplitude=0.02), config, seed=0).student
    student.save(tmp_path / "student.npz")
    write_structures(tmp_path / "copper.xyz", rattled_copper(2, amplitude=0.02))
    options = GatesConfig(
        structures=str(tmp_path / "copper.xyz"), runs=2, time=300.0, temperature=600.0, probes=1
    )
    models = {"student": str(tmp_path / "student.npz")}
    result = Gates().run(options, models, WorkFolder(tmp_path / "work", seed=1))
    # The first evaluation of each of six runs, and one in 200 later ones.
    assert 6 <= result.looks <= 12
    assert 0 < result.outside <= result.looks
    notes = [row["note"] for row in Gates().rows(result)["gates"]]
    assert f"{result.outside} of {result.looks}" in notes


def test_runs_need_structures():
    with pytest.raises(UserError, match=r"gates\.structures: expected a file"):
        Gates().run(GatesConfig(), {"student": toy("Changed")}, WorkFolder("unused"))


class TestForceChecks:
    """Against what is known of a potential."""

    def test_the_residual_is_the_root_mean_square_of_what_is_wrong(self):
        structures = clusters(3)
        generator = np.random.default_rng(0)
        right = gradient_residual(gate_toys.Changed(), structures, 4, generator)
        assert right < 1e-4

        def forces(calculator):
            return np.concatenate([calculator.get_forces(atoms) for atoms in structures])

        wrong = gate_toys.OtherEnergy()
        expected = 0.2 * np.sqrt(np.mean(forces(wrong) ** 2))
        found = gradient_residual(wrong, structures, 300, generator)
        assert found == pytest.approx(expected, rel=0.15)

    def test_the_curl_sees_forces_that_no_energy_has(self):
        structures = clusters(2)
        generator = np.random.default_rng(0)
        sizes = [
            curl(kind(), structures, 6, generator)
            for kind in (gate_toys.Changed, gate_toys.OtherEnergy, gate_toys.Direct)
        ]
        assert sizes[0] < 0.01 and sizes[1] < 0.01 and sizes[2] > 0.03

    def test_energies_are_extensive_in_and_out_of_cells(self):
        crystal, cluster = bulk("Cu", cubic=True), clusters(1)[0]
        assert extensivity(EMT(), crystal) == pytest.approx(0, abs=1e-9)
        assert extensivity(gate_toys.Changed(), cluster) == pytest.approx(0, abs=1e-9)
        # (2 n)² - 2 n² = 2 n² for 2 n atoms.
        found = extensivity(gate_toys.NotExtensive(), cluster)
        assert found == pytest.approx(1e-4 * len(cluster))

    def test_a_sharp_end_is_a_jump_of_the_force_there(self):
        dimer = Atoms("Ar2", positions=[[0, 0, 0], [gate_toys.CUTOFF, 0, 0]])
        smooth, sharp = (
            max(largest_jump(kind(), dimer, np.random.default_rng(seed)) for seed in range(3))
            for kind in (gate_toys.Changed, gate_toys.Sharp)
        )
        falling = np.exp(-gate_toys.WIDTH * (gate_toys.CUTOFF - gate_toys.LENGTH))
        force = 2 * gate_toys.DEPTH * gate_toys.WIDTH * (falling - falling**2)
        assert smooth < 1e-4
        # A component of the force is seen, and nearly all of it in one of the directions.
        assert 0.5 * force < sharp <= 1.01 * force

    def test_a_steep_core_is_no_jump(self):
        """Though the force bends along the way: second differences are a hundred times these."""
        dimer = Atoms("Ar2", positions=[[0, 0, 0], [1.5, 0, 0]])
        jumps = [
            largest_jump(gate_toys.Steep(), dimer, np.random.default_rng(seed)) for seed in range(5)
        ]
        assert max(jumps) < 1e-3
