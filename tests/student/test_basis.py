"""The native basis: its function set, its agreement with ACEpotentials, and refused settings."""

import itertools
import json

import numpy as np
import pytest
from ase.data import chemical_symbols
from ase.io import read
from helpers import GOLDEN_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.config import StudentConfig
from distill.core.errors import UserError
from distill.student.basis import coupling, radial
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.basis.bond_lengths import BOND_LENGTHS, bond_length
from distill.student.basis.coupling import list_bodies, one_particle_functions
from distill.student.engine.assembly import design_rows

GOLDEN = {"cuh_order3": (10.0, 8.0, 6.0), "cuh_order4": (18.0, 12.0, 10.0, 8.0)}


@pytest.mark.parametrize("name", GOLDEN)
def test_tables_are_those_of_acepotentials(name):
    degrees = GOLDEN[name]
    basis = build_basis(BasisSpec(("Cu", "H"), len(degrees), degrees))
    with np.load(GOLDEN_DATA / f"{name}.npz") as golden:
        meta = json.loads(bytes(golden["meta_json"]))
        assert basis.radial_functions == tuple(map(tuple, golden["rspec"].tolist()))
        assert basis.pair_functions == tuple(golden["pairspec"].tolist())
        assert [[list(b) for b in body] for body in basis.coupling.bodies] == meta["nnll"]
        np.testing.assert_array_equal(basis.gamma(), golden["gamma"])
        np.testing.assert_allclose(basis.splines, golden["rnl_spline_coefs"], atol=1e-10)
        np.testing.assert_allclose(basis.pair_splines, golden["pair_spline_coefs"], atol=1e-11)
        for mine, theirs in (
            (basis.transform, "rnl_transform"),
            (basis.envelope, "rnl_envelope"),
            (basis.pair_transform, "pair_transform"),
            (basis.pair_envelope, "pair_envelope"),
            (basis.rcut, "rcuts"),
        ):
            np.testing.assert_allclose(mine, golden[theirs], rtol=1e-14)


@pytest.mark.parametrize(("name", "not_normal"), [("cuh_order3", 0), ("cuh_order4", 14)])
def test_couplings_are_those_of_acepotentials(name, not_normal):
    """Each invariant up to its sign, with ACEpotentials' norm, which is not always 1."""
    degrees = GOLDEN[name]
    found = build_basis(BasisSpec(("Cu", "H"), len(degrees), degrees)).coupling
    with np.load(GOLDEN_DATA / f"{name}.npz") as golden:
        blocks = [golden[f"aa_spec_{order}"] for order in range(1, len(degrees) + 1)]
        rows, columns, values = (golden[f"A2B_{part}"] for part in ("rows", "cols", "vals"))

    def by_product(products, rows, columns, values):
        """The matrix with its columns in an order that does not depend on the program."""
        listed = [tuple(sorted(product)) for block in products for product in block.tolist()]
        place = {product: number for number, product in enumerate(sorted(listed))}
        matrix = np.zeros((rows.max() + 1, len(listed)))
        matrix[rows, [place[listed[column]] for column in columns]] = values
        return matrix

    mine = by_product(found.products, found.rows, found.columns, found.values)
    theirs = by_product(blocks, rows, columns, values)
    signs = np.sign(np.einsum("ij,ij->i", mine, theirs))
    np.testing.assert_allclose(mine * signs[:, None], theirs, atol=1e-13)
    norms = np.linalg.norm(theirs, axis=1)
    assert np.count_nonzero(np.abs(norms - 1) > 1e-9) == not_normal


def test_design_matrix_is_that_of_acepotentials():
    golden = np.load(GOLDEN_DATA / "cuh_order3_design.npz")
    structures = read(GOLDEN_DATA / "train.xyz", ":")
    basis = build_basis(BasisSpec(("Cu", "H"), 3, GOLDEN["cuh_order3"]))
    blocks = [design_rows(basis, structures[i]) for i in golden["index"]]
    rows = np.concatenate([np.vstack([e[None], f, v]) for e, f, v in blocks])
    assert rows.shape == golden["A"].shape

    scale = np.linalg.norm(golden["A"], axis=0)
    used = scale > 1e-12
    assert np.abs(rows[:, ~used]).max(initial=0.0) < 1e-10
    mine, theirs = rows[:, used] / scale[used], golden["A"][:, used] / scale[used]
    solution, *_ = np.linalg.lstsq(mine, theirs, rcond=1e-13)
    assert np.linalg.norm(mine @ solution - theirs) / np.linalg.norm(theirs) < 1e-8

    # not only the space: each column is the same up to its sign
    signs = np.sign(np.einsum("ij,ij->j", mine, theirs))
    np.testing.assert_allclose(mine * signs, theirs, atol=1e-11)


@pytest.mark.parametrize("n_species", [1, 2, 3])
def test_bodies_are_all_products_within_the_level(n_species):
    degrees, wl = (5.0, 4.0, 3.5), 1.5
    functions = one_particle_functions(n_species, max(degrees), wl)
    expected = set()
    for order, degree in enumerate(degrees, 1):
        for body in itertools.combinations_with_replacement(functions, order):
            ells = [ell for _, ell in body]
            level = sum(n / n_species + wl * ell for n, ell in body)
            if level <= degree + 1e-12 and sum(ells) % 2 == 0 and 2 * max(ells) <= sum(ells):
                expected.add(tuple(sorted(body)))
    found = list_bodies(n_species, degrees, wl, limit=10_000)
    assert len(found) == len(set(found))
    assert {tuple(sorted(body)) for body in found} == expected
    assert [len(body) for body in found] == sorted(len(body) for body in found)


