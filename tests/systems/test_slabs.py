"""Slabs: counts, layers, fixed atoms, heights, lattice constants."""

from typing import get_args

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedPlane
from ase.io import write
from pydantic import ValidationError

from distill.config import Facet, SlabConfig
from distill.core.errors import UserError
from distill.systems.slabs import (
    build_slab,
    expanded,
    height_above,
    lattice_constant,
    thickness_message,
    timing_slab,
    width_message,
)

A = 3.65


@pytest.mark.parametrize("facet", get_args(Facet))
def test_slab_has_its_atoms_fixed_half_and_vacuum(facet):
    slab = build_slab(SlabConfig(size=(3, 2), layers=4, fixed_layers=2, vacuum=12.0), facet, A)
    assert len(slab) == 24
    assert slab.pbc.all()
    fixed = slab.constraints[0].index
    assert len(fixed) == 12
    free = np.setdiff1d(np.arange(24), fixed)
    assert slab.positions[fixed, 2].max() < slab.positions[free, 2].min() + 1e-9
    gap = slab.cell[2, 2] - np.ptp(slab.positions[:, 2])
    assert gap == pytest.approx(12.0, abs=1e-6)
    assert slab.info["top"] == pytest.approx(slab.positions[:, 2].max())
    nearest = slab.get_all_distances(mic=True)[~np.eye(24, dtype=bool)].min()
    assert nearest == pytest.approx(A / np.sqrt(2))


@pytest.mark.parametrize("facet", get_args(Facet))
def test_timing_slab_is_the_published_size_and_free_of_overlaps(facet):
    slab = timing_slab(facet)
    assert len(slab) == 56
    assert slab.get_chemical_symbols() == ["Cu"] * 54 + ["H"] * 2
    h_to_metal = slab.get_distances(54, range(54), mic=True).min()
    assert 1.3 < h_to_metal < 4.0
    assert slab.get_distance(54, 55) == pytest.approx(0.75, abs=0.01)


def test_wrong_sizes_are_explained():
    with pytest.raises(UserError, match="multiple of 3 for the 211"):
        build_slab(SlabConfig(size=(2, 2)), "211", A)
    with pytest.raises(UserError, match=r"fixed_layers is 5, more than the 4 layers"):
        build_slab(SlabConfig(layers=4, fixed_layers=5), "111", A)


def test_lattice_constant_is_the_minimum_of_the_energy():
    a = lattice_constant("Cu", EMT())

    def energy(lattice: float) -> float:
        atoms = bulk("Cu", a=lattice)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    assert energy(a) < energy(a - 0.005)
    assert energy(a) < energy(a + 0.005)


def test_lattice_constant_grows_with_temperature():
    config = SlabConfig(lattice_constant=3.6528)
    # The published 0 K and 925 K slabs: 3.6528 and 3.71 Å.
    assert expanded(config, 3.6528, 925.0) == pytest.approx(3.71, abs=2e-4)


def test_non_fcc_metal_is_refused():
    with pytest.raises(UserError, match="expected an fcc metal"):
        lattice_constant("Fe", EMT())


def test_thin_slab_is_mentioned_and_thick_one_is_not():
    calculator = EMT()
    calculator.r_max = 6.0
    thin = build_slab(SlabConfig(layers=3), "100", A)
    thick = build_slab(SlabConfig(layers=5), "100", A)
    assert "thinner than the model's cutoff of 6 Å" in thickness_message(thin, calculator, "100")
    assert thickness_message(thick, calculator, "100") is None


def test_a_slab_narrower_than_the_cutoff_is_mentioned():
    calculator = EMT()
    calculator.r_max = 6.0
    narrow = build_slab(SlabConfig(size=(2, 3)), "111", A)
    message = width_message(narrow, calculator, "111")
    assert f"repeats after {A * np.sqrt(2):.2f} Å, within the model's cutoff of 6 Å" in message
    assert f"one for each {A**2 * np.sqrt(3) / 4 * 6:.1f} Å²" in message
    assert width_message(build_slab(SlabConfig(), "111", A), calculator, "111") is None
    # The difference of the two edges is shorter than either.
    skewed = narrow.copy()
    skewed.set_cell([[10.0, 0, 0], [9.0, 4.0, 0], narrow.cell[2]])
    assert "repeats after 4.12 Å" in width_message(skewed, calculator, "111")


