"""Runs of a defect: activation energy, resuming, bounds, and runs that go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from lattice_toys import CosineLattice, write_crystal
from observable_tests import count_units

from distill.config import CalculatorConfig, DiffusionConfig, ParallelConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.observables.diffusion import diffusion_runs
from distill.observables.diffusion.diffusion import run_diffusion
from distill.observables.diffusion.observable import Diffusion, DiffusionTolerances
from distill.observables.diffusion.result import DiffusionResult
from distill.simulation.dynamics import langevin

HARDER = CalculatorConfig(path="lattice_toys:CosineLattice", args={"barrier": 0.12})


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


def run(config: DiffusionConfig, out: Path, **models: str | CalculatorConfig) -> DiffusionResult:
    specs = {
        name: f"lattice_toys:{model}" if isinstance(model, str) else model
        for name, model in models.items()
    }
    return run_diffusion(config, specs, WorkFolder(out, seed=5))


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
    result = run(config, tmp_path / "out", teacher="CosineLattice", student=HARDER)
    for name, barrier in (("teacher", 0.08), ("student", 0.12)):
        model = result.models[name]
        low, high = model.arrhenius.activation_energy_interval
        # Jumps over several sites at low friction make the slope differ from the barrier a little.
        assert low - 0.01 < barrier < high + 0.01
        assert high - low < 0.08
        values = [point.diffusivity.value for point in model.temperatures]
        assert values == sorted(values)
        assert model.nanoseconds_per_day > 0
    difference = result.differences["student"]
    assert difference.to == "teacher"
    low, high = difference.arrhenius.activation_energy_interval
    assert low - 0.01 < 0.04 < high + 0.01
    assert all(ratio.value < 0 for ratio in difference.log_diffusivity)


def test_a_killed_run_goes_on_to_bitwise_the_same_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path)
    whole = run(config, tmp_path / "whole", student="CosineLattice")
    produce = diffusion_runs._produce

    def killed(unit: Any, index: int, *rest: Any) -> Any:
        if index == 3:
            raise KeyboardInterrupt
        return produce(unit, index, *rest)

    monkeypatch.setattr(diffusion_runs, "_produce", killed)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "killed", student="CosineLattice")
    done: list[int] = []

    def counted(unit: Any, index: int, *rest: Any) -> Any:
        done.append(index)
        return produce(unit, index, *rest)

    monkeypatch.setattr(diffusion_runs, "_produce", counted)
    resumed = run(config, tmp_path / "killed", student="CosineLattice")
    assert done == [3, 4, 1, 2, 3, 4]
    for file in ("student_400K_0.npz", "student_400K_1.npz"):
        first = np.load(tmp_path / "whole" / "runs" / file)
        second = np.load(tmp_path / "killed" / "runs" / file)
        assert np.array_equal(first["positions"], second["positions"])
        assert np.array_equal(first["energies"], second["energies"])
    assert len(first["positions"]) == 81
    assert without_timing(resumed) == without_timing(whole)
    assert not list((tmp_path / "killed" / "runs").glob("*.parts"))


def test_parts_of_a_killed_run_do_not_pass_for_those_of_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce = diffusion_runs._produce

    def killed(unit: Any, index: int, *rest: Any) -> Any:
        if index == 3:
            raise KeyboardInterrupt
        return produce(unit, index, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(diffusion_runs, "_produce", killed)
        with pytest.raises(KeyboardInterrupt):
            run(settings(tmp_path), tmp_path / "out", student="CosineLattice")
    assert list((tmp_path / "out" / "runs").glob("*.parts"))
    begun = set((tmp_path / "out" / "runs").glob("*.parts"))
    other = settings(tmp_path, friction=0.02)
    found = run(other, tmp_path / "out", student="CosineLattice")
    fresh = run(other, tmp_path / "fresh", student="CosineLattice")
    assert without_timing(found) == without_timing(fresh)
    # They wait for their own.
    assert set((tmp_path / "out" / "runs").glob("*.parts")) == begun


def test_no_two_parts_or_runs_share_their_noise(tmp_path: Path) -> None:
    """Free atoms under so much friction that each step is the noise of that step alone."""
    config = settings(
        tmp_path,
        friction=10.0,
        equilibration_friction=10.0,
        time_step=1.0,
        save_every=1.0,
        checkpoint_every=30.0,
        time=90.0,
        fit_start=1.0,
        fit_end=5.0,
        melting_displacement=1e9,
    )
    free = CalculatorConfig(
        path="lattice_toys:CosineLattice", args={"barrier": 0.0, "framework": 0.0}
    )
    run(config, tmp_path / "out", teacher=free, student=free)
    noise = {}
    for file in (tmp_path / "out" / "runs").glob("*.npz"):
        steps = np.diff(np.load(file)["positions"].astype(float), axis=0)
        for part in range(3):
            noise[file.stem, part] = steps[30 * part : 30 * (part + 1)].ravel()
    assert len(noise) == 2 * 2 * 3
    correlations = np.corrcoef(list(noise.values()))
    others = correlations[np.triu_indices(len(noise), 1)]
    # Independent ones scatter by 1 / sqrt(size), a little more as neighbouring steps share noise.
    assert np.abs(others).max() < 6 / np.sqrt(len(steps[:30].ravel()))


def without_timing(result: DiffusionResult) -> dict[str, Any]:
    return result.model_dump(exclude={"models": {"__all__": {"nanoseconds_per_day"}}})


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    config = settings(tmp_path, time=4000.0)
    serial = run(config, tmp_path / "serial", student="CosineLattice")
    workers = ParallelConfig(backend="local", workers=2)
    parallel = run_diffusion(
        config,
        {"student": Path("lattice_toys:CosineLattice")},
        WorkFolder(tmp_path / "parallel", seed=5, parallel=workers),
    )
    assert without_timing(serial) == without_timing(parallel)


def test_nothing_that_hops_gives_a_bound_and_no_fit(tmp_path: Path) -> None:
    config = settings(tmp_path, temperatures=[300.0, 400.0])
    model = run(config, tmp_path / "out", student="stiff").models["student"]
    for point in model.temperatures:
        assert point.diffusivity.value is None
        assert point.diffusivity.upper_bound > 0
        assert "no atom left its site" in point.reason
    assert model.arrhenius is None
    assert "0 of 2 temperatures" in model.arrhenius_reason


@pytest.mark.parametrize(("model", "reason"), [("runaway", "temperature"), ("liquid", "melted")])
def test_runs_gone_wrong_are_left_out_with_the_reason(
    tmp_path: Path, model: str, reason: str
) -> None:
    result = run(settings(tmp_path, ensemble="nve"), tmp_path / "out", student=model)
    [point] = result.models["student"].temperatures
    assert point.diffusivity is None
    assert point.reason == "every run was left out"
    assert [report.used for report in point.runs] == [False, False]
    assert all(reason in report.reason for report in point.runs)


def test_too_short_runs_are_refused_before_they_are_done(tmp_path: Path) -> None:
    short = settings(tmp_path, times={"teacher": 1500.0})
    message = r"model teacher: a run of 1500 fs is too short"
    with pytest.raises(UserError, match=message):
        run(short, tmp_path / "out", teacher="CosineLattice", student="CosineLattice")
    with pytest.raises(UserError, match=message):
        Diffusion().refuse(short, DiffusionTolerances())
    with pytest.raises(UserError, match="foundation is none of the models"):
        run(
            settings(tmp_path, times={"foundation": 1500.0}),
            tmp_path / "out",
            student="CosineLattice",
        )
    assert not (tmp_path / "out" / "runs").exists()


def test_a_crystal_without_the_element_is_refused(tmp_path: Path) -> None:
    bare = settings(tmp_path, defect="none")
    with pytest.raises(UserError, match="there is no Li"):
        run(bare, tmp_path / "out", student="stiff")
    with pytest.raises(UserError, match="there is no Li"):
        Diffusion().refuse(bare, DiffusionTolerances())


def test_a_bound_of_a_fit_to_one_temperature_is_refused(tmp_path: Path) -> None:
    bound = DiffusionTolerances(activation_energy=0.02)
    with pytest.raises(UserError, match="has one temperature"):
        Diffusion().refuse(settings(tmp_path), bound)
    Diffusion().refuse(settings(tmp_path, temperatures=[400.0, 500.0]), bound)


def test_more_temperatures_and_runs_keep_those_that_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings(tmp_path, time=3000.0), tmp_path / "out", student="stiff")
    made = count_units(monkeypatch)
    more = settings(tmp_path, time=3000.0, temperatures=[400.0, 500.0], runs=3)
    run(more, tmp_path / "out", student="stiff")
    names = [record.stem for record in made]
    assert sorted(names) == [
        "student_400K_2",
        "student_500K_0",
        "student_500K_1",
        "student_500K_2",
    ]


def test_only_models_with_a_time_of_their_own_join_teacher_and_student(tmp_path: Path) -> None:
    config = settings(tmp_path, time=3000.0, times={"other": 4000.0})
    roles = ("reference", "teacher", "student", "other", "further")
    models = dict.fromkeys(roles, "lattice_toys:stiff")
    result = Diffusion().run(config, models, WorkFolder(tmp_path / "out"))
    assert list(result.models) == ["teacher", "student", "other"]


def test_rows_and_cards_are_in_the_units_that_they_name(tmp_path: Path) -> None:
    window = {"time": 20000.0, "fit_start": 1000.0, "fit_end": 2500.0}
    config = settings(tmp_path, temperatures=[600.0, 900.0], confidence=0.9, **window)
    result = run(config, tmp_path / "out", teacher="CosineLattice", student="CosineLattice")
    tables = Diffusion().rows(result)
    model = result.models["student"]
    # 1 Å²/fs is 1e-16 cm² in 1e-15 s.
    row, found = tables["diffusion"][2], model.temperatures[0].diffusivity
    assert row["model"] == "student"
    assert row["diffusivity_cm2_per_s"] == pytest.approx(0.1 * found.value)
    assert row["interval_cm2_per_s"] == pytest.approx([0.1 * end for end in found.interval])
    jumps = tables["jumps"][2]
    assert jumps["model"] == "student"
    assert jumps["window_interval_ps"] == (1.0, 2.5)
    measured = model.temperatures[0].jumps.residence_time
    assert jumps["residence_time_ps"] == pytest.approx(measured.value / 1000)
    assert jumps["haven_ratio"] == model.temperatures[0].haven_ratio.value
    fit = tables["arrhenius"][1]
    assert fit["prefactor_cm2_per_s"] == pytest.approx(0.1 * model.arrhenius.prefactor)
    assert fit["activation_energy"] == model.arrhenius.activation_energy
    [card] = Diffusion().cards(result)
    difference = result.differences["student"].arrhenius
    assert card.unit == "meV"
    assert card.confidence == result.settings.confidence
    assert card.value == pytest.approx(1000 * difference.activation_energy)
    assert card.interval == pytest.approx(
        [1000 * end for end in difference.activation_energy_interval]
    )


def test_no_fit_of_both_fails_the_check_and_says_why(tmp_path: Path) -> None:
    result = run(settings(tmp_path), tmp_path / "out", teacher="CosineLattice", student="stiff")
    [check] = Diffusion().checks(result, DiffusionTolerances(activation_energy=10.0))
    assert not check.passed
    assert check.value is None
    assert "no Arrhenius fit of both" in check.comment
    assert Diffusion().cards(result) == []


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
