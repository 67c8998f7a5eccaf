"""What the Julia fit refuses, and what it says, against the stand-in for juliacall."""

from __future__ import annotations

import json

import pytest
from ase import Atoms
from helpers import TEST_DATA
from julia_support import (
    E0,
    julia_config,
    random_student,
    run_fit,
    some_structures,
    written,
)

from distill.config import LabelWeights, SolverConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.student.julia import acepotentials, parity
from distill.student.julia.julia_session import JuliaFailure
from distill.student.student_model import Student


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zbl": True}, "fail with ZBL = true"),
        ({"smoothness": "evidence"}, "ACEfit takes a number"),
        ({"weighting": "evidence"}, "ACEfit takes weights as they are given"),
        ({"solver": SolverConfig(kind="ridge")}, "ACEfit does not have"),
        ({"solver": SolverConfig(kind="ard")}, "not positive definite"),
        ({"solver": SolverConfig(kind="qr", committee=8)}, "qr of ACEfit draws no committee"),
        ({"solver": SolverConfig(kind="tsvd", committee=8)}, "tsvd of ACEfit draws no committee"),
        ({"order": 1, "totaldegree": [8]}, "functions all have l = 0"),
        ({"totaldegree": [2, 2]}, "functions all have l = 0"),
        ({"solver": SolverConfig(kind="tsvd", rtol=1e-6)}, "rtol has no meaning"),
        ({"solver": SolverConfig(factorization="cholesky")}, "needs factorization svd"),
        (
            {"solver": SolverConfig(factorization="cholesky"), "assembly": "native"},
            "takes an svd",
        ),
        ({"totaldegree": [5, 0.5]}, "totaldegree of order 2 is 0.5"),
        ({"rcut": 2.0}, "expected less than its cutoff"),
        ({"r0": {"Cu-Cu": 2.6, "H-H": 1.0}}, "no value for the pair Cu-H"),
        ({"elements": ["Cu"]}, "training structures 1, 2, 3 have H"),
        (
            {"elements": ["Cu", "H", "O"], "e0": "auto"},
            "names O, which no training structure contains",
        ),
        (
            {"weights": {"default": LabelWeights(), "slap": LabelWeights()}},
            "names config_type slap.*they have default, slab",
        ),
        (
            {"weights": {"default": LabelWeights(energy=0, forces=0, virial=0)}},
            "no label of the training set has a weight",
        ),
    ],
)
def test_refused_before_julia_starts(fake_julia, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_fit(tmp_path, julia_config(**changes))
    assert not (tmp_path / "record.pickle").exists()


@pytest.mark.parametrize(("key", "place"), [("REF_energy", "info"), ("REF_forces", "arrays")])
def test_a_missing_label_is_named(fake_julia, tmp_path, key, place):
    structures = some_structures()
    del getattr(structures[2], place)[key]
    with pytest.raises(UserError, match=f"training structures 2 have no label {key}"):
        run_fit(tmp_path, structures=structures)


def test_a_matrix_that_does_not_fit_in_memory_is_refused(fake_julia, tmp_path, monkeypatch):
    import psutil

    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(UserError, match=r"ACEfit holds \d+ rows"):
        run_fit(tmp_path)
    assert written(tmp_path) == set()


def test_truncated_svd_needs_more_rows_than_functions_beside_those_held_out(fake_julia, tmp_path):
    config = julia_config(solver=SolverConfig(kind="tsvd"))
    with pytest.raises(UserError, match="more rows than functions"):
        run_fit(tmp_path, config)
    # Enough slabs, of 31 rows each, but not without the one that is held out.
    count = random_student(config).basis.n_functions // 31 + 1
    slabs = [some_structures()[1] for _ in range(count)]
    for seed, slab in enumerate(slabs):
        slab.rattle(0.01, seed=seed)
    with pytest.raises(UserError, match=f"found {31 * (count - 1)} rows"):
        run_fit(tmp_path, config, slabs)


def test_a_committee_that_acefit_does_not_draw_is_said(fake_julia, tmp_path, capsys):
    run_fit(tmp_path, julia_config(solver=SolverConfig(kind="rrqr")))
    assert "rrqr of ACEfit has no posterior" in capsys.readouterr().out
    run_fit(tmp_path, julia_config())
    assert "no posterior" not in capsys.readouterr().out


def test_a_solution_that_lsqr_did_not_reach_is_said(fake_julia, tmp_path, capsys):
    fake_julia("unsolved")
    run_fit(tmp_path, julia_config(solver=SolverConfig(kind="lsqr", max_iterations=3)))
    assert "lsqr stopped before its solution" in capsys.readouterr().out


def test_terms_that_cancel_are_compared_to_their_rounding(fake_julia, tmp_path, capsys):
    truth = Student.load(tmp_path / "truth.npz")
    Student(truth.basis, 1e9 * truth.coefficients, E0).save(tmp_path / "truth.npz")
    run_fit(tmp_path)
    assert "rounding alone leaves" in capsys.readouterr().out
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["tolerances"]["forces"] > 1e-6
    fake_julia("corrupt:WB")
    with pytest.raises(UserError, match="does not give Julia's numbers"):
        run_fit(tmp_path)


def test_the_cause_of_a_failed_start_is_named(fake_julia, tmp_path):
    fake_julia("start")
    with pytest.raises(JuliaFailure, match="could not start: ArgumentError: Package ACEpotentials"):
        run_fit(tmp_path)


def test_versions_are_checked_at_the_start_of_a_fit(fake_julia, tmp_path):
    fake_julia("old")
    with pytest.raises(UserError, match=r"found ACEpotentials 0\.9\.0"):
        run_fit(tmp_path)
    assert not (tmp_path / "record.pickle").exists()


@pytest.mark.parametrize("text", ["[1, 2", "[]", '{"a": 1}', '{"model_spec": {}}', "\x00"])
def test_a_file_that_is_no_model_is_refused_before_julia_starts(fake_julia, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    fake_julia("error:load")
    with pytest.raises(UserError, match=r"other.json: expected a model saved by ACEpotentials"):
        acepotentials.JuliaCalculator(path)


def test_a_comparison_of_an_older_fit_is_read():
    found = read_result(TEST_DATA / "records" / "parity_v1.json", parity.Parity)
    assert found.holds and found.rows is None


def test_parity_sample_has_every_config_type():
    structures = [Atoms("H", info={"config_type": f"kind{min(k, 3)}"}) for k in range(40)]
    chosen = parity.sample(structures, seed=1)
    assert len(chosen) == len(set(chosen)) == 8
    assert {0, 1, 2} <= set(chosen)
    assert chosen == parity.sample(structures, seed=1)
