"""Runs of a defect: activation energy, resuming, bounds, and runs that go wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from lattice_toys import CosineLattice, write_crystal

from distill.config import CalculatorConfig, DiffusionConfig, ParallelConfig
from distill.core.errors import UserError
from distill.observables.diffusion import diffusion_runs as trajectories
from distill.observables.diffusion.diffusion import run_diffusion
from distill.simulation.dynamics import langevin

SERIAL = ParallelConfig(backend="serial")


def settings(folder: Path, **changes: Any) -> DiffusionConfig:
    """A Li atom in a framework of eight F atoms, short runs."""
    folder.mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "structure": write_crystal(folder / "crystal.xyz"),
        "defect": "interstitial",
        "element": "Li",
        "relax_volume": False,
        "temperatures": [400.0],
        "runs": 2,
        "time": 8000.0,
        "equilibration_time": 200.0,
        "friction": 0.01,
        "time_step": 10.0,
        "save_every": 100.0,
        "checkpoint_every": 2000.0,
        "fit_start": 200.0,
        "fit_end": 1000.0,
    }
    return DiffusionConfig(**{**values, **changes})


def run(config: DiffusionConfig, out: Path, **models: str | CalculatorConfig) -> dict[str, Any]:
    specs = {
        name: f"lattice_toys:{model}" if isinstance(model, str) else model
        for name, model in models.items()
    }
    return run_diffusion(config, models=specs, out=out, seed=5, parallel=SERIAL)


@pytest.mark.physics
def test_activation_energies_are_the_barriers(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        structure=write_crystal(tmp_path / "filled.xyz", filled=True),
        defect="none",
        temperatures=[300.0, 430.0, 700.0],
        time=30000.0,
        checkpoint_every=20000.0,
        fit_start=500.0,
        fit_end=2500.0,
    )
    harder = CalculatorConfig(path="lattice_toys:CosineLattice", args={"barrier": 0.12})
    result = run(config, tmp_path / "out", teacher="CosineLattice", student=harder)
    for name, barrier in (("teacher", 0.08), ("student", 0.12)):
        model = result["models"][name]
        low, high = model["arrhenius"]["activation_energy_interval"]
        # Jumps over several sites at low friction make the slope differ from the barrier a little.
        assert low - 0.01 < barrier < high + 0.01
        assert high - low < 0.08
        values = [row["value"] for row in model["temperatures"]]
        assert values == sorted(values)
        assert model["nanoseconds_per_day"] > 0
    difference = result["differences"]["student"]
    assert difference["to"] == "teacher"
    low, high = difference["arrhenius"]["activation_energy_interval"]
    assert low - 0.01 < 0.04 < high + 0.01
    assert all(row["value"] < 0 for row in difference["log_diffusivity"])
    assert json.loads((tmp_path / "out" / "diffusion.json").read_text()) == result


def test_a_killed_run_goes_on_to_bitwise_the_same_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path)
    whole = run(config, tmp_path / "whole", student="CosineLattice")
    produce = trajectories._produce

    def killed(unit: Any, index: int, *rest: Any) -> Any:
        if index == 3:
            raise KeyboardInterrupt
        return produce(unit, index, *rest)

    monkeypatch.setattr(trajectories, "_produce", killed)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "killed", student="CosineLattice")
    done: list[int] = []

    def counted(unit: Any, index: int, *rest: Any) -> Any:
        done.append(index)
        return produce(unit, index, *rest)

    monkeypatch.setattr(trajectories, "_produce", counted)
    resumed = run(config, tmp_path / "killed", student="CosineLattice")
    assert done == [3, 4, 1, 2, 3, 4]
    for file in ("student_400K_0.npz", "student_400K_1.npz"):
        first = np.load(tmp_path / "whole" / "runs" / file)
        second = np.load(tmp_path / "killed" / "runs" / file)
        assert np.array_equal(first["positions"], second["positions"])
        assert np.array_equal(first["energies"], second["energies"])
    assert len(first["positions"]) == 81
    assert without_timing(resumed) == without_timing(whole)
    run(config, tmp_path / "killed", student="CosineLattice")
    assert len(done) == 6


def without_timing(result: dict[str, Any]) -> dict[str, Any]:
    models = {
        name: {key: value for key, value in model.items() if key != "nanoseconds_per_day"}
        for name, model in result["models"].items()
    }
    return {**result, "models": models}


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    config = settings(tmp_path, time=4000.0)
    serial = run(config, tmp_path / "serial", student="CosineLattice")
    parallel = run_diffusion(
        config,
        models={"student": Path("lattice_toys:CosineLattice")},
        out=tmp_path / "parallel",
        seed=5,
        parallel=ParallelConfig(backend="local", workers=2),
    )
    assert without_timing(serial) == without_timing(parallel)


def test_nothing_that_hops_gives_a_bound_and_no_fit(tmp_path: Path) -> None:
    config = settings(tmp_path, temperatures=[300.0, 400.0])
    model = run(config, tmp_path / "out", student="stiff")["models"]["student"]
    for row in model["temperatures"]:
        assert row["value"] is None
        assert row["upper_bound"] > 0
        assert "no atom left its site" in row["reason"]
    assert model["arrhenius"] is None
    assert "0 of 2 temperatures" in model["arrhenius_reason"]


@pytest.mark.parametrize(("model", "reason"), [("runaway", "temperature"), ("liquid", "melted")])
def test_runs_gone_wrong_are_left_out_with_the_reason(
    tmp_path: Path, model: str, reason: str
) -> None:
    result = run(settings(tmp_path, ensemble="nve"), tmp_path / "out", student=model)
    row = result["models"]["student"]["temperatures"][0]
    assert row["value"] is None
    assert row["reason"] == "every run was left out"
    assert [r["used"] for r in row["runs"]] == [False, False]
    assert all(reason in r["reason"] for r in row["runs"])


def test_too_short_runs_are_refused_before_they_are_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model teacher: a run of 1500 fs is too short"):
        run(
            settings(tmp_path, times={"teacher": 1500.0}),
            tmp_path / "out",
            teacher="CosineLattice",
            student="CosineLattice",
        )
    with pytest.raises(UserError, match="foundation is none of the models"):
        run(
            settings(tmp_path, times={"foundation": 1500.0}),
            tmp_path / "out",
            student="CosineLattice",
        )
    assert not (tmp_path / "out" / "runs").exists()


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    run(settings(tmp_path, time=3000.0), tmp_path / "out", student="stiff")
    with pytest.raises(UserError, match="other settings"):
        run(settings(tmp_path, time=4000.0), tmp_path / "out", student="stiff")


def test_a_crystal_without_the_element_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no Li"):
        run(settings(tmp_path, defect="none"), tmp_path / "out", student="stiff")


@pytest.mark.physics
def test_langevin_dynamics_has_the_right_temperature_and_spread() -> None:
    """Equipartition in a harmonic well, within the statistical error of the run."""
    from ase import Atoms, units

    temperature, atoms = 300.0, Atoms("F200", positions=np.zeros((200, 3)), cell=[9.0] * 3)
    calculator = CosineLattice(framework=5.0)
    steps = langevin(
        atoms,
        calculator,
        time_step=2.0,
        temperature=temperature,
        friction=0.05,
        generator=np.random.default_rng(0),
    )
    stiffness = 0.5 * 5.0 * (2 * np.pi / 4.0) ** 2
    kinetic, squares = [], []
    for step in steps:
        if step.index > 200:
            kinetic.append(step.kinetic)
            squares.append((step.positions**2).mean())
        if step.index == 2000:
            break
    thermal = units.kB * temperature
    assert np.mean(kinetic) / (300 * thermal) == pytest.approx(1.0, abs=0.02)
    assert stiffness * np.mean(squares) / thermal == pytest.approx(1.0, abs=0.03)


def test_langevin_dynamics_without_friction_conserves_energy() -> None:
    from ase.build import bulk
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = bulk("Ar", a=5.3, cubic=True).repeat(2)
    MaxwellBoltzmannDistribution(atoms, temperature_K=30, rng=np.random.default_rng(1))
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=7.0, smooth=True)
    energies = []
    for step in langevin(
        atoms,
        calculator,
        time_step=5.0,
        temperature=30.0,
        friction=0.0,
        generator=np.random.default_rng(2),
    ):
        energies.append(step.energy + step.kinetic)
        if step.index == 100:
            break
    assert np.ptp(energies) < 2e-3 * step.kinetic
