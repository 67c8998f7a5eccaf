"""Arrays and keywords that go over to Julia."""

import numpy as np
import pytest
from ase import Atoms
from julia_support import E0, random_student, small_config, some_structures

from distill.config import LabelWeights, SolverConfig
from distill.core.errors import UserError
from distill.student.basis.basis import BasisSpec
from distill.student.julia import julia_arguments


def test_a_label_of_weight_zero_may_be_missing():
    structures = some_structures()
    del structures[1].arrays["REF_forces"]
    weights = {"default": LabelWeights(), "slab": LabelWeights(forces=0)}
    labels = julia_arguments.label_arrays(structures, weights)
    np.testing.assert_array_equal(labels["weights"][1], [30, 0, 0])
    np.testing.assert_array_equal(labels["forces"][4:14], 0.0)


def test_a_stress_without_a_volume_is_refused():
    structures = some_structures()
    structures[2].info["REF_stress"] = np.zeros(6)
    with pytest.raises(UserError, match="training structures 2 have a stress but no volume"):
        julia_arguments.label_arrays(structures, {"default": LabelWeights()})


@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        (SolverConfig(committee=0), {"kind": "blr", "factorization": "cholesky", "committee": 0}),
        (SolverConfig(kind="qr", strength=1e-3), {"kind": "qr", "lambda": 1e-3}),
        (SolverConfig(kind="qr"), {"kind": "qr", "lambda": 0.0}),
        (SolverConfig(kind="rrqr", rtol=1e-6), {"kind": "rrqr", "rtol": 1e-6}),
        (SolverConfig(kind="rrqr"), {"kind": "rrqr", "rtol": 1e-9}),
        (
            SolverConfig(kind="lsqr"),
            {"kind": "lsqr", "damp": 0.0, "atol": 1e-12, "conlim": 1e16, "maxiter": 100_000},
        ),
        (
            SolverConfig(kind="lsqr", strength=0.1, atol=1e-7, conlim=1e8, max_iterations=7),
            {"kind": "lsqr", "damp": 0.1, "atol": 1e-7, "conlim": 1e8, "maxiter": 7},
        ),
    ],
)
def test_solver_arguments(solver, expected):
    found = julia_arguments.solver_arguments(solver, 20, seed=1)
    assert found.pop("seed") == julia_arguments.solver_arguments(solver, 20, seed=1)["seed"]
    assert found == expected


def test_a_triangular_factor_takes_an_svd():
    arguments = julia_arguments.solver_arguments(SolverConfig(committee=0), 20, seed=1)
    assert julia_arguments.of_factors(arguments) == {**arguments, "factorization": "svd"}


def test_truncated_svd_holds_a_tenth_out():
    found = julia_arguments.solver_arguments(SolverConfig(kind="tsvd"), 20, seed=1)["validation"]
    assert len(set(found.tolist())) == 2
    assert found.min() >= 1
    assert found.max() <= 20


def test_tables_over_pairs_become_matrices():
    config = small_config(
        rcut={"Cu-Cu": 6.0, "Cu-H": 5.0, "H-H": 4.0}, r0={"Cu-Cu": 2.6, "H-Cu": 1.8, "H-H": 0.8}
    )
    found = julia_arguments.model_arguments(BasisSpec.from_config(config, ["Cu", "H"]), E0)
    np.testing.assert_array_equal(found["rcut"], [[6.0, 5.0], [5.0, 4.0]])
    np.testing.assert_array_equal(found["r0"], [[2.6, 1.8], [1.8, 0.8]])


def test_elements_that_acepotentials_has_no_bond_length_for_get_ours():
    spec = BasisSpec(("Mn", "Cu"), 2, (4.0, 4.0))
    found = julia_arguments.model_arguments(spec, {"Mn": 0.0, "Cu": 0.0})
    assert found["r0"] is not None
    np.testing.assert_array_equal(np.diag(found["r0"]), [2.5, 2.6])


@pytest.mark.parametrize("index", range(4))
def test_cells_for_julia_change_neither_energy_nor_forces(index):
    student = random_student(small_config())
    atoms = some_structures()[index]
    arrays = julia_arguments.geometry_arrays([atoms], student.cutoff)
    moved = Atoms(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        cell=arrays["cells"][0],
        pbc=arrays["periodic"][0],
    )
    scaled = moved.positions @ np.linalg.inv(moved.cell[:])
    assert np.all((scaled > -1e-12) & (scaled < 1 + 1e-12))
    expected, found = student.predict(atoms), student.predict(moved)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)
    # Without periodicity the enclosing cell must not bring images within reach either.
    moved.pbc = True
    if not atoms.pbc.any():
        assert student.energy(moved) == pytest.approx(expected[0], abs=1e-10)
