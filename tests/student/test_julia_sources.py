"""The numbers of the Julia package where it needs no ACEpotentials: its sources, run as Python."""

import ast
import hashlib
import itertools
import json
import re
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from helpers import GOLDEN_DATA, ROOT
from julia_support import random_student, small_config

from distill.config import StudentConfig
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.engine.neighbours import list_neighbours
from distill.student.fit.solvers import bayesian
from distill.student.fit.triangular_factor import factor_rows
from distill.student.student_file import write_arrays
from distill.student.student_model import Student

julia_subset = pytest.importorskip("julia_subset", reason="the extra [test] is not whole")

SOURCES = ROOT / "julia" / "src"
DATA = ROOT / "julia" / "test" / "data"


@pytest.fixture(scope="module")
def students():
    names = ("npz", "neighbours", "core", "site", "student")
    return julia_subset.run(
        [SOURCES / "students" / f"{name}.jl" for name in names],
        JSON=SimpleNamespace(parse=json.loads),
        SHA=SimpleNamespace(
            SHA2_256_CTX=hashlib.sha256,
            update_b=lambda digest, part: digest.update(np.asarray(part).tobytes()),
            digest_b=lambda digest: np.frombuffer(digest.digest(), np.uint8),
        ),
        # zlib is called through C.
        inflate=lambda packed, size, name: np.frombuffer(
            zlib.decompress(packed.tobytes(), -15), np.uint8
        ),
        crc32=lambda data: zlib.crc32(data.tobytes()),
    )


def neighbours(students, cutoff, atoms):
    return students.neighbours_within(
        cutoff, list(atoms.positions), list(atoms.cell.array), tuple(map(bool, atoms.pbc))
    )


def test_a_student_of_julia_gives_the_numbers_of_the_native_engine(students):
    student = students.read_student(DATA / "student.npz")
    native = Student.load(DATA / "student.npz")
    for case in json.loads((DATA / "predictions.json").read_text()):
        atoms = Atoms(case["numbers"], case["positions"], cell=case["cell"], pbc=case["periodic"])
        # The file is what the tests of the Julia package compare with.
        energy, forces, virial = native.predict(atoms)
        assert energy == pytest.approx(case["energy"], abs=1e-11)
        np.testing.assert_allclose(forces, case["forces"], atol=1e-11)
        np.testing.assert_allclose(virial, case["virial"], atol=1e-10)
        if case["name"] == "wide":
            continue
        species = np.searchsorted(-student.numbers, -atoms.numbers) + 1
        found = neighbours(students, students.cutoff_of(student), atoms)
        energies, forces, virial = students.energies_and_forces(student, species, found)
        assert sum(energies) == pytest.approx(case["energy"], abs=1e-11)
        np.testing.assert_allclose(np.array(forces), case["forces"], atol=1e-11)
        np.testing.assert_allclose(virial, case["virial"], atol=1e-10)


def test_a_model_of_acepotentials_gives_its_numbers(students):
    student = students.read_student(GOLDEN_DATA / "cuh_order3.npz")
    native = Student.load(GOLDEN_DATA / "cuh_order3.npz")
    atoms = Atoms("CuH2", [[0, 0, 0], [0.3, 1.4, 0.8], [1.2, -0.9, 0.5]])
    found = neighbours(students, students.cutoff_of(student), atoms)
    energies, forces, _ = students.energies_and_forces(student, np.array([1, 2, 2]), found)
    assert sum(energies) == pytest.approx(native.energy(atoms), abs=1e-10)
    np.testing.assert_allclose(np.array(forces), native.forces(atoms), atol=1e-10)


@pytest.mark.parametrize("periodic", itertools.product([True, False], repeat=3))
def test_neighbours_in_julia_are_all_there_are(students, periodic):
    rng = np.random.default_rng(3)
    # Of several bins, one bin, and less than one.
    cell = np.array([[9.5, 0.3, 0.0], [1.0, 3.1, 0.0], [-0.5, 0.4, 2.2]])
    atoms = Atoms("H14", rng.uniform(-12, 12, (14, 3)), cell=cell, pbc=periodic)
    found = neighbours(students, 3.0, atoms)
    expected = list_neighbours(atoms, 3.0)
    assert len(found.atoms) == len(expected.vectors)
    for i in range(len(atoms)):
        a, b = found.first[i] - 1, found.first[i + 1] - 1
        rows = [[*v, j - 1] for v, j in zip(found.vectors[a:b], found.atoms[a:b], strict=True)]
        c, d = expected.first[i], expected.first[i + 1]
        known = np.column_stack([expected.vectors[c:d], expected.neighbour[c:d]])
        ours = np.array(rows).reshape(-1, 4)
        order, known_order = (np.lexsort(np.round(x, 6).T) for x in (ours, known))
        np.testing.assert_allclose(ours[order], known[known_order], atol=1e-9)


