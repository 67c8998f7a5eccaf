"""Lattice constants by dynamics at constant pressure."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.units import kB
from killed_runs import killed_after, parts_made

from distill.config import ThermalExpansionConfig
from distill.core.errors import UserError
from distill.simulation import constant_pressure
from distill.simulation.constant_pressure import lattice_constant_at

# Å, of EMT's copper at rest.
A = 3.5898


def copper() -> Atoms:
    return bulk("Cu", a=A, cubic=True)


class Pushing(Calculator):
    """Forces, and no stress."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_a_calculator_without_stress_is_refused() -> None:
    with pytest.raises(UserError, match="needs stresses"):
        lattice_constant_at(
            copper(),
            Pushing(),
            300.0,
            config=ThermalExpansionConfig(),
            generator=np.random.default_rng(0),
        )


@pytest.mark.physics
def test_lattice_constant_grows_with_temperature() -> None:
    atoms = copper()
    config = ThermalExpansionConfig(
        supercell=(2, 2, 1),
        time=900.0,
        equilibration_time=200.0,
        time_step=5.0,
        thermostat_time=50.0,
        barostat_time=100.0,
        blocks=4,
    )
    result = lattice_constant_at(
        atoms, EMT(), 600.0, config=config, generator=np.random.default_rng(0)
    )
    assert result["status"] == "complete"
    low, high = result["interval"]
    assert low < result["lattice_constant"] < high
    # EMT copper expands by about 1.7e-5 to 2.5e-5 per K.
    growth = result["lattice_constant"] / atoms.cell.lengths()[0] - 1
    assert 0.005 < growth < 0.025
    assert result["mean_temperature"] == pytest.approx(600.0, rel=0.25)


def test_a_crystal_that_flies_apart_gives_no_number() -> None:
    config = ThermalExpansionConfig(
        supercell=(1, 1, 1), time=2000.0, time_step=5.0, barostat_time=50.0
    )
    result = lattice_constant_at(
        copper(), EMT(), 50000.0, config=config, generator=np.random.default_rng(0)
    )
    assert result["status"] == "blown_up"
    assert "lattice_constant" not in result
    assert "at step" in result["reason"]


def test_few_atoms_are_never_too_hot_at_the_start() -> None:
    config = ThermalExpansionConfig(
        supercell=(1, 1, 1), time=12.0, equilibration_time=0.0, time_step=2.0, blocks=3
    )
    for seed in range(12):
        result = lattice_constant_at(
            copper(), EMT(), 300.0, config=config, generator=np.random.default_rng(seed)
        )
        assert result["status"] == "complete"


def test_the_temperature_of_a_crystal_at_rest_counts_its_degrees_of_freedom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four atoms at rest as a whole: nine degrees of freedom; ASE's thermostat counts twelve."""
    from ase.md import nose_hoover_chain

    asked, kinetic = [], []
    energy = Atoms.get_kinetic_energy

    class Recorded(nose_hoover_chain.IsotropicMTKNPT):
        def __init__(self, *args: Any, temperature_K: float, **kwargs: Any) -> None:
            asked.append(temperature_K)
            super().__init__(*args, temperature_K=temperature_K, **kwargs)

    def recorded(atoms: Atoms) -> float:
        kinetic.append(energy(atoms))
        return kinetic[-1]

    monkeypatch.setattr(nose_hoover_chain, "IsotropicMTKNPT", Recorded)
    monkeypatch.setattr(Atoms, "get_kinetic_energy", recorded)
    config = ThermalExpansionConfig(
        supercell=(1, 1, 1), time=60.0, equilibration_time=0.0, time_step=5.0, blocks=3
    )
    result = lattice_constant_at(
        copper(), EMT(), 200.0, config=config, generator=np.random.default_rng(0)
    )
    # With 12 kT/2 of kinetic energy in 9 degrees of freedom the crystal would be at 4/3 T.
    assert 12 / 2 * asked[0] == pytest.approx(9 / 2 * 200.0)
    # Of the start and twelve steps.
    temperatures = 2 * np.array(kinetic[-13:]) / (9 * kB)
    assert result["mean_temperature"] == pytest.approx(temperatures.mean())


def test_a_killed_run_goes_on_with_its_part_and_ends_with_the_same_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    config = ThermalExpansionConfig(
        supercell=(2, 2, 1),
        time=100.0,
        equilibration_time=20.0,
        time_step=5.0,
        blocks=3,
        thermostat_time=50.0,
        barostat_time=100.0,
    )

    def found(folder: str) -> dict[str, Any]:
        return lattice_constant_at(
            copper(),
            EMT(),
            300.0,
            config=config,
            generator=np.random.default_rng(3),
            parts=tmp_path / folder,
        )

    one = found("one")
    assert one["status"] == "complete"
    assert not (tmp_path / "one").exists()
    monkeypatch.setattr(constant_pressure, "STEPS_IN_PART", 7)
    whole = found("whole")
    with killed_after(2):
        found("killed")
    with parts_made() as made:
        again = found("killed")
    assert made == ["00002.npz", "00003.npz"]
    assert again == whole
    # Each of three parts evaluates its start once more.
    assert whole.pop("force_calls") == one.pop("force_calls") + 3
    for name in ("lattice_constant", "interval", "mean_temperature"):
        assert whole[name] == pytest.approx(one[name], rel=1e-9)