def test_height_above_touches_the_nearest_atom():
    slab = build_slab(SlabConfig(), "100", A)
    lateral = slab.positions[-1, :2] + [0.8, 0.3]
    z = height_above(slab, lateral, 1.8)
    probe = np.array([*lateral, z])
    from ase.geometry import find_mic

    _, distances = find_mic(slab.positions - probe, slab.cell, pbc=(True, True, False))
    assert distances.min() == pytest.approx(1.8)


@pytest.fixture
def steps(tmp_path):
    """Four layers across the border of their cell, in another order, with nothing held."""
    slab = fcc111("Cu", (2, 2, 4), a=A, vacuum=6.0)
    slab.pbc = True
    slab.positions[:, 2] += 9.0
    slab.wrap()
    shuffled = slab[np.random.default_rng(0).permutation(len(slab))]
    path = tmp_path / "slab.xyz"
    write(path, shuffled, format="extxyz")
    return path


def test_users_slab_is_put_together_and_its_bottom_layers_held(steps):
    slab = build_slab(SlabConfig(file=str(steps), fixed_layers=1), "111", A)
    plain = build_slab(SlabConfig(size=(2, 2), layers=4, fixed_layers=1, vacuum=12.0), "111", A)
    assert len(slab) == 16
    np.testing.assert_allclose(slab.positions[:, 2], plain.positions[:, 2], atol=1e-6)
    np.testing.assert_array_equal(slab.constraints[0].index, plain.constraints[0].index)
    assert slab.info["top"] == pytest.approx(plain.info["top"])
    nearest = slab.get_all_distances(mic=True)[~np.eye(16, dtype=bool)].min()
    assert nearest == pytest.approx(A / np.sqrt(2), abs=1e-6)


def test_users_constraints_are_kept(steps, tmp_path):
    slab = build_slab(SlabConfig(file=str(steps)), "111", A)
    slab.info = {}
    slab.set_constraint(FixAtoms(indices=[0, 3]))
    write(tmp_path / "held.xyz", slab, format="extxyz")
    again = build_slab(SlabConfig(file=str(tmp_path / "held.xyz"), fixed_layers=3), "100", A)
    assert again.constraints[0].index.tolist() == [0, 3]


def test_other_constraints_of_a_users_slab_are_refused_and_its_masses_kept(steps, tmp_path):
    slab = build_slab(SlabConfig(file=str(steps)), "111", A)
    slab.set_masses(np.arange(60.0, 76.0))
    write(tmp_path / "slab.traj", slab)
    kept = build_slab(SlabConfig(file=str(tmp_path / "slab.traj")), "111", A)
    np.testing.assert_array_equal(kept.get_masses(), slab.get_masses())
    slab.set_constraint([FixedPlane(range(4), (0, 0, 1))])
    write(tmp_path / "slab.traj", slab)
    with pytest.raises(UserError, match=r"slab\.traj has the constraints FixedPlane"):
        build_slab(SlabConfig(file=str(tmp_path / "slab.traj")), "111", A)


def test_wrong_users_slabs_are_explained(steps, tmp_path):
    path = tmp_path / "bulk.xyz"
    write(path, bulk("Cu", a=A, cubic=True), format="extxyz")
    with pytest.raises(UserError, match=r"expected a slab with a gap of 3 Å .* found 1\.8"):
        build_slab(SlabConfig(file=str(path)), "111", A)
    write(path, bulk("Cu", a=A), format="extxyz")
    with pytest.raises(UserError, match="two vectors in the plane and the third along z"):
        build_slab(SlabConfig(file=str(path)), "111", A)
    with pytest.raises(UserError, match="fixed_layers is 5, more than the 4 layers of"):
        build_slab(SlabConfig(file=str(steps), fixed_layers=5), "111", A)
    with pytest.raises(ValidationError, match="brings its own layers, vacuum: leave them out"):
        SlabConfig(file=str(steps), layers=5, vacuum=12.0)


def test_a_slab_that_is_held_on_the_side_of_the_molecule_is_refused(steps, tmp_path):
    slab = build_slab(SlabConfig(file=str(steps)), "111", A)
    slab.info = {}
    slab.positions[:, 2] *= -1
    write(tmp_path / "turned.xyz", slab, format="extxyz")
    with pytest.raises(UserError, match="fixed atoms lie above the others"):
        build_slab(SlabConfig(file=str(tmp_path / "turned.xyz")), "111", A)
    slab.set_constraint(FixAtoms(range(len(slab))))
    write(tmp_path / "rigid.xyz", slab, format="extxyz")
    rigid = build_slab(SlabConfig(file=str(tmp_path / "rigid.xyz")), "111", A)
    assert len(rigid.constraints[0].index) == len(rigid)
