"""The Python side of the Julia fit, against a stand-in for juliacall in a real second process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from helpers import GOLDEN_DATA, SUPPORT
from julia_support import (
    E0,
    FILES,
    julia_config,
    random_student,
    recorded,
    run_fit,
    small_config,
    some_structures,
    written,
)

from distill.config import LabelWeights, SolverConfig
from distill.core.errors import UserError
from distill.data.structures import read_structures
from distill.student.engine.assembly import design_rows
from distill.student.julia import acepotentials
from distill.student.julia.julia_session import JuliaFailure, JuliaSession, kept_warm
from distill.student.student_model import Student


def leftovers(folder):
    return [p.name for p in (folder / "out").glob("*.partial*")] + [
        p.name for p in (folder / "out").glob(".*")
    ]


def test_fit_gives_the_student_that_julia_found(fake_julia, tmp_path):
    fitted = run_fit(tmp_path)
    truth, found = (
        Student.load(tmp_path / "truth.npz"),
        Student.load(tmp_path / "out" / "student.npz"),
    )
    np.testing.assert_array_equal(fitted.coefficients, found.coefficients)
    assert fitted.training == found.training
    assert (found.training.structures, found.training.left_out) == (3, 1)
    assert found.training.solver.factorization == "svd"
    assert found.training.is_graded
    np.testing.assert_array_equal(found.coefficients, truth.coefficients)
    for atoms in some_structures():
        assert found.energy(atoms) == pytest.approx(truth.energy(atoms), abs=1e-12)
    assert found.committee.shape == (3, len(truth.coefficients))
    assert found.basis.coupling.bodies == truth.basis.coupling.bodies
    assert found.basis.spec.wL == 1.5
    provenance = found.provenance
    assert provenance["backend"] == "acepotentials"
    assert provenance["julia"]["ACEpotentials"] == "0.10.1"
    assert provenance["julia"]["threads"] == 2
    assert provenance["julia"]["signals"] == "yes"
    assert written(tmp_path) == FILES
    assert leftovers(tmp_path) == []
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["structures"] == [0, 1, 2]
    assert parity["largest_differences"]["forces"] < 1e-10
    assert parity["rows"] is None
    assert parity["tolerances"] == {"energy": 1e-8, "forces": 1e-8, "virial": 1e-8}
    assert "Julia prints something in solve" in (tmp_path / "out" / "julia.log").read_text()


def test_what_goes_over_to_julia(fake_julia, tmp_path):
    run_fit(tmp_path)
    calls = recorded(tmp_path)
    assert [name for name, _ in calls] == [
        "build_model",
        "least_squares",
        "assemble",
        "assemble",
        "solve",
    ]
    model = calls[0][1]
    assert model["elements"] == ["Cu", "H"]
    np.testing.assert_array_equal(model["totaldegree"], [5.0, 4.0])
    np.testing.assert_array_equal(model["rcut"], np.full((2, 2), 5.0))
    np.testing.assert_array_equal(model["e0"], [0.3, -0.4])
    assert model["r0"] is None
    data = calls[1][1]
    structures = some_structures()
    assert data["smoothness"] == 4.0
    assert data["restraint_weight"] is None
    # The isolated atom is not among them.
    np.testing.assert_array_equal(data["offsets"], [0, 4, 14, 16])
    np.testing.assert_array_equal(data["weights"], [[30, 1, 1], [60, 2, 0], [30, 1, 0]])
    virial, expected = data["virials"][0], -structures[0].info["REF_stress"]
    expected = expected * structures[0].get_volume()
    np.testing.assert_allclose(virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], expected)
    np.testing.assert_array_equal(virial, virial.T)
    np.testing.assert_array_equal(data["forces"][4:14], structures[1].arrays["REF_forces"])
    assert data["energies"][2] == structures[2].info["REF_energy"]
    # The first structure goes alone: Julia compiles at it.
    assert [arguments for _, arguments in calls[2:4]] == [
        {"first": 1, "last": 1},
        {"first": 2, "last": 3},
    ]
    solver = calls[4][1]
    assert (solver["kind"], solver["factorization"]) == ("blr", "svd")
    assert solver["committee"] == 32


def test_the_native_assembly_sends_the_triangular_factor_of_all_rows(fake_julia, tmp_path):
    assert small_config().assembly == "native"
    run_fit(tmp_path, small_config())
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["rows"] < 1e-11
    calls = recorded(tmp_path)
    assert [name for name, _ in calls] == [
        "build_model",
        "least_squares",
        "assemble",
        "factored_least_squares",
        "solve",
    ]
    compared, sent, solver = calls[1][1], calls[3][1], calls[4][1]
    # Few structures as these are all compared, each once.
    np.testing.assert_array_equal(compared["offsets"], [0, 4, 14, 16])
    np.testing.assert_array_equal(compared["weights"], [[30, 1, 1], [60, 2, 0], [30, 1, 0]])
    basis = Student.load(tmp_path / "truth.npz").basis
    rows = []
    for atoms, weights in zip(some_structures()[:3], compared["weights"], strict=True):
        energy, forces, virial = design_rows(basis, atoms)
        size = np.sqrt(len(atoms))
        rows += [weights[0] / size * energy, weights[1] * forces, weights[2] / size * virial]
    design = np.vstack(rows)
    (triangle,) = sent["triangles"]
    assert triangle.shape == (basis.n_functions + 1,) * 2
    normal = design.T @ design
    np.testing.assert_allclose(
        triangle[:, :-1].T @ triangle[:, :-1], normal, atol=1e-12 * np.abs(normal).max()
    )
    assert sent["labels"] == np.any(design, axis=1).sum()
    assert (sent["smoothness"], sent["pair"], sent["restraint_weight"]) == (4.0, True, None)
    assert (solver["factorization"], solver["committee"]) == ("svd", 32)


def test_a_truncated_svd_gets_a_factor_of_what_it_holds_out(fake_julia, tmp_path):
    solver = SolverConfig(kind="tsvd")
    slabs = [some_structures()[1] for _ in range(12)]
    for seed, slab in enumerate(slabs):
        slab.rattle(0.05, seed=seed)
    run_fit(tmp_path, small_config(solver=solver), slabs)
    sent, solved = (dict(recorded(tmp_path))[name] for name in ("factored_least_squares", "solve"))
    assert len(sent["triangles"]) == 2
    assert sent["labels"] == 12 * 31
    np.testing.assert_array_equal(solved["validation"], [2])


def test_native_rows_that_are_not_julias_end_the_fit(fake_julia, tmp_path):
    fake_julia("rows")
    with pytest.raises(UserError, match=r"rows of the regression are not Julia's.*assembly: julia"):
        run_fit(tmp_path, small_config())
    assert written(tmp_path) == set()
    # What Julia assembles alone is not compared.
    run_fit(tmp_path)


def test_a_fit_stopped_in_julias_solver_keeps_its_factor(fake_julia, tmp_path, capsys):
    fake_julia("error:solve")
    with pytest.raises(JuliaFailure):
        run_fit(tmp_path, small_config())
    fake_julia("")
    run_fit(tmp_path, small_config(solver=SolverConfig(kind="qr", strength=1e-3)))
    assert "blocks are already assembled" in capsys.readouterr().out


def test_a_model_from_real_acepotentials_survives_the_way_to_the_student_file(
    fake_julia, tmp_path, monkeypatch
):
    golden = GOLDEN_DATA
    monkeypatch.setenv("FAKE_STUDENT", str(golden / "cuh_order3.npz"))
    structures = read_structures(golden / "train.xyz", virial_key="virial")[::5]
    config = julia_config(
        order=3, totaldegree=[10, 8, 6], rcut=6.0, weights={"default": LabelWeights()}
    )
    found = run_fit(tmp_path, config, structures)
    predictions = np.load(golden / "cuh_order3_test_predictions.npz")
    for k, atoms in enumerate(read_structures(golden / "test.xyz", virial_key="virial")):
        energy, forces, virial = found.predict(atoms)
        assert energy == pytest.approx(float(predictions[f"E{k}"]), abs=1e-11)
        np.testing.assert_allclose(forces, predictions[f"F{k}"], atol=1e-11)
        np.testing.assert_allclose(virial, predictions[f"V{k}"], atol=1e-10)


def test_without_the_pair_term_the_file_has_none(fake_julia, tmp_path):
    truth = random_student(small_config())
    many = truth.basis.n_many_body * 2
    coefficients = np.where(np.arange(len(truth.coefficients)) < many, truth.coefficients, 0.0)
    Student(truth.basis, coefficients, E0).save(tmp_path / "truth.npz")
    found = run_fit(tmp_path, julia_config(pair=False))
    assert found.basis.n_pair == 0
    assert found.committee.shape == (3, many)
    atoms = some_structures()[1]
    expected = Student.load(tmp_path / "truth.npz").energy(atoms)
    assert found.energy(atoms) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["WB", "E0", "pair_spline_coefs"])
def test_an_export_that_is_off_by_a_millionth_fails(fake_julia, tmp_path, name):
    fake_julia(f"corrupt:{name}")
    with pytest.raises(UserError, match="does not give Julia's numbers"):
        run_fit(tmp_path)
    assert written(tmp_path) == set()
    assert leftovers(tmp_path) == []


def test_an_evaluation_that_is_not_a_number_fails(fake_julia, tmp_path):
    fake_julia("nan")
    with pytest.raises(UserError, match="energy not a number"):
        run_fit(tmp_path)
    assert written(tmp_path) == set()


def test_a_failed_fit_leaves_an_older_one_as_it_was(fake_julia, tmp_path):
    run_fit(tmp_path)
    before = (tmp_path / "out" / "student.npz").read_bytes()
    fake_julia("corrupt:WB")
    with pytest.raises(UserError):
        run_fit(tmp_path)
    assert (tmp_path / "out" / "student.npz").read_bytes() == before


@pytest.mark.parametrize("name", ["build_model", "assemble", "solve", "evaluate"])
def test_an_error_in_julia_is_one_sentence_with_its_trace_in_the_log(fake_julia, tmp_path, name):
    fake_julia(f"error:{name}")
    with pytest.raises(JuliaFailure) as caught:
        run_fit(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"Julia, in {name}: BoundsError: attempt to access 3")
    assert "\n" not in message
    assert "[1] fill_rows! at fit.jl:1" in (tmp_path / "out" / "julia.log").read_text()
    assert written(tmp_path) == set()


def test_a_killed_julia_is_reported(fake_julia, tmp_path):
    fake_julia("die:solve")
    with pytest.raises(JuliaFailure, match=r"ended unexpectedly \(signal 9"):
        run_fit(tmp_path)
    assert written(tmp_path) == set()


def test_ctrl_c_ends_the_fit_and_julia(fake_julia, tmp_path):
    fake_julia("sleep:solve")
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\n"
        # A shell's background jobs ignore the signal, and so would what they start.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path[:0] = {[str(SUPPORT), str(Path(__file__).parent)]!r}\n"
        "from pathlib import Path\n"
        "import test_acepotentials as t\n"
        f"t.run_fit(Path({str(tmp_path)!r}))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "out" / "julia.log"
    deadline = time.monotonic() + 240
    while not (log.exists() and "something in solve" in log.read_text()):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    julia = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert written(tmp_path) == set()
    assert leftovers(tmp_path) == []
    for pid in julia:
        assert not Path(f"/proc/{pid}").exists()


def test_calculator_agrees_with_the_engine(fake_julia, tmp_path):
    path = tmp_path / "ace_model.json"
    path.write_text('{"model_spec": {}, "model_parameters": []}')
    truth = Student.load(tmp_path / "truth.npz")
    calculator = acepotentials.JuliaCalculator(path, mended=True)
    native = truth.calculator()
    for atoms in some_structures()[:3]:
        julia, engine = atoms.copy(), atoms.copy()
        julia.calc, engine.calc = calculator, native
        assert julia.get_potential_energy() == pytest.approx(engine.get_potential_energy())
        np.testing.assert_allclose(julia.get_forces(), engine.get_forces(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(julia.get_stress(), engine.get_stress(), atol=1e-12)
    np.testing.assert_array_equal(calculator.time_calls(some_structures()[0], 3), 0.01)
    stranger = bulk("Al")
    stranger.calc = calculator
    with pytest.raises(UserError, match="knows Cu, H, but the structure has Al"):
        stranger.get_potential_energy()
    calculator.close()
    with pytest.raises(UserError, match="no such file"):
        acepotentials.JuliaCalculator(tmp_path / "nothing.json")


def test_session_takes_threads_from_the_environment(fake_julia, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON_JULIACALL_THREADS", "3")
    with JuliaSession(log=tmp_path / "log", keep_log=False) as julia:
        assert julia.call("versions")["threads"] == 3
    assert not (tmp_path / "log").exists()
    with pytest.raises(JuliaFailure, match="not running"):
        julia.call("versions")


def test_a_session_that_ended_well_leaves_its_julia_to_the_next(fake_julia, tmp_path):
    def process_of(name, threads=1):
        with JuliaSession(log=tmp_path / name, threads=threads) as julia:
            julia.call("versions")
            return julia._process

    with kept_warm():
        first = process_of("one")
        assert process_of("two") is first
        assert "something in versions" in (tmp_path / "two").read_text()
        assert first.poll() is None
        assert process_of("three", threads=2) is not first
        # A Julia that failed, or was left in a call, is ended.
        with pytest.raises(JuliaFailure), JuliaSession(log=tmp_path / "four", threads=1) as julia:
            again = julia._process
            julia.call("no_such_method")
        assert again is first
    assert first.poll() is not None


def test_a_julia_waits_under_the_settings_that_it_was_started_with(fake_julia, tmp_path):
    with kept_warm():
        julia = JuliaSession(log=tmp_path / "one", threads=1)
        julia.start()
        first = julia._process
        julia.call("versions")
        # Sessions of calculators end when they are collected, which may be after a change.
        fake_julia("error:versions")
        julia.stop()
        with pytest.raises(JuliaFailure), JuliaSession(log=tmp_path / "two", threads=1) as other:
            assert other._process is not first
            other.call("versions")
