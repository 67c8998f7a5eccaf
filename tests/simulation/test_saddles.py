"""Paths end on saddles of first order, between minima, and say what they are."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from scipy.optimize import minimize_scalar
from surface_potentials import DoubleWell, Ridge

from distill.config import NebConfig
from distill.data.structures import read_structures, write_structures
from distill.simulation import neb_saddle
from distill.simulation.neb import MODE_KEY, minimum_energy_path
from distill.simulation.neb_units import path_units


def straight(images: int = 7) -> list[Atoms]:
    """A band along y = 0, from x = -1 to 1."""
    return [Atoms("H2", [[x, 0, 0], [0, 4, 0]]) for x in np.linspace(-1, 1, images)]


def ridge(a: float = 0.3, c: float = 0.0) -> Ridge:
    """The potential; beside the mirror its saddles are where `beside` says."""
    found = Ridge()
    found.a, found.c = a, c
    return found


def beside(a: float, c: float, side: int) -> float:
    """Energy (eV) of the saddle on one side of the mirror."""
    found = minimize_scalar(
        lambda y: 1 - a * y**2 + c * y**3 + y**4 / 2, bounds=sorted((0, 2 * side)), method="bounded"
    )
    return float(found.fun)


@pytest.fixture
def config(tmp_path) -> NebConfig:
    band = straight()
    for name, end in (("initial", band[0]), ("final", band[-1])):
        write(tmp_path / f"{name}.xyz", end)
    ends = {name: str(tmp_path / f"{name}.xyz") for name in ("initial", "final")}
    return NebConfig(**ends, images=7, fmax=0.02, max_steps=300, keep=0)


@pytest.mark.parametrize(("c", "side"), [(0.0, 1), (0.1, -1), (-0.1, 1)])
def test_a_saddle_of_second_order_is_left_for_the_lower_side(config, c, side):
    path = minimum_energy_path(config, ridge(c=c), guess=straight())
    assert path.converged
    assert path.left == [pytest.approx(1.0, abs=1e-3)]
    assert path.barrier == pytest.approx(beside(0.3, c, side), abs=2e-3)
    assert path.saddle.negative == 1
    saddle = path.images[int(np.argmax(path.energies))]
    assert np.sign(saddle.positions[0, 1]) == side or c == 0


def test_a_first_band_leaves_the_mirror_by_itself(config):
    path = minimum_energy_path(config, ridge())
    assert path.left == []
    assert path.barrier == pytest.approx(beside(0.3, 0, 1), abs=2e-3)
    assert path.saddle.negative == 1
    # The same band for every model and at every time.
    again = minimum_energy_path(config, ridge())
    np.testing.assert_array_equal(again.energies, path.energies)


def test_a_flat_second_way_is_followed_though_its_force_is_below_the_tolerance(config):
    """From 0.1 Å aside the force is 0.01 eV/Å, half the tolerance, and the gain 1 meV."""
    a = 0.05
    path = minimum_energy_path(config, ridge(a), guess=straight())
    assert path.left == [pytest.approx(1.0, abs=1e-4)]
    assert path.barrier == pytest.approx(1 - a**2 / 2, abs=6e-4)
    assert path.barrier < 0.9995
    assert path.saddle.negative == 1


def test_a_saddle_of_second_order_that_stays_is_marked(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(neb_saddle, "_MOST_ROUNDS", 0)
    path = minimum_energy_path(config, ridge(), guess=straight())
    assert path.barrier == pytest.approx(1.0, abs=1e-3)
    assert (path.saddle.negative, path.left) == (2, [])
    assert path.zero_point_barrier is None
    write_structures(tmp_path / "straight.xyz", path.images)
    [unit] = path_units([config], model="surface_potentials:Ridge", out=tmp_path / "out")
    unit = replace(unit, guess=tmp_path / "straight.xyz")
    unit.run()
    assert unit.summary()["zero_point_barrier_eV"] is None
    assert "ends on a saddle of order 2" in capsys.readouterr().out


def test_without_hessians_nothing_is_known_of_the_saddle(config):
    path = minimum_energy_path(
        config.model_copy(update={"hessian": "none"}), ridge(), guess=straight()
    )
    assert path.barrier == pytest.approx(1.0, abs=1e-3)
    assert path.saddle is None and path.ends[0].curvature is None
    assert path.ends[0].is_minimum is None
    summary = path.summary()
    assert summary["saddle"] is None and summary["zero_point_barrier_eV"] is None


def test_the_hessian_is_of_the_atoms_asked_for(config):
    calls = {}
    for hessian, atoms in {"reacting": [0], "mobile": [0, 1]}.items():
        path = minimum_energy_path(config.model_copy(update={"hessian": hessian}), ridge())
        assert path.saddle.atoms.tolist() == atoms
        assert all(end.curvature.atoms.tolist() == atoms for end in path.ends)
        calls[hessian] = path.calls
    # One atom more at the saddle and at both end points.
    assert calls["mobile"] - calls["reacting"] == 3 * 6


def test_every_call_is_counted_on_the_way_to_a_lower_saddle(config, monkeypatch):
    calls = []
    asked = Ridge.calculate
    monkeypatch.setattr(Ridge, "calculate", lambda *a, **k: (calls.append(1), asked(*a, **k))[1])
    path = minimum_energy_path(config, ridge(), guess=straight())
    assert path.left
    assert path.calls == len(calls)


def test_an_end_point_on_a_saddle_rolls_off(config):
    """With a > 1 the ends at y = 0 lie between two minima, where no force drives them apart."""
    path = minimum_energy_path(config, ridge(1.5))
    for end, image in zip(path.ends, (path.images[0], path.images[-1]), strict=True):
        assert end.is_minimum and end.relaxed
        assert abs(image.positions[0, 1]) > 0.5
    stays = minimum_energy_path(config.model_copy(update={"relax_ends": False}), ridge(1.5))
    assert [end.is_minimum for end in stays.ends] == [False, False]
    assert stays.zero_point_barrier is None


def test_zero_point_energy_lowers_the_barrier_by_the_vibration_that_is_lost(config):
    """In x⁴ - 2x² + y²/2 + z²/2 the two others are the same at the minimum and at the saddle."""
    path = minimum_energy_path(config, DoubleWell())
    lost = path.ends[0].curvature.quanta[-1]
    assert path.barrier - path.zero_point_barrier == pytest.approx(0.5 * lost, rel=1e-3)
    assert path.summary()["crossover_temperature_K"] == pytest.approx(
        path.saddle.crossover_temperature
    )


def test_a_path_is_taken_up_after_a_kill_on_the_second_way(config, tmp_path, monkeypatch):
    whole = minimum_energy_path(config, ridge(), guess=straight())
    with monkeypatch.context() as patch:

        def killed(*arguments):
            raise KeyboardInterrupt

        patch.setattr(neb_saddle, "_pushed", killed)
        with pytest.raises(KeyboardInterrupt):
            minimum_energy_path(config, ridge(), tmp_path / "bands", straight())
    resumed = minimum_energy_path(config, ridge(), tmp_path / "bands", straight())
    assert resumed.left == whole.left
    assert resumed.calls == whole.calls
    np.testing.assert_array_equal(resumed.energies, whole.energies)


def test_the_files_of_a_path_hold_the_imaginary_mode(config, tmp_path):
    [unit] = path_units([config], model="surface_potentials:Ridge", out=tmp_path / "out")
    unit.run()
    summary = unit.summary()
    assert summary["saddle"]["negative"] == 1
    assert summary["end_points_relaxed"] == [True, True]
    images = read_structures(unit.images_path)
    [saddle] = [image for image in images if MODE_KEY in image.arrays]
    assert saddle.info["image"] == int(np.argmax(summary["energies_eV"]))
    mode = summary["saddle"]["imaginary_mode"][0]
    np.testing.assert_allclose(saddle.arrays[MODE_KEY][0], mode, atol=1e-6)
    assert [path.name for path in unit.folder.iterdir() if path.is_dir()] == []
