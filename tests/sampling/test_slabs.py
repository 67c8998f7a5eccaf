"""Slabs: counts, layers, fixed atoms, heights, lattice constants."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from distill.config import SlabConfig
from distill.errors import UserError
from distill.sampling.slabs import (
    FACETS,
    build_slab,
    height_above,
    lattice_constant,
    lattice_constant_at,
    thickness_message,
    timing_slab,
)

A = 3.65


@pytest.mark.parametrize("facet", FACETS)
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


@pytest.mark.parametrize("facet", FACETS)
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
    assert lattice_constant_at(config, 925.0, EMT()) == pytest.approx(3.71, abs=2e-4)


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


def test_height_above_touches_the_nearest_atom():
    slab = build_slab(SlabConfig(), "100", A)
    lateral = slab.positions[-1, :2] + [0.8, 0.3]
    z = height_above(slab, lateral, 1.8)
    probe = np.array([*lateral, z])
    from ase.geometry import find_mic

    _, distances = find_mic(slab.positions - probe, slab.cell, pbc=(True, True, False))
    assert distances.min() == pytest.approx(1.8)