def test_the_core_in_julia_has_ases_radii(students):
    np.testing.assert_array_equal(students.COVALENT_RADII, covalent_radii[1:97])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, meta: arrays.update(E0=arrays["E0"] + 1e-9), "its checksum is not that"),
        (lambda arrays, meta: arrays.pop("distill_sha256"), "its checksum is missing"),
        (lambda arrays, meta: meta.update(schema_version=2), "schema version 2"),
        (lambda arrays, meta: meta.update(envelope_kind="other"), "expected envelope_kind"),
        (lambda arrays, meta: arrays.pop("meta_json"), "it has no meta_json"),
    ],
)
def test_a_file_that_is_no_whole_student_is_refused_in_julia(students, tmp_path, change, message):
    arrays = dict(np.load(DATA / "student.npz"))
    meta = json.loads(bytes(arrays["meta_json"]))
    old = dict(arrays)
    change(arrays, meta)
    if json.loads(bytes(old["meta_json"])) != meta:
        write_arrays(tmp_path / "changed.npz", arrays, meta)
    else:
        np.savez_compressed(tmp_path / "changed.npz", **arrays)
    with pytest.raises(RuntimeError, match=message):
        students.read_student(tmp_path / "changed.npz")


def test_a_damaged_archive_is_refused_in_julia(students, tmp_path):
    data = (DATA / "student.npz").read_bytes()
    for damaged in (data[:100], data[:-30], b"", data[:3000] + b"\0\0" + data[3002:]):
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises((RuntimeError, zlib.error)):
            students.read_student(tmp_path / "damaged.npz")


def test_bayesian_regression_on_a_factor_in_julia_is_the_native_one():
    def svd(matrix):
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        return u, s, vt.T

    julia = julia_subset.run([SOURCES / "evidence.jl"], svd=svd)
    rng = np.random.default_rng(0)
    design = rng.normal(size=(300, 12)) * np.logspace(0, -5, 12)
    target = design @ rng.normal(size=12) + 0.05 * rng.normal(size=300)
    factor = factor_rows(np.asfortranarray(np.column_stack([design, target])))
    found = julia.most_evident(factor.triangle[:, :-1], factor.triangle[:, -1], 300, 0)
    expected = bayesian(factor, np.ones(12))
    np.testing.assert_allclose(found["C"], expected.coefficients, rtol=1e-4)
    assert np.sqrt(found["var_e"]) == pytest.approx(expected.report.noise, rel=1e-6)
    assert found["lml"] == pytest.approx(expected.report.log_evidence, abs=1e-6)
    # The number of rows is that of the labels, not the height of the triangle.
    other = julia.most_evident(factor.triangle[:, :-1], factor.triangle[:, -1], 3000, 0)
    assert other["var_e"] < found["var_e"] / 5


