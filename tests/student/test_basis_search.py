"""The choice of a basis: nested columns, moments, parts left out, budgets, the fit."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.data.structures import set_labels
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.config import BasisSearch
from distill.student.engine.assembly import design_rows
from distill.student.fit.native_fit import design_of
from distill.student.fit.training_set import rows_of
from distill.student.fit_backends import fit_student
from distill.student.search import search
from distill.student.search.basis_choice import CHOICE_FILE, BasisChoice, Trial
from distill.student.search.candidates import around, of_size, sizes, value_at
from distill.student.search.choosing import chosen_trial, limits_of
from distill.student.search.left_out import Fits, Judge, labelled
from distill.student.search.moments import moments_of
from distill.student.search.nested import columns_in, size_of, union_basis
from distill.student.search.parts import FOLDS, parted


@pytest.fixture(scope="module")
def copper():
    """Eighteen cells of four atoms: six trajectories of three frames, of two kinds."""
    structures = []
    for trajectory in range(6):
        for step in range(3):
            atoms = bulk("Cu", cubic=True, a=3.55 + 0.02 * trajectory)
            atoms.rattle(0.1, rng=np.random.default_rng([trajectory, step]))
            atoms.calc = EMT()
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            atoms.calc = None
            kind = "hot" if trajectory < 2 else "cold"
            atoms.info.update(trajectory=f"t{trajectory}", config_type=kind)
            structures.append(set_labels(atoms, energy=energy, forces=forces))
    return structures


def _auto(**options) -> StudentConfig:
    given = {"functions": 40, "order": 2, "cutoffs": [4.0], "wL": [1.5]}
    return StudentConfig(basis="auto", search={**given, **options}, threads=1)


def _specs() -> list[BasisSpec]:
    return [
        BasisSpec(("Cu", "H"), 3, (5.0, 4.0, 3.0), wL=1.5, rcut=4.0),
        BasisSpec(("Cu", "H"), 2, (6.0, 4.0), wL=1.0, rcut=4.0),
        BasisSpec(("Cu", "H"), 4, (4.0, 3.0, 3.0, 3.0), wL=2.0, rcut=4.0),
    ]


@pytest.mark.parametrize("which", range(3))
def test_rows_of_a_basis_are_columns_of_the_union(which) -> None:
    spec = _specs()[which]
    union = union_basis(_specs())
    own = build_basis(spec)
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "H"
    atoms.rattle(0.1, seed=1)
    columns = columns_in(union, spec)
    assert len(columns) == own.n_functions >= size_of(spec)
    for every, mine in zip(design_rows(union, atoms), design_rows(own, atoms), strict=True):
        # Both list the same functions, each in an order of its own.
        found = _sorted(np.atleast_2d(every)[:, columns])
        np.testing.assert_allclose(found, _sorted(np.atleast_2d(mine)), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        np.sort(union.gamma(2.0)[columns]), np.sort(own.gamma(2.0)), rtol=1e-12
    )


def _sorted(matrix: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=len(matrix))
    return matrix[:, np.argsort(weights @ matrix)]


@pytest.fixture
def judged(copper):
    """One basis with the parts of the data, their moments and what judges their fits."""
    basis, parts = build_basis(BasisSpec(("Cu",), 2, (5.0, 4.0), rcut=4.0)), parted(copper, 18, 0)
    n, weights = basis.n_functions, StudentConfig().weights
    zero = [(0.0, np.zeros((len(a), 3)), np.zeros(6)) for a in copper]
    rows = [rows_of(a, z, weights, k) for k, (a, z) in enumerate(zip(copper, zero, strict=True))]
    cells = {
        cell: moments_of(design_of(basis), copper, rows, parts.members(cell), n, 1)
        for cell in parts.cells()
    }
    fits = Fits(cells, sum(cells.values()), sum(each.count for each in rows))
    members = {
        cell: [labelled(copper[k], f"t{k // 3}", basis) for k in parts.members(cell)]
        for cell in parts.cells()
    }
    return basis, parts, rows, fits, Judge(basis, members, 2)


def test_errors_are_those_of_fits_to_the_rest(copper, judged) -> None:
    """Each fold left out of a ridge fit on the rows themselves; geometric mean over sources."""
    basis, parts, rows, fits, judge = judged
    every = np.arange(basis.n_functions)
    diagonal = fits.posterior(every, basis.gamma, None).diagonal

    def without(left_out: np.ndarray) -> np.ndarray:
        kept, target = [np.diag(diagonal)], [np.zeros(len(every))]
        for index in np.flatnonzero(~left_out):
            energy, forces, _ = design_rows(basis, copper[index], virial=False)
            kept += [rows[index].energy_weight * energy[None], forces]
            target += [[rows[index].energy_weight * rows[index].energy], rows[index].forces]
        return np.linalg.lstsq(np.vstack(kept), np.concatenate(target), rcond=None)[0]

    def typical(parts_left_out: list[tuple[np.ndarray, np.ndarray]]) -> float:
        squares = {}
        for judged, left_out in parts_left_out:
            theta = without(left_out)
            for index in np.flatnonzero(judged):
                _, forces, _ = design_rows(basis, copper[index], energy=False, virial=False)
                squares.setdefault(index // 3, []).append(
                    np.mean((forces @ theta - rows[index].forces) ** 2)
                )
        return float(np.exp(np.mean([0.5 * np.log(np.mean(each)) for each in squares.values()])))

    folds = [parts.fold == fold for fold in range(FOLDS)]
    found = judge.measured(fits, every, diagonal)
    assert found.near == pytest.approx(typical([(fold, fold) for fold in folds]), rel=1e-3)
    hot = parts.kind == 0
    assert found.far == pytest.approx(typical([(hot, hot)]), rel=1e-3)
    learning = judge.learning(fits, every, diagonal)
    assert len(learning) == FOLDS - 2
    assert learning[0] == pytest.approx(
        typical([(fold, ~folds[(k + 1) % FOLDS]) for k, fold in enumerate(folds)]), rel=1e-3
    )


def test_frames_of_one_trajectory_are_left_out_together(copper) -> None:
    parts = parted(copper, 18, seed=3)
    assert parts.sources == 6 and not parts.by_structure
    for start in range(0, 18, 3):
        assert len(set(parts.fold[start : start + 3])) == 1
    assert sorted(np.bincount(parts.fold)) == [3, 3, 6, 6]
    # Two thirds are cold: too many to learn from the rest.
    assert parts.kinds == ("hot",)
    few = parted(copper[:13], 12, seed=3)
    assert few.by_structure and len(few.chosen) == 12


def test_bases_of_one_shape_grow_and_are_nested() -> None:
    spec = BasisSpec(("Cu", "H"), 1, (1.0,), rcut=4.0)
    found = sizes(spec, (1.0, 0.8, 0.6), 400)
    counts = [size_of(basis) for basis in found]
    assert counts == sorted(set(counts)) and counts[-1] <= 400
    union = union_basis(found)
    assert union.n_functions == build_basis(found[-1]).n_functions
    assert of_size(spec, (1.0, 0.8), 3) is None


def test_bases_are_compared_at_one_size() -> None:
    spec, shape = BasisSpec(("Cu", "H"), 1, (1.0,), rcut=4.0), (1.0, 0.8, 0.6)
    counts = [size_of(basis) for basis in around(spec, shape, 200, 1000)]
    assert counts[0] < 200 < counts[1]
    assert [size_of(basis) for basis in around(spec, shape, 200, counts[1] - 1)] == counts[:1]
    assert around(spec, shape, 3, 3) == []
    middle = round(np.sqrt(counts[0] * counts[1]))
    assert value_at(middle, counts, [1.0, 3.0]) == pytest.approx(2.0, abs=0.05)
    assert value_at(middle, counts[:1], [1.0]) == 1.0


def test_the_basis_is_chosen_then_fitted_as_if_it_were_given(copper, tmp_path) -> None:
    found = fit_student(copper, _auto(), seed=2, folder=tmp_path)
    choice = read_result(tmp_path / CHOICE_FILE, BasisChoice)
    assert {trial.stage for trial in choice.trials} == {"radial", "shape", "size"}
    last = [trial for trial in choice.trials if trial.stage == "size"]
    assert all(trial.us_per_atom and trial.force_error for trial in last)
    assert sum(trial.chosen for trial in choice.trials) == 1
    assert len(choice.limits.structure_errors) == FOLDS - 1
    chosen = choice.chosen
    assert found.student.basis.n_functions == chosen.functions <= 40
    given = StudentConfig(
        order=chosen.order,
        totaldegree=list(chosen.totaldegree),
        wL=chosen.wL,
        rcut=chosen.rcut,
        smoothness="evidence",
    )
    same = fit_student(copper, given, seed=2)
    np.testing.assert_array_equal(found.student.coefficients, same.student.coefficients)
    # The same data and options are answered from the file, others are not.
    path = tmp_path / CHOICE_FILE
    seconds = choice.model_copy(update={"seconds": 12345.0})
    path.write_text(seconds.model_dump_json())
    search.settled(copper, _auto(), seed=2, folder=tmp_path)
    assert read_result(path, BasisChoice).seconds == 12345.0
    search.settled(copper, _auto(), seed=3, folder=tmp_path)
    assert read_result(path, BasisChoice).seconds != 12345.0


def _trials(*values: tuple[int, float, float]) -> list[Trial]:
    shared = {"stage": "size", "order": 2, "totaldegree": (4.0, 3.0), "wL": 1.5, "rcut": 5.0}
    shared |= {"smoothness": 2.0, "log_evidence": 0.0, "us_per_atom": 1.0}
    return [
        Trial(functions=n, force_error=near, far_error=far, **shared) for n, near, far in values
    ]


def test_a_larger_basis_that_fails_elsewhere_is_not_taken() -> None:
    trials = _trials((100, 0.02, 0.04), (200, 0.01, 0.03), (400, 0.009, 0.09))
    assert chosen_trial(trials, BasisSearch())[0] == 1


def test_the_smallest_basis_within_the_error_is_taken() -> None:
    trials = _trials((100, 0.02, 0.04), (200, 0.01, 0.03), (400, 0.005, 0.02))
    assert chosen_trial(trials, BasisSearch(error=0.015))[0] == 1
    index, why = chosen_trial(trials, BasisSearch(error=0.001))
    assert index == 2 and "none reaches 1 meV/Å" in why


def test_what_limits_a_student_is_what_helps_more_when_doubled() -> None:
    trials = _trials((100, 0.02, 0.04), (200, 0.01, 0.03), (400, 0.0098, 0.03))
    assert limits_of(trials[:2], 1, [10, 20], [0.011, 0.010]).by == "basis"
    assert limits_of(trials, 1, [10, 20], [0.016, 0.010]).by == "structures"
    assert limits_of(trials, 1, [10, 20], [0.0101, 0.010]).by == "neither"


@pytest.mark.parametrize(
    ("options", "structures", "message"),
    [
        ({"time": 1e-6}, 18, "no basis takes 1e-06 µs an atom"),
        ({}, 5, "needs at least 12; the training set has 5"),
    ],
)
def test_what_cannot_be_chosen_is_said(copper, options, structures, message) -> None:
    with pytest.raises(UserError, match=message):
        search.settled(copper[:structures], _auto(**options), seed=1)


def test_energies_alone_choose_no_basis(copper) -> None:
    bare = []
    for index, atoms in enumerate(copper):
        alone = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
        bare.append(set_labels(alone, energy=float(index)))
    with pytest.raises(UserError, match="no training structure has forces"):
        search.settled(bare, _auto(), seed=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"basis": "auto", "totaldegree": 5.0}, "auto chooses totaldegree: leave it out"),
        ({"basis": "auto", "rcut": 5.0}, "set search.cutoffs"),
        ({"rcut": 5.0, "search": {"functions": 100}}, "search has options of basis: auto"),
    ],
)
def test_a_basis_is_given_or_chosen(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        StudentConfig(**given)


@pytest.mark.parametrize(
    "option",
    [{"order": 4}, {"totaldegree": 5.0, "order": 1}, {"rcut": 5.0}, {"wL": 1.0}, {"smoothness": 2}],
)
def test_a_basis_is_chosen_unless_an_option_of_it_is_given(option) -> None:
    assert StudentConfig(**option).basis == "given"
    assert StudentConfig(zbl=False, search={"order": 2}).basis == "auto"
    assert StudentConfig.model_validate(StudentConfig().model_dump()).basis == "auto"
