"""Students as `.yace` files: the conversion, and the reading of them beside ace-jax's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers import GOLDEN_DATA, SAMPLE_STUDENT, rattled_copper
from scipy import special

from distill.config import SolverConfig, StudentConfig
from distill.core.errors import UserError
from distill.deploy.export import yace
from distill.deploy.export.base import export_student
from distill.deploy.export.parity import inner_distances
from distill.deploy.export.yace_evaluator import evaluate_yace, harmonics
from distill.deploy.export.yace_products import complex_products
from distill.deploy.export.yace_radial import chebyshev, fit_series, tabulation_error
from distill.deploy.export.yace_reader import read_yace
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
    return yace.bond_targets(student, products, inner_distances(student, []))


def _text(student: Student, functions: int, scale: float = 1.0) -> str:
    products = complex_products(student)
    targets = yace.bond_targets(student, products, inner_distances(student, []))
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
    out = tmp_path / "student.yace"
    report = export_student(STUDENT_FILE, out, tolerance=1e-3, options={"lengths": [200]})
    assert max(report.force.values()) < 1e-3
    assert max(report.energy.values()) < 1e-5
    assert set(report.structures) == {"strained", "dimers", "trimers"}
    assert json.loads(Path(f"{out}.json").read_text())["details"] == report.details
    assert report.details["memory_mb"] > 1


def test_the_core_is_in_the_pair_potential(with_core, tmp_path) -> None:
    with_core.save(tmp_path / "student.npz")
    structures = rattled_copper(3)
    out = tmp_path / "student.yace"
    report = export_student(tmp_path / "student.npz", out, structures=structures, tolerance=2e-4)
    assert report.structures["training"] == 3
    assert report.inner["Cu-Cu"] < core_parameters(["Cu"])[0, 2]


def test_another_schema_version_is_refused(student, tmp_path, monkeypatch) -> None:
    from distill.student import basis_arrays

    monkeypatch.setattr(basis_arrays, "SCHEMA_VERSION", 2)
    student.save(tmp_path / "newer.npz")
    monkeypatch.undo()
    with pytest.raises(UserError, match="has schema version 2; this program reads up to 1"):
        export_student(tmp_path / "newer.npz", tmp_path / "student.yace")
    assert not (tmp_path / "student.yace").exists()


@pytest.fixture(scope="module")
def short_series(with_core, tmp_path_factory) -> dict[str, Path]:
    """Files with series that are too short for the students, which makes them no less readable."""
    folder = tmp_path_factory.mktemp("yace")
    students = {"with core": with_core, "two elements": Student.load(STUDENT_FILE)}
    files = {name: folder / f"{name}.yace" for name in students}
    for name, student in students.items():
        files[name].write_text(_text(student, 12))
    return files


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with core", "two elements"])
def test_files_are_read_as_ace_jax_reads_them(short_series, name) -> None:
    ace_jax = pytest.importorskip("ace_jax")
    import jax
    from ace_jax import ACECalculator

    path = short_series[name]
    potential = read_yace(path)
    structures = _structures(potential.elements)
    found = evaluate_yace(potential, structures)
    with jax.enable_x64(True):
        calculator = ACECalculator(*ace_jax.load(path)[:2])
        for atoms, energy, forces in zip(structures, found.energies, found.forces, strict=True):
            atoms.calc = calculator
            assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)


def _structures(elements: list[str]) -> list[Atoms]:
    """A crystal, a cluster with close atoms, where the file's core is, and one atom alone."""
    crystal = rattled_copper(1, amplitude=0.2)[0]
    crystal.symbols[0] = elements[-1]
    positions = [[0, 0, 0], [0.9, 0.1, 0], [0.2, 2.0, 0.3], [0, 0, 4.4]]
    cluster = Atoms(["Cu", "Cu", elements[-1], elements[-1]], positions, cell=[20, 20, 20])
    return [crystal, cluster, Atoms("Cu", cell=[20, 20, 20])]


@pytest.mark.skipif(not hasattr(special, "sph_harm_y"), reason="an older scipy")
def test_harmonics_are_those_of_scipy() -> None:
    import torch

    vectors = np.random.default_rng(0).normal(size=(9, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    polar, azimuth = np.arccos(vectors[:, 2]), np.arctan2(vectors[:, 1], vectors[:, 0])
    found = harmonics(torch.from_numpy(vectors), 6).numpy()
    for ell in range(7):
        for m in range(ell + 1):
            expected = np.sqrt(4 * np.pi) * special.sph_harm_y(ell, m, polar, azimuth)
            np.testing.assert_allclose(found[:, ell, m], expected, atol=1e-12)


def test_forces_are_the_gradient_of_the_energy(short_series) -> None:
    potential, step = read_yace(short_series["two elements"]), 1e-5
    atoms = _structures(potential.elements)[1]
    forces = evaluate_yace(potential, [atoms]).forces[0]
    for atom, axis in ((0, 0), (1, 2), (2, 1), (3, 0)):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[atom, axis] -= step
        moved[1].positions[atom, axis] += step
        low, high = evaluate_yace(potential, moved).energies
        assert forces[atom, axis] == pytest.approx((low - high) / (2 * step), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ChebExpCos", "SBessel", "radbasename is SBessel, expected ChebExpCos"),
        ("inner_cutoff_type: distance", "inner_cutoff_type: zbl", "expected distance"),
        ("FS_parameters: [1.0, 1.0]", "FS_parameters: [1.0, 0.5]", "exponent in FS_parameters"),
        ("ndensity: 1", "ndensity: 2", "ndensity is 2, expected 1"),
        ("ns: [1]", "ns: [13]", "n 13, nradbasemax is 12"),
        ("E0: [", "E0: [x, ", "could not convert"),
        ("bonds:", "links:", "KeyError: 'bonds'"),
        ("elements: [", "elements: [[", "cannot read"),
    ],
)
def test_what_is_not_known_of_the_format_is_refused(
    short_series, tmp_path, old, new, message
) -> None:
    path = tmp_path / "wrong.yace"
    path.write_text(short_series["with core"].read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        read_yace(path)


def test_a_file_that_is_none_is_refused(tmp_path) -> None:
    (tmp_path / "x.yace").write_text("- 1")
    for name in ("x.yace", "gone.yace"):
        with pytest.raises(UserError, match=name):
            read_yace(tmp_path / name)


@pytest.mark.slow
def test_a_student_of_acepotentials_meets_the_tolerance(tmp_path) -> None:
    from distill.data.structures import read_structures

    golden = GOLDEN_DATA
    structures = read_structures(golden / "train.xyz", require=())
    out = tmp_path / "student.yace"
    report = export_student(golden / "cuh_order3_blr.npz", out, structures=structures)
    assert max(report.force.values()) < 1e-5