def test_the_evidence_in_julia_is_that_of_acefit():
    """Of the factor as of all rows: the marginal likelihood of y ~ N(0, var_0 A Aᵀ + var_e)."""
    julia = julia_subset.run([SOURCES / "evidence.jl"])
    rng = np.random.default_rng(1)
    design, target = rng.normal(size=(20, 4)), rng.normal(size=20)
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    z = u.T @ target
    covariance = 0.7 * design @ design.T + 0.3 * np.eye(20)
    expected = -0.5 * (
        target @ np.linalg.solve(covariance, target) + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    rest = np.sum((target - u @ z) ** 2)
    assert julia.log_evidence(0.7, 0.3, s, z, rest, 20) == pytest.approx(expected)


def test_names_of_the_c_interface_in_julia_are_those_of_the_header():
    header = (ROOT / "lammps" / "include" / "distill_ace.h").read_text()
    source = (SOURCES / "students" / "library.jl").read_text()
    names = "abi", "open", "close", "evaluate", "error", "elements", "atomic_number", "cutoff"
    for name in names:
        assert f"distill_ace_{name}(" in header
        assert f"{name} = :{name}" in source
    assert "#define DISTILL_ACE_ABI 1\n" in header and "LIBRARY_ABI = 1\n" in source


@pytest.mark.parametrize(
    ("ours", "theirs"), [("LibraryInput", "input"), ("LibraryOutput", "output")]
)
def test_structures_of_the_c_interface_in_julia_are_those_of_the_header(ours, theirs):
    types = {"int64_t": "Int64", "double": "Cdouble", "int": "Cint"}
    header = (ROOT / "lammps" / "include" / "distill_ace.h").read_text()
    source = (SOURCES / "students" / "library.jl").read_text()
    body = re.search(rf"typedef struct {{([^}}]*)}} distill_ace_{theirs};", header)[1]
    expected = []
    for kind, star, name, size in re.findall(
        r"^ +(?:const )?(\w+) (\*?)(\w+)(?:\[(\d+)\])?;", body, re.M
    ):
        plain = types[kind]
        pointed = f"Ptr{{{plain}}}" if star else plain
        expected.append((name, f"NTuple{{{size}, {plain}}}" if size else pointed))
    body = re.search(rf"struct {ours}\n(.*?)\nend", source, re.S)[1]
    assert re.findall(r"^    (\w+)::(.+)$", body, re.M) == expected
    assert len(expected) == 7


def test_random_students_of_two_orders_agree(students, tmp_path):
    truth = random_student(small_config(rcut=3.4))
    truth.save(tmp_path / "student.npz")
    student = students.read_student(tmp_path / "student.npz")
    atoms = Atoms("HCu", [[0, 0, 0.0], [0.4, 1.1, 0.9]], cell=[2.9, 3.3, 3.1], pbc=True)
    found = neighbours(students, students.cutoff_of(student), atoms)
    energies, forces, virial = students.energies_and_forces(student, np.array([2, 1]), found)
    energy, expected, expected_virial = truth.predict(atoms)
    assert sum(energies) == pytest.approx(energy, abs=1e-11)
    np.testing.assert_allclose(np.array(forces), expected, atol=1e-11)
    np.testing.assert_allclose(virial, expected_virial, atol=1e-10)


@pytest.fixture
def regression():
    """The regression's source, for a model of four functions with the prior 1, 2, 3, 4."""
    prior = SimpleNamespace(algebraic_smoothness_prior=lambda model, p: np.array([1.0, 2, 3, 4]))
    return julia_subset.run(
        [SOURCES / "fit.jl"],
        M=prior,
        diag=lambda matrix: matrix,
        ACEfit=SimpleNamespace(count_observations=len),
        fill=lambda value, count: np.full(count, value),
        Array=lambda array: array,
        last=lambda values: values[-1],
        many_body_columns=lambda model: 3,
    )


@pytest.mark.parametrize(("pair", "columns"), [(True, 4), (False, 3)])
def test_factors_become_the_rows_that_julia_solves(regression, pair, columns):
    rng = np.random.default_rng(0)
    triangles = np.array([np.triu(rng.normal(size=(columns + 1,) * 2)) for _ in range(2)])
    problem = regression.factored_least_squares(
        SimpleNamespace(model=None), smoothness=4.0, pair=pair, triangles=triangles, labels=70
    )
    expected = np.concatenate(list(triangles))
    np.testing.assert_allclose(problem.A * problem.prior[:columns], expected[:, :-1])
    np.testing.assert_array_equal(problem.Y, expected[:, -1])
    # The second is what a truncated SVD holds out.
    assert [(r.start, r.stop - 1) for r in problem.rows] == [
        (1, columns + 1),
        (columns + 2, 2 * columns + 2),
    ]
    assert problem.labels == 70


def test_rows_of_a_site_in_julia_are_sums_of_its_gradients(regression):
    rng = np.random.default_rng(0)
    # Site 1 of three atoms with a neighbour twice, of functions 2 and 3 of four.
    values, rs, js = rng.normal(size=4), list(rng.normal(size=(3, 3))), [2, 3, 2]
    gradients = np.empty((4, 3), object)
    for place in np.ndindex(4, 3):
        gradients[place] = rng.normal(size=3)
    energies, forces, virials = np.zeros(4), np.zeros((9, 4)), np.zeros((6, 4))
    regression.add_site_rows_b(energies, forces, virials, 1, js, rs, values, gradients, range(2, 4))
    assert not energies[[0, 3]].any() and not forces[:, [0, 3]].any()
    for k in (1, 2):
        assert energies[k] == values[k]
        expected = np.zeros((3, 3))
        for g, j in zip(gradients[k], js, strict=True):
            expected[j - 1] -= g
            expected[0] += g
        np.testing.assert_allclose(forces[:, k], expected.ravel())
        virial = -sum(np.outer(g, r) for g, r in zip(gradients[k], rs, strict=True))
        # xx yy zz zy zx yx, as ACEfit takes them from a matrix, columns first.
        np.testing.assert_allclose(virials[:, k], virial.ravel(order="F")[[0, 4, 8, 5, 2, 1]])


def compiled_ahead(name):
    source = (SOURCES / "precompile.jl").read_text()
    return ast.literal_eval(re.search(rf"^const {name} = (.+)$", source, re.M)[1])


def test_the_bases_compiled_ahead_have_the_types_of_those_in_use():
    def kind(degrees):
        basis = build_basis(BasisSpec(("Cu", "H"), len(degrees), tuple(degrees)))
        largest_l = max(ell for body in basis.coupling.bodies for _, ell in body)
        return len(degrees), basis.splines.shape[-1], basis.pair_splines.shape[-1], largest_l

    used = [[10, 8, 6], StudentConfig().totaldegree]
    assert [kind(d) for d in compiled_ahead("COMPILED_DEGREES")] == [kind(d) for d in used]


def test_the_sites_compiled_ahead_have_the_chunks_of_forward_differentiation():
    chunks = set()
    for sizes in compiled_ahead("COMPILED_CLUSTERS"):
        assert 0.9 * np.linalg.norm(np.array(sizes) - 1) < 3.0
        coordinates = 3 * (int(np.prod(sizes)) - 1)
        assert coordinates > 12
        # ForwardDiff's pickchunksize, whose threshold is 12.
        chunks.add(-(-coordinates // -(-coordinates // 12)))
    assert chunks == {11, 12}


def test_a_model_with_other_parts_is_not_exported_from_julia():
    names = (
        "OneBody",
        "SplineRnlrzzBasis",
        "PolyEnvelope2sX",
        "ACE1_PolyEnvelope1sR",
        "GeneralizedAgnesiTransform",
    )
    kinds = {name: type(name, (SimpleNamespace,), {}) for name in names}
    export = julia_subset.run([SOURCES / "export.jl"], M=SimpleNamespace(**kinds))
    one_body, radial, envelope, pair_envelope, transform = kinds.values()

    def model(pair=pair_envelope, reference=one_body, inner=transform):
        transforms = [SimpleNamespace(trans=inner())]
        return SimpleNamespace(
            Vref=reference(),
            rbasis=radial(envelopes=[envelope()], transforms=transforms),
            pairbasis=radial(envelopes=[pair()], transforms=transforms),
        )

    export.check_known(model())
    with pytest.raises(
        RuntimeError, match="pair envelope of the model is a PolyEnvelope2sX, which"
    ):
        export.check_known(model(pair=envelope))
    with pytest.raises(RuntimeError, match="reference potential of the model is a SimpleNamespace"):
        export.check_known(model(reference=SimpleNamespace))
    with pytest.raises(RuntimeError, match="has GeneralizedAgnesiTransform"):
        export.check_known(model(inner=SimpleNamespace))


@pytest.mark.parametrize(
    ("found", "missing"),
    [([1, 2], "model_spec"), ({"model_spec": {}}, "model_parameters"), ({}, "model_spec")],
)
def test_a_json_that_is_no_model_is_refused_in_julia(found, missing):
    files = julia_subset.run(
        [SOURCES / "files.jl"],
        JSON=SimpleNamespace(parsefile=lambda path: found),
        AbstractDict=dict,
    )
    with pytest.raises(RuntimeError, match=f"it has no {missing}"):
        files.load_model("model.json")
