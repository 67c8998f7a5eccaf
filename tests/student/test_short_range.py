"""Students below the nearest distance of their data: looked at, told, and given a core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from helpers import rattled_copper

from distill.config import SolverConfig, StudentConfig
from distill.core.results import read_result
from distill.data.structures import set_labels, write_structures
from distill.student import short_range, student_stage
from distill.student.fit.native_fit import fit
from distill.student.short_range import PairCurve, PairCurves
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

CONFIG = StudentConfig(
    order=2, totaldegree=[10.0, 6.0], rcut=5.5, smoothness=2, backend="native", threads=1
)


def rock_salt(symbols: str = "CuAu", a: float = 5.2, count: int = 6) -> list[Atoms]:
    """Like atoms are never nearer than 0.7 a, so that nothing is known of them short of that."""
    found = []
    for seed in range(count):
        crystal = bulk(symbols, "rocksalt", a=a * (1 + 0.01 * (seed - 2)), cubic=True)
        crystal.rattle(0.05, seed=seed)
        crystal.calc = EMT()
        energy, forces = crystal.get_potential_energy(), crystal.get_forces()
        crystal.calc = None
        found.append(set_labels(crystal, energy=energy, forces=forces))
    return found


def energies(student: Student, first: str, second: str) -> np.ndarray:
    """Of a pair relative to its atoms from 0.3 Å to 1 Å, eV."""
    free = student.e0[first] + student.e0[second]
    pairs = [short_range.dimer(first, second, r) for r in np.linspace(0.3, 1.0, 15)]
    return np.array([student.evaluate(pair).energies.sum() - free for pair in pairs])


@pytest.mark.parametrize(
    "changes",
    [{}, {"solver": SolverConfig(kind="qr", strength=1e-3)}, {"order": 1, "totaldegree": 14.0}],
)
def test_a_student_that_attracts_where_it_has_no_data_is_given_a_core(changes, capsys) -> None:
    config = StudentConfig(**{**CONFIG.model_dump(), **changes})
    plain = fit(rock_salt(), config.model_copy(update={"zbl": False}), seed=1)
    assert plain.curves.problems
    assert not plain.student.basis.spec.zbl
    assert "WARNING" in capsys.readouterr().out
    mended = fit(rock_salt(), config, seed=1)
    printed = capsys.readouterr().out
    assert "attracts each other below" in printed
    assert "ZBL core" in printed
    assert "WARNING" not in printed
    assert mended.student.basis.spec.zbl
    assert "ZBL core, because" in mended.student.training.short_range
    for pair in (("Cu", "Cu"), ("Au", "Au"), ("Au", "Cu")):
        curve = energies(mended.student, *pair)
        assert (np.diff(curve) < 0).all()
        assert curve.min() > 0


def test_light_atoms_repel_although_their_core_is_soft() -> None:
    """ZBL of H2 is 15 eV at 0.3 Å, the student's own attraction can be hundreds."""
    hydride = rock_salt("NiH", a=4.0)
    config = CONFIG.model_copy(update={"order": 3, "totaldegree": [12.0, 10.0, 8.0]})
    plain = fit(hydride, config.model_copy(update={"zbl": False}), seed=1)
    assert "H-H" in plain.curves.problems
    found = fit(hydride, config, seed=1)
    assert not found.curves.problems
    assert energies(found.student, "H", "H").min() > -0.5


def test_a_student_that_repels_is_left_as_it_is() -> None:
    copper = rattled_copper(8)
    auto, plain = (
        fit(copper, CONFIG.model_copy(update={"zbl": z}), seed=1) for z in ("auto", False)
    )
    assert auto.student.training.short_range == "repulsive"
    np.testing.assert_array_equal(auto.student.coefficients, plain.student.coefficients)


def test_the_restraint_costs_the_labels_little_and_blinds_no_grade() -> None:
    structures = rock_salt(count=12)
    found, plain = (
        fit(structures, CONFIG.model_copy(update={"zbl": z}), seed=1).student
        for z in ("auto", False)
    )
    errors = [
        np.sqrt(
            np.mean([np.mean((s.predict(a)[1] - a.arrays["REF_forces"]) ** 2) for a in structures])
        )
        for s in (found, plain)
    ]
    assert errors[0] < errors[1] + 0.02
    near = short_range.dimer("Cu", "Cu", 0.5)
    assert UncertaintyModel(found).predict(near)[1].grade.min() > 20


def test_nearest_distances_are_those_of_any_neighbour_list() -> None:
    structures = [*rock_salt(count=2), Atoms("CuAu", [[0, 0, 0], [0, 0, 2.0]]), Atoms("Ag")]
    found = short_range.nearest_distances(structures, ["Ag", "Au", "Cu"], 5.0)
    expected = dict.fromkeys(found, 5.0)
    for atoms in structures:
        for i, j, distance in zip(*neighbor_list("ijd", atoms, 5.0), strict=True):
            name = "-".join(sorted(atoms.symbols[[i, j]]))
            expected[name] = min(expected[name], distance)
    assert found == pytest.approx(expected)
    assert found["Ag-Cu"] == 5.0
    assert found["Au-Cu"] == 2.0


@pytest.mark.parametrize(
    ("potential", "nearest", "words"),
    [
        (lambda r: 100 / r**2, 2.5, ""),
        (lambda r: -100 / r**2, 2.5, "attracts each other below 1.9"),
        # A well of a real molecule, and attraction where the data answer for it.
        (lambda r: 400 * np.exp(-3 * r) - 30 * np.exp(-1.2 * r), 2.5, ""),
        (lambda r: 100 * (r - 1) ** 2, 1.0, ""),
        (lambda r: 100 * (r - 1) ** 2, 2.5, "attracts each other below 1.9"),
        (lambda r: 4000 * np.exp(-3 * r) - 30 * np.exp(-2 * (r - 2.2) ** 2), 2.5, "is bound by 2"),
        # Falls again inside the wall.
        (lambda r: 100 / r - 40 / r**2, 2.5, "attracts each other below 0.7"),
    ],
)
def test_what_is_unphysical_about_a_curve(potential, nearest, words) -> None:
    distances = np.geomspace(0.3, 6.0, 100)
    overlap = min(nearest, 0.75 * 2 * 1.32)
    found = short_range._problem(distances, potential(distances), overlap, nearest)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_the_stage_keeps_the_curves_and_resumes_both_fits(tmp_path: Path, capsys) -> None:
    file = tmp_path / "train.xyz"
    write_structures(file, rock_salt())
    student_stage.run(CONFIG, train=file, test=file, out=tmp_path, seed=1)
    found = read_result(tmp_path / "pair_curves.json", PairCurves)
    assert set(found.pairs) == {"Au-Au", "Au-Cu", "Cu-Cu"}
    assert "attracts each other" in found.remedy
    curve: PairCurve = found.pairs["Cu-Cu"]
    assert curve.distances[0] == pytest.approx(0.3)
    assert curve.distances[-1] == pytest.approx(6.0)
    capsys.readouterr()
    student_stage.run(CONFIG, train=file, test=file, out=tmp_path, seed=1)
    assert capsys.readouterr().out.count("already assembled") == 2