def test_coupling_rows_of_one_body_are_independent(random_student):
    basis = random_student(("Cu",), (6.0, 6.0, 6.0, 7.0)).basis
    matrix = np.zeros((basis.n_many_body, sum(map(len, basis.coupling.products))))
    matrix[basis.coupling.rows, basis.coupling.columns] = basis.coupling.values
    assert np.linalg.matrix_rank(matrix) == len(matrix)


def test_a_coupling_is_read_back_from_the_cache(monkeypatch):
    functions = one_particle_functions(1, 4.0, 1.5)
    bodies = list_bodies(1, (4.0, 4.0), 1.5, limit=100)
    fresh = coupling.couple(bodies, functions)
    monkeypatch.setattr(coupling, "_compute", lambda *_: pytest.fail("coupled again"))
    cached = coupling.couple(bodies, functions)
    np.testing.assert_array_equal(fresh.values, cached.values)
    assert fresh.bodies == cached.bodies


def test_a_damaged_cache_entry_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    functions = one_particle_functions(1, 4.0, 1.5)
    bodies = list_bodies(1, (4.0, 4.0), 1.5, limit=100)
    fresh = coupling.couple(bodies, functions)
    (entry,) = (tmp_path / "distill" / "coupling").iterdir()
    entry.write_bytes(entry.read_bytes()[:50])
    np.testing.assert_array_equal(coupling.couple(bodies, functions).values, fresh.values)


def test_a_coupling_by_another_program_is_not_taken_for_this_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    functions = one_particle_functions(1, 4.0, 1.5)
    bodies = list_bodies(1, (4.0, 4.0), 1.5, limit=100)
    coupling.couple(bodies, functions)
    other = tmp_path / "coupling.py"
    other.write_text("another way to scale them")
    monkeypatch.setattr(coupling, "__file__", str(other))
    monkeypatch.setattr(coupling, "_compute", lambda *_: pytest.fail("coupled again"))
    with pytest.raises(pytest.fail.Exception, match="coupled again"):
        coupling.couple(bodies, functions)


def test_every_element_has_a_bond_length():
    for symbol in chemical_symbols[1:104]:
        assert 1.0 < bond_length(symbol, symbol) < 6.0
    assert bond_length("Cu", "H") == (BOND_LENGTHS["Cu"] + BOND_LENGTHS["H"]) / 2
    with pytest.raises(UserError, match="'Xx' is not a chemical element"):
        bond_length("Xx", "H")


def test_polynomials_are_orthonormal():
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for exponent in (0.0, 4.0):
        values = radial.jacobi_polynomials(nodes, 12, exponent)
        gram = np.einsum("i,ij,ik->jk", weights * (1 - nodes**2) ** exponent, values, values)
        np.testing.assert_allclose(gram, np.eye(12), atol=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=radial.NODES, max_size=radial.NODES))
@settings(max_examples=20, deadline=None)
def test_splines_pass_through_their_nodes(values):
    nodes = np.linspace(-1, 1, radial.NODES)
    coefficients = radial.spline_coefficients(np.array(values)[:, None])
    found = radial.spline_values(nodes, coefficients, radial.Grid())[:, 0]
    np.testing.assert_allclose(found, values, atol=1e-12)


def test_settings_become_a_spec():
    config = StudentConfig(
        order=2, totaldegree=[5, 4], rcut={"Cu-Cu": 5.0, "Cu-H": 4.0, "H-H": 3.0}, r0=2.0
    )
    spec = BasisSpec.from_config(config, ["H", "Cu", "H"])
    assert spec.elements == ("Cu", "H")
    assert spec.cutoff("H", "Cu") == 4.0
    assert spec.length_scale("H", "H") == 2.0
    basis = build_basis(spec)
    np.testing.assert_array_equal(basis.rcut, [[5.0, 4.0], [4.0, 3.0]])
    one_number = BasisSpec.from_config(StudentConfig(order=3, totaldegree=6), ["Si"])
    assert one_number.totaldegree == (6.0, 6.0, 6.0)


def test_without_pair_term_there_are_no_pair_functions():
    basis = build_basis(BasisSpec(("Cu",), 1, (5.0,), pair=False))
    assert basis.n_pair == 0
    assert basis.n_functions == 5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"elements": ("Cu", "Cu"), "order": 1, "totaldegree": (4.0,)}, "different chemical"),
        ({"elements": ("Qq",), "order": 1, "totaldegree": (4.0,)}, "different chemical"),
        ({"elements": ("Cu",), "order": 7, "totaldegree": (4.0,) * 7}, "order 7"),
        ({"elements": ("Cu",), "order": 2, "totaldegree": (4.0,)}, "1 total degrees"),
        ({"elements": ("Cu",), "order": 1, "totaldegree": (0.5,)}, "has no function"),
        ({"elements": ("Cu",), "order": 1, "totaldegree": (4.0,), "rcut": {}}, "Cu-Cu"),
        ({"elements": ("Cu", "H"), "order": 5, "totaldegree": (24.0,) * 5}, "more than"),
    ],
)
def test_impossible_bases_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        build_basis(BasisSpec(**spec))
