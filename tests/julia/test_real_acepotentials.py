"""Against real Julia: runs wherever `distill julia status` says ready."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from helpers import GOLDEN_DATA, call_distill

from distill.config import LabelWeights, SolverConfig, StudentConfig
from distill.core.input_files import resolve_file
from distill.data.structures import read_structures
from distill.deploy.export.base import export_student
from distill.deploy.lammps_build import build_lammps
from distill.student.fit import native_fit
from distill.student.fit_backends import choose_backend
from distill.student.julia import acepotentials
from distill.student.julia.julia_session import JuliaFailure, JuliaSession, kept_warm
from distill.student.julia.julia_worker import PACKAGE_FOLDER
from distill.student.julia.transfer import export_model, import_model
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import is_graded

_REASON = acepotentials.available()
pytestmark = [
    pytest.mark.julia,
    pytest.mark.skipif(_REASON is not None, reason=f"needs Julia: {_REASON}"),
    # The first of them may have to compile the package.
    pytest.mark.timeout(3600),
]
E0 = {"Cu": 0.1, "H": -0.2}
WEIGHTS_OF_ALL = {"default": LabelWeights()}


@pytest.fixture
def golden():
    return GOLDEN_DATA


def config(**changes):
    settings = {
        "backend": "acepotentials",
        "elements": ["Cu", "H"],
        "order": 3,
        "totaldegree": [10, 8, 6],
        "rcut": 6.0,
        "weights": {"default": LabelWeights(), "slab": LabelWeights(energy=60, forces=2)},
        "solver": SolverConfig(kind="qr", strength=1e-3),
        **changes,
    }
    return StudentConfig(**settings)


def fit(golden, out, **changes):
    structures = read_structures(golden / "train.xyz", virial_key="virial")
    return acepotentials.fit(structures, config(e0=E0, **changes), seed=1, folder=out).student


def force_rmse(student, structures):
    errors = [student.forces(a) - a.arrays["REF_forces"] for a in structures]
    return np.sqrt(np.mean(np.concatenate(errors) ** 2))


@pytest.mark.reference
def test_fit_is_the_golden_one(golden, tmp_path):
    student = fit(golden, tmp_path)
    expected = Student.load(golden / "cuh_order3.npz")
    assert student.basis.coupling.bodies == expected.basis.coupling.bodies
    predictions = np.load(golden / "cuh_order3_test_predictions.npz")
    for k, atoms in enumerate(read_structures(golden / "test.xyz", virial_key="virial")):
        energy, forces, virial = student.predict(atoms)
        assert energy == pytest.approx(float(predictions[f"E{k}"]), abs=1e-5)
        np.testing.assert_allclose(forces, predictions[f"F{k}"], atol=1e-5)
        np.testing.assert_allclose(virial, predictions[f"V{k}"], atol=1e-4)


@pytest.mark.reference
@pytest.mark.parametrize("mended", [False, True])
def test_a_model_saved_by_acepotentials_evaluates_as_it_did(golden, mended):
    calculator = acepotentials.JuliaCalculator(golden / "cuh_order3.json", mended=mended)
    predictions = np.load(golden / "cuh_order3_test_predictions.npz")
    for k, atoms in enumerate(read_structures(golden / "test.xyz", virial_key="virial")):
        atoms.calc = calculator
        energy = float(predictions[f"E{k}"])
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), predictions[f"F{k}"], atol=1e-9)
    calculator.close()


@pytest.mark.reference
@pytest.mark.parametrize(
    "solver",
    [
        {"committee": 0},
        {"committee": 8},
        {"kind": "rrqr"},
        {"kind": "rrqr", "rtol": 1e-8},
        {"kind": "lsqr", "strength": 1e-3},
        {"kind": "tsvd"},
    ],
)
@pytest.mark.parametrize("assembly", ["native", "julia"])
def test_every_solver_fits(golden, tmp_path, solver, assembly):
    student = fit(golden, tmp_path, solver=SolverConfig(**solver), assembly=assembly)
    structures = read_structures(golden / "test.xyz", virial_key="virial")
    assert force_rmse(student, structures) < 0.1
    members = 0 if student.committee is None else len(student.committee)
    assert members == solver.get("committee", 0)


@pytest.mark.reference
@pytest.mark.parametrize("solver", [{"kind": "qr", "strength": 1e-2}, {"committee": 0}])
def test_both_assemblies_give_one_student(golden, tmp_path, solver):
    native, julia = (
        fit(golden, tmp_path / assembly, assembly=assembly, solver=SolverConfig(**solver))
        for assembly in ("native", "julia")
    )
    rows = json.loads((tmp_path / "native" / "parity.json").read_text())["rows"]
    assert rows < 1e-9
    for atoms in read_structures(golden / "test.xyz", virial_key="virial"):
        assert native.energy(atoms) == pytest.approx(julia.energy(atoms), abs=1e-5 * len(atoms))
        np.testing.assert_allclose(native.forces(atoms), julia.forces(atoms), atol=1e-4)


@pytest.mark.reference
def test_a_fit_without_a_strength_is_kept_and_said(golden, tmp_path, capsys):
    fit(golden, tmp_path, solver=SolverConfig(kind="qr"))
    assert "give student.solver.strength" in capsys.readouterr().out


@pytest.mark.reference
def test_lsqr_says_where_it_stopped_before_its_solution(golden, tmp_path, capsys):
    solver = SolverConfig(kind="lsqr", strength=1e-2, max_iterations=3)
    fit(golden, tmp_path, solver=solver)
    assert "lsqr stopped before its solution" in capsys.readouterr().out


@pytest.mark.reference
def test_lsqr_reaches_the_regularised_solution(golden, tmp_path):
    lsqr, qr = (
        fit(golden, tmp_path / kind, solver=SolverConfig(kind=kind, strength=5e-3))
        for kind in ("lsqr", "qr")
    )
    for atoms in read_structures(golden / "test.xyz", virial_key="virial"):
        np.testing.assert_allclose(lsqr.forces(atoms), qr.forces(atoms), atol=1e-3)


@pytest.mark.reference
def test_lsqr_without_a_strength_is_not_damped(golden, tmp_path, capsys):
    student = fit(golden, tmp_path, solver=SolverConfig(kind="lsqr"))
    structures = read_structures(golden / "test.xyz", virial_key="virial")
    said = capsys.readouterr().out
    assert force_rmse(student, structures) < 0.1 or "lsqr stopped before its solution" in said


def without_slabs(golden):
    """Crystals of copper and hydrogen molecules: nothing tells of a copper beside a hydrogen."""
    structures = read_structures(golden / "train.xyz", virial_key="virial")
    return [atoms for atoms in structures if len(set(atoms.symbols)) == 1]


@pytest.mark.reference
@pytest.mark.parametrize("assembly", ["native", "julia"])
def test_coefficients_that_no_row_determines_are_said(golden, tmp_path, assembly):
    changed = config(
        e0=E0, solver=SolverConfig(kind="qr"), assembly=assembly, weights=WEIGHTS_OF_ALL
    )
    with pytest.raises(JuliaFailure, match=r"set student\.solver\.strength"):
        acepotentials.fit(without_slabs(golden), changed, seed=1, folder=tmp_path)


@pytest.mark.reference
@pytest.mark.parametrize("assembly", ["native", "julia"])
def test_truncated_svd_takes_functions_without_rows(golden, tmp_path, assembly):
    changed = config(
        e0=E0,
        totaldegree=[6, 5, 4],
        solver=SolverConfig(kind="tsvd"),
        assembly=assembly,
        weights=WEIGHTS_OF_ALL,
    )
    found = acepotentials.fit(without_slabs(golden), changed, seed=1, folder=tmp_path).student
    assert np.isfinite(found.coefficients).all() and np.any(found.coefficients)


def test_julia_is_taken_where_it_is_asked_for_alone():
    assert choose_backend(config(backend="auto")) == "native"
    assert choose_backend(config(backend="acepotentials")) == "acepotentials"
    assert choose_backend(config(backend="auto", repulsion_restraint=True)) == "acepotentials"


@pytest.mark.reference
def test_threads_change_no_fit(golden, tmp_path):
    one, two = (
        fit(golden, tmp_path / str(threads), assembly="julia", threads=threads)
        for threads in (1, 2)
    )
    for atoms in read_structures(golden / "test.xyz", virial_key="virial"):
        np.testing.assert_allclose(one.forces(atoms), two.forces(atoms), atol=1e-6)


@pytest.mark.reference
def test_models_go_both_ways(golden, tmp_path):
    truth = Student.load(golden / "cuh_order3.npz")
    call_distill(
        "import",
        str(golden / "cuh_order3.json"),
        "-o",
        str(tmp_path / "imported.npz"),
        "--data",
        str(golden / "train.xyz"),
    )
    imported = Student.load(tmp_path / "imported.npz")
    assert is_graded(imported)
    atoms = read_structures(golden / "slab56.xyz", require=())[0]
    np.testing.assert_allclose(imported.forces(atoms), truth.forces(atoms), atol=1e-12)
    structures = read_structures(golden / "train.xyz", virial_key="virial")
    native = native_fit.fit(structures, config(backend="native", e0=E0), seed=1).student
    compared = export_model(native, tmp_path / "model.json")
    assert compared.holds
    again = import_model(tmp_path / "model.json")
    np.testing.assert_allclose(again.forces(atoms), native.forces(atoms), atol=1e-12)
    # Without what distill wrote beside the model, it is read by ACEpotentials' own `load_model`.
    saved = json.loads((tmp_path / "model.json").read_text())
    del saved["meta"]["distill"]
    (tmp_path / "plain.json").write_text(json.dumps(saved))
    plain = acepotentials.JuliaCalculator(tmp_path / "plain.json")
    atoms.calc = plain
    energy = native.energy(atoms)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12 * len(atoms))
    np.testing.assert_allclose(atoms.get_forces(), native.forces(atoms), atol=1e-12)
    plain.close()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_published_basis_takes_at_most_twice_the_native_time(tmp_path):
    data = read_structures(resolve_file("bundled:h2cu_train"))
    structures = [atoms.copy() for _ in range(5) for atoms in data][:2200]
    # Repeated structures would be left out; only the time counts.
    for number, atoms in enumerate(structures):
        atoms.rattle(0.02, seed=number)
    changes = {
        "order": 4,
        "totaldegree": [18, 12, 10, 8],
        "e0": "lstsq",
        "weights": WEIGHTS_OF_ALL,
        "solver": SolverConfig(),
        "threads": 1,
    }

    def seconds(fitted, backend):
        began = time.monotonic()
        fitted(structures, config(backend=backend, **changes), seed=1, folder=tmp_path / backend)
        return time.monotonic() - began

    native = seconds(native_fit.fit, "native")
    assert seconds(acepotentials.fit, "acepotentials") < 2 * native


@pytest.mark.slow
def test_a_second_start_takes_seconds(golden):
    atoms = read_structures(golden / "slab56.xyz", require=())[0]

    def seconds():
        began = time.monotonic()
        calculator = acepotentials.JuliaCalculator(golden / "cuh_order3.json")
        atoms.calc = calculator
        atoms.get_forces()
        calculator.close()
        return time.monotonic() - began

    # The first compiles the package, if nothing did so before.
    seconds()
    assert seconds() < 45


def test_a_project_without_packages_is_named_as_the_cause(tmp_path, monkeypatch):
    executable = acepotentials.status()["julia"].rpartition(" at ")[2]
    (tmp_path / "Project.toml").touch()
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", executable)
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    monkeypatch.setenv("JULIA_LOAD_PATH", "@:@stdlib")
    with (
        JuliaSession(log=tmp_path / "julia.log", threads=1) as julia,
        pytest.raises(JuliaFailure, match=r"could not start: .*PythonCall") as caught,
    ):
        julia.call("versions")
    assert "\n" not in str(caught.value)
    monkeypatch.delenv("JULIA_LOAD_PATH")
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(tmp_path))
    assert "ACEpotentials and PythonCall are not installed" in acepotentials.status()["ready"]


def test_a_model_that_the_engine_does_not_have_is_named(golden, tmp_path):
    saved = json.loads((golden / "cuh_order3.json").read_text())
    saved["model_spec"]["pair_envelope"] = ["x", 0, 2]
    (tmp_path / "other.json").write_text(json.dumps(saved))
    with pytest.raises(JuliaFailure, match="pair envelope of the model is a PolyEnvelope2sX"):
        import_model(tmp_path / "other.json")


def test_the_second_session_of_a_stage_is_warm(tmp_path):
    with kept_warm():
        with JuliaSession(log=tmp_path / "one.log", threads=1) as julia:
            first = julia.call("versions")
            process = julia._process
        with JuliaSession(log=tmp_path / "two.log", threads=1) as julia:
            assert julia.call("versions") == first
            assert julia._process is process


@pytest.mark.reference
@pytest.mark.parametrize(
    "changes",
    [
        {"pair": False},
        {"totaldegree": [9.5, 7.5, 6]},
        {"rcut": {"Cu-Cu": 6.0, "Cu-H": 5.0, "H-H": 4.0}},
        {"r0": {"Cu-Cu": 2.55, "Cu-H": 1.7, "H-H": 0.9}},
        {"repulsion_restraint": True},
    ],
)
def test_every_option_survives_export_and_saving(golden, tmp_path, changes):
    student = fit(golden, tmp_path, solver=SolverConfig(kind="qr", strength=1e-2), **changes)
    atoms = read_structures(golden / "slab56.xyz", require=())[0]
    native = student.forces(atoms)
    atoms.calc = acepotentials.JuliaCalculator(tmp_path / "ace_model.json")
    np.testing.assert_allclose(native, atoms.get_forces(), atol=1e-8)
    atoms.calc.close()


@pytest.mark.reference
def test_julia_and_native_basis_are_the_same(golden, tmp_path):
    from distill.student.basis.basis import BasisSpec, build_basis

    student = fit(golden, tmp_path)
    native = build_basis(BasisSpec.from_config(config(), ["Cu", "H"]))
    np.testing.assert_allclose(student.basis.splines, native.splines, atol=1e-10)
    np.testing.assert_allclose(student.basis.transform, native.transform, atol=1e-12)
    np.testing.assert_allclose(student.basis.pair_splines, native.pair_splines, atol=1e-10)


def test_session_has_the_threads_asked_for(tmp_path):
    with JuliaSession(log=tmp_path / "julia.log", threads=2) as julia:
        assert julia.call("versions")["threads"] == 2


@pytest.mark.slow
def test_the_julia_package_passes_its_own_tests(tmp_path, monkeypatch):
    found = acepotentials.status()
    if shutil.which("cmake"):
        tables = tmp_path / "student.ace"
        export_student(PACKAGE_FOLDER / "test" / "data" / "student.npz", tables, to="lammps")
        monkeypatch.setenv("DISTILL_ACE_LIBRARY", str(build_lammps(quiet=True).library))
        monkeypatch.setenv("DISTILL_ACE_TABLES", str(tables))
    executable = found["julia"].rpartition(" at ")[2]
    code = (
        f'push!(LOAD_PATH, raw"{PACKAGE_FOLDER}"); import DistillACE; '
        f'include(raw"{PACKAGE_FOLDER / "test" / "runtests.jl"}")'
    )
    result = subprocess.run(
        [executable, f"--project={found['project']}", "-e", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
