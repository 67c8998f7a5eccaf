"""Minimum energy paths: a known barrier, presets on four facets, resuming, honest convergence."""

from typing import get_args

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write
from surface_potentials import DOUBLE_WELL, STICKY, DoubleWell, MorseSurface

from distill.config import Facet, NebConfig, SlabConfig
from distill.core.errors import UserError
from distill.data.structures import read_structures, reference_energy
from distill.simulation import neb_band, neb_minima
from distill.simulation.neb import minimum_energy_path
from distill.simulation.neb_endpoints import end_points
from distill.simulation.neb_initial_path import fitted_to_cell, interpolated
from distill.simulation.neb_units import KeptUnit, path_structures, path_units


@pytest.fixture
def double_well(tmp_path) -> NebConfig:
    """A path between the two minima, from end points that need relaxing and lie off the line."""
    for name, x in (("initial", -0.9), ("final", 1.1)):
        # The second atom tells the interpolation how far apart things are; it feels no force.
        write(tmp_path / f"{name}.xyz", Atoms("H2", [[x, 0.2, 0.1], [0, 4, 0]]))
    return NebConfig(
        initial=str(tmp_path / "initial.xyz"),
        final=str(tmp_path / "final.xyz"),
        images=7,
        fmax=0.01,
        max_steps=200,
        keep=12,
    )


def test_barrier_of_a_known_potential(double_well):
    path = minimum_energy_path(double_well, DoubleWell())
    assert path.converged
    assert path.fmax < 0.01
    assert path.barrier == pytest.approx(1.0, abs=1e-3)
    assert path.energies[-1] == pytest.approx(0.0, abs=1e-3)
    saddle = path.images[int(np.argmax(path.energies))].positions[0]
    np.testing.assert_allclose(saddle, 0, atol=0.02)
    assert path.coordinates[-1] == pytest.approx(2.0, abs=0.05)


def test_every_force_call_is_counted_once(double_well):
    calculator = DoubleWell()
    calls = []
    original = calculator.calculate
    calculator.calculate = lambda *args, **kw: (calls.append(1), original(*args, **kw))[1]
    path = minimum_energy_path(double_well, calculator)
    assert path.calls == len(calls)
    # One call an interior image and step, and once each end point.
    assert len(calls) < 5 * (path.steps + 6) + 2 * 40


def test_unconverged_path_is_marked_or_refused(double_well):
    short = double_well.model_copy(update={"max_steps": 2, "relax_ends": False})
    path = minimum_energy_path(short, DoubleWell())
    assert not path.converged
    assert path.steps <= 2
    strict = short.model_copy(update={"require_convergence": True})
    with pytest.raises(UserError, match=r"did not converge: largest force .* after 2 steps"):
        minimum_energy_path(strict, DoubleWell())


