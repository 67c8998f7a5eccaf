"""Students as `.yace` files: the conversion, the check by ace-jax, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers import GOLDEN_DATA, SAMPLE_STUDENT, rattled_copper, run_distill

from distill.config import SolverConfig, StudentConfig
from distill.core.errors import UserError
from distill.deploy.export import yace
from distill.deploy.export.yace_check import Comparison, sample_structures
from distill.deploy.export.yace_products import complex_products
from distill.deploy.export.yace_radial import chebyshev, fit_series, tabulation_error
from distill.student.engine.kernels.zbl import core_parameters
from distill.student.student_model import Student

STUDENT_FILE = SAMPLE_STUDENT


@pytest.fixture(scope="module")
def with_core() -> Student:
    from distill.student.fit.native_fit import fit

    config = StudentConfig(
        order=2, totaldegree=4.0, rcut=4.5, backend="native", threads=1, zbl=True,
        solver=SolverConfig(committee=0),
    )  # fmt: skip
    return fit(rattled_copper(6), config, seed=0).student


def _targets(student: Student) -> dict:
    products = complex_products(student)
    return yace.bond_targets(student, products, yace.inner_distances(student, []))


def _text(student: Student, functions: int, scale: float = 1.0) -> str:
    products = complex_products(student)
    targets = yace.bond_targets(student, products, yace.inner_distances(student, []))
    series = {bond: scale * fit_series(t, functions)[0] for bond, t in targets.items()}
    return yace.yace_text(student, products, targets, series, 0.01)


def test_slopes_of_targets_and_series_are_derivatives(with_core) -> None:
    target = _targets(with_core)[0, 0]
    r, step = np.linspace(target.inner, target.cutoff - 0.01, 57), 1e-6
    for function in (target, lambda r: chebyshev(r, target.cutoff, target.distortion, 12)):
        numerical = (function(r + step)[0] - function(r - step)[0]) / (2 * step)
        np.testing.assert_allclose(function(r)[1], numerical, rtol=1e-6, atol=1e-6)


def test_pair_target_is_half_the_energy_of_a_dimer(with_core) -> None:
    target = _targets(with_core)[0, 0]
    for r in (1.4, 2.5, 4.0):
        dimer = Atoms("Cu2", [[0, 0, 0], [r, 0, 0]])
        many_body = replace(with_core, coefficients=_without_higher_orders(with_core))
        energy = many_body.energy(dimer) - 2 * with_core.e0["Cu"]
        assert target(np.array([r]))[0][0, 0] == pytest.approx(energy / 2, abs=1e-10)


def _without_higher_orders(student: Student) -> np.ndarray:
    coefficients = student.coefficients.copy()
    for index, body in enumerate(student.basis.coupling.bodies):
        if len(body) > 1:
            coefficients[index] = 0.0
    return coefficients


def test_longer_series_and_finer_tables_come_closer(with_core) -> None:
    target = _targets(with_core)[0, 0]
    errors = [fit_series(target, functions)[1] for functions in (50, 100, 200)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    tables = [tabulation_error(target, spacing) for spacing in (0.02, 0.01, 0.005)]
    assert tables[0] > 3 * tables[1] > 9 * tables[2]


def test_a_student_of_two_elements_is_exported_and_agrees(tmp_path) -> None:
    pytest.importorskip("ace_jax")
    out = tmp_path / "student.yace"
    report = yace.export_yace(STUDENT_FILE, out, tolerance=1e-3)
    assert max(report.force.values()) < 1e-3
    assert max(report.energy.values()) < 1e-5
    assert set(report.structures) == {"strained", "dimers", "trimers"}
    assert json.loads(Path(f"{out}.json").read_text())["functions"] == report.functions
    assert report.file_mb == pytest.approx(1e-6 * out.stat().st_size)


def test_the_core_is_in_the_pair_potential(with_core, tmp_path) -> None:
    pytest.importorskip("ace_jax")
    with_core.save(tmp_path / "student.npz")
    structures = rattled_copper(3)
    out = tmp_path / "student.yace"
    report = yace.export_yace(tmp_path / "student.npz", out, structures=structures, tolerance=2e-4)
    assert report.structures["training"] == 3
    assert report.inner["Cu-Cu"] < core_parameters(["Cu"])[0, 2]


def test_a_wrong_file_is_found_out(student, tmp_path) -> None:
    pytest.importorskip("ace_jax")
    samples = sample_structures(student, [], yace.inner_distances(student, []))
    comparison = Comparison(student, {"trimers": samples["trimers"]})
    path = tmp_path / "wrong.yace"
    path.write_text(_text(student, 120, scale=1.001))
    wrong = comparison.run(path).force["trimers"]
    path.write_text(_text(student, 120))
    assert wrong > 10 * comparison.run(path).force["trimers"]


def test_an_impossible_tolerance_leaves_no_file(student, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ace_jax")
    monkeypatch.setattr(yace, "LENGTHS", (40,))
    out = tmp_path / "student.yace"
    with pytest.raises(UserError, match=r"no series of up to 40 .* meets 1e-09 eV/Å"):
        yace.export_yace(STUDENT_FILE, out, tolerance=1e-9)
    assert list(tmp_path.iterdir()) == []


def test_ace_jax_must_be_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ace_jax", None)
    with pytest.raises(UserError, match=r"distill\[acejax\]"):
        yace.export_yace(STUDENT_FILE, tmp_path / "student.yace")


def test_mistakes_are_named(tmp_path) -> None:
    with pytest.raises(UserError, match="tolerance above 0"):
        yace.export_yace(STUDENT_FILE, tmp_path / "student.yace", tolerance=0.0)
    result = run_distill("export", STUDENT_FILE, "--to", "snap", "-o", tmp_path / "x")
    assert result.returncode == 2
    assert "expected yace, found 'snap'" in result.stderr


def test_another_schema_version_is_refused(student, tmp_path, monkeypatch) -> None:
    from distill.student import basis_arrays

    monkeypatch.setattr(basis_arrays, "SCHEMA_VERSION", 2)
    student.save(tmp_path / "newer.npz")
    monkeypatch.undo()
    with pytest.raises(UserError, match="has schema version 2; this program reads up to 1"):
        yace.export_yace(tmp_path / "newer.npz", tmp_path / "student.yace")
    assert not (tmp_path / "student.yace").exists()


@pytest.mark.slow
def test_a_student_of_acepotentials_meets_the_tolerance(tmp_path) -> None:
    pytest.importorskip("ace_jax")
    from distill.data.structures import read_structures

    golden = GOLDEN_DATA
    structures = read_structures(golden / "train.xyz", require=())
    out = tmp_path / "student.yace"
    report = yace.export_yace(golden / "cuh_order3_blr.npz", out, structures=structures)
    assert max(report.force.values()) < 1e-5