@pytest.mark.parametrize("saves", [1, 2, 4])
def test_a_path_killed_anywhere_goes_the_same_way(double_well, tmp_path, monkeypatch, saves):
    monkeypatch.setattr(neb_band, "_SEGMENT", 3)
    whole = minimum_energy_path(double_well, DoubleWell())

    class Killed(Exception):
        pass

    left = [saves]

    def save(path, state, save=neb_band.save_state):
        save(path, state)
        left[0] -= 1
        if not left[0]:
            raise Killed

    for module in (neb_band, neb_minima):
        monkeypatch.setattr(module, "save_state", save)
    with pytest.raises(Killed):
        minimum_energy_path(double_well, DoubleWell(), tmp_path / "bands")
    resumed = minimum_energy_path(double_well, DoubleWell(), tmp_path / "bands")
    assert (resumed.steps, resumed.calls) == (whole.steps, whole.calls)
    np.testing.assert_array_equal(resumed.energies, whole.energies)
    for one, other in zip(resumed.images, whole.images, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize("keep", [0, 4, 7, 20])
def test_kept_structures_lie_along_the_path_with_their_labels(double_well, keep):
    config = double_well.model_copy(update={"keep": keep})
    path = minimum_energy_path(config, DoubleWell())
    structures, calls = path_structures(path.images, config, DoubleWell())
    assert len(structures) == keep
    assert calls == max(keep - 7, 0)
    x = [atoms.positions[0, 0] for atoms in structures]
    assert x == sorted(x)
    for atoms in structures:
        expected = atoms.copy()
        expected.calc = DoubleWell()
        assert reference_energy(atoms) == pytest.approx(expected.get_potential_energy())


@pytest.mark.parametrize("facet", get_args(Facet))
@pytest.mark.parametrize("site", ["bridge", "hollow", "top"])
def test_preset_end_points_are_molecule_and_apart_atoms(facet, site):
    size = (3, 2) if facet == "211" else (2, 2)
    slab = SlabConfig(size=size, layers=3, lattice_constant=3.65)
    first, last = end_points(NebConfig(facet=facet, site=site, slab=slab), EMT())
    n = len(first) - 2
    assert first.get_distance(-1, -2) == pytest.approx(0.75)
    assert last.get_distance(-1, -2, mic=True) > 1.2
    assert first.positions[-2:, 2].min() - first.info["top"] > 1.5
    for atom in (n, n + 1):
        assert last.get_distances(atom, range(n), mic=True).min() == pytest.approx(1.75, abs=0.01)
    np.testing.assert_array_equal(first.positions[:n], last.positions[:n])


@pytest.mark.parametrize("facet", get_args(Facet))
@pytest.mark.parametrize("images", [3, 9])
def test_first_band_brings_the_molecule_down_whole(facet, images):
    size = (3, 2) if facet == "211" else (2, 2)
    slab = SlabConfig(size=size, layers=3, lattice_constant=3.65, vacuum=16.0)
    config = NebConfig(facet=facet, slab=slab, images=images)
    first, last = end_points(config, EMT())
    above = first.copy()
    # Relaxed: the molecule goes out and drifts, an atom hops to where its image is nearer.
    first.positions[-2:] += [0.5, 0.5, 1.0]
    last.positions[-1, :2] += 0.3 * (last.positions[-1] - last.positions[-2])[:2]
    band = interpolated(config, first, last, above)
    assert len(band) == images
    np.testing.assert_array_equal(band[0].positions, first.positions)
    np.testing.assert_array_equal(band[-1].positions, last.positions)
    n = len(first) - 2
    bonds = [image.get_distance(-1, -2, mic=True) for image in band]
    gaps = [
        min(image.get_distances(k, range(n), mic=True).min() for k in (n, n + 1)) for image in band
    ]
    assert all(bond < 1.0 for bond, gap in zip(bonds, gaps, strict=True) if gap > 2.3)
    assert min(gap for bond, gap in zip(bonds, gaps, strict=True) if bond < 1.0) < 2.2


def test_a_band_fits_another_lattice_constant():
    small, large = (
        end_points(NebConfig(slab=SlabConfig(size=(2, 2), layers=3, lattice_constant=a)), EMT())[0]
        for a in (3.6, 3.7)
    )
    [fitted] = fitted_to_cell([small], large)
    np.testing.assert_allclose(fitted.positions[:-2], large.positions[:-2], atol=0.2)
    np.testing.assert_allclose(
        fitted.get_scaled_positions(), small.get_scaled_positions(), atol=1e-12
    )
    with pytest.raises(UserError, match="a first band of H2Cu12 was given for a path of Cu12"):
        fitted_to_cell([small], large[:-2])


@pytest.mark.physics
def test_preset_path_on_a_surface_and_its_files(tmp_path):
    slab = SlabConfig(size=(3, 3), layers=2, fixed_layers=2, vacuum=12.0, lattice_constant=3.6)
    config = NebConfig(slab=slab, images=5, fmax=0.2, max_steps=60, keep=7)
    [unit] = path_units([config], model=STICKY, out=tmp_path)
    assert unit.name.startswith("111_bridge_")
    unit.run()
    summary = unit.summary()
    images = read_structures(tmp_path / f"{unit.name}.xyz")
    assert len(images) == len(summary["energies_eV"]) == 5
    kept = KeptUnit(tmp_path / "kept", unit.name, unit)
    kept.run()
    assert len(kept.structures()) == 7
    assert not list(tmp_path.glob("*.npz"))
    assert images[0].get_distance(-1, -2) == pytest.approx(0.74, abs=0.05)
    assert images[-1].positions[-2:, 2].max() < images[0].positions[-2:, 2].min()
    atoms = images[2].copy()
    atoms.calc = MorseSurface()
    assert reference_energy(images[2]) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


def test_bad_end_points_are_explained(double_well, tmp_path):
    write(tmp_path / "other.xyz", Atoms("HLi", [[1, 0, 0], [0, 4, 0]]))
    wrong = double_well.model_copy(update={"final": str(tmp_path / "other.xyz")})
    with pytest.raises(UserError, match="differ in their atoms"):
        minimum_energy_path(wrong, DoubleWell())
    same = double_well.model_copy(update={"final": double_well.initial})
    with pytest.raises(UserError, match="are one structure"):
        minimum_energy_path(same, DoubleWell())
    missing = double_well.model_copy(update={"final": str(tmp_path / "missing.xyz")})
    with pytest.raises(UserError, match=r"missing.xyz does not exist"):
        minimum_energy_path(missing, DoubleWell())


def test_damaged_checkpoint_is_named(double_well, tmp_path):
    for name in ("band.npz", "initial.npz"):
        (tmp_path / name).write_bytes(b"PK not a zip")
        with pytest.raises(UserError, match=f"{name} is damaged"):
            minimum_energy_path(double_well, DoubleWell(), tmp_path)


def test_import_path_of_the_known_potential(tmp_path, double_well):
    [unit] = path_units([double_well], model=DOUBLE_WELL, out=tmp_path)
    assert unit.name.startswith("path_")
    unit.run()
    assert unit.summary()["barrier_eV"] == pytest.approx(1.0, abs=1e-3)
