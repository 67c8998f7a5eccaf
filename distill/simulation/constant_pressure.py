"""Dynamics at constant temperature and pressure, and the lattice constant of a crystal by them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts
from distill.models.cached_calculators import ModelSpec
from distill.simulation.dynamics import Step, begin_at, calculator_of_part, end_of
from distill.systems.config import NptConfig
from distill.systems.crystals import mean_with_interval
from distill.systems.supercells import supercell

_ENDLESS = 10**12
# A crystal whose volume changes by more than this has left its phase.
_LARGEST_EXPANSION = 0.3
_HOTTEST = 3.0


class ConstantPressure:
    """Martyna-Tobias-Klein dynamics with an isotropic cell, from `atoms`, which move.

    Source: J. Chem. Phys. 101, 4177 (1994), by ASE's `IsotropicMTKNPT`.

    Parameters
    ----------
    atoms
        Positions, momenta, cell.
    calculator
        ASE calculator with stress.
    time_step, thermostat_time, barostat_time
        fs.
    temperature
        K.
    pressure
        eV/Å³.
    before
        `state` to go on with.
    """

    def __init__(
        self,
        atoms: Atoms,
        calculator: Calculator,
        *,
        time_step: float,
        temperature: float,
        pressure: float,
        thermostat_time: float,
        barostat_time: float,
        before: Part | None = None,
    ) -> None:
        from ase.md.nose_hoover_chain import IsotropicMTKNPT

        atoms.calc = calculator
        self._atoms = atoms
        self._dynamics = IsotropicMTKNPT(
            atoms,
            time_step * units.fs,
            temperature_K=temperature,
            pressure_au=pressure,
            tdamp=thermostat_time * units.fs,
            pdamp=barostat_time * units.fs,
        )
        if before is not None:
            self._dynamics._p_eps = float(before["cell_momentum"])
            self._dynamics._thermostat._p_eta[:] = before["thermostat_momenta"]
            self._dynamics._barostat._p_xi[:] = before["barostat_momenta"]

    def state(self) -> Part:
        """What the dynamics hold beside the atoms and their cell."""
        return {
            "cell_momentum": self._dynamics._p_eps,
            "thermostat_momenta": self._dynamics._thermostat._p_eta.copy(),
            "barostat_momenta": self._dynamics._barostat._p_xi.copy(),
        }

    def steps(self) -> Iterator[Step]:
        """Steps without end."""
        atoms = self._atoms
        for _ in self._dynamics.irun(_ENDLESS):
            yield Step(
                index=self._dynamics.nsteps,
                positions=atoms.get_positions(),
                velocities=atoms.get_velocities() * units.fs,
                energy=atoms.get_potential_energy(),
                forces=atoms.get_forces(apply_constraint=False),
                kinetic=atoms.get_kinetic_energy(),
                calls=self._dynamics.nsteps + 1,
            )


def lattice_constant_at(
    atoms: Atoms,
    model: ModelSpec,
    temperature: float,
    *,
    config: NptConfig,
    generator: np.random.Generator,
    confidence: float = 0.95,
    parts: Path | None = None,
) -> dict[str, Any]:
    """Mean lattice constant at a temperature and pressure, by molecular dynamics.

    The crystal as a whole stays at rest, so that N atoms have 3N − 3 degrees of freedom, of which
    the temperature is.

    Parameters
    ----------
    atoms
        Relaxed cubic cell; repeated `config.supercell` times.
    model
        What `distill.models.calculators.load_calculator` takes; it has to give stresses.
    temperature
        K.
    config
        Supercell, times and barostat.
    generator
        Random stream of the initial velocities.
    confidence
        Of the interval.
    parts
        Folder to keep the parts of the run in.

    Returns
    -------
    dict
        `temperature` (K), `lattice_constant` (of the given cell, Å) with `interval`,
        `mean_temperature` (K), `force_calls`, and `status`: complete, or blown_up with a `reason`
        and no number.

    Raises
    ------
    UserError
        If the calculator gives no stress, or the run is too short for the blocks.
    """
    follow = partial(_part_of_crystal, atoms, model, temperature, config, generator)
    done = in_parts(parts, follow)
    result = {
        "temperature": temperature,
        "force_calls": sum(int(part["calls"]) for part in done),
    }
    if problem := str(done[-1]["problem"]):
        return {**result, "status": "blown_up", "reason": problem}
    lengths = np.concatenate([part["lengths"] for part in done])
    temperatures = np.concatenate([part["temperatures"] for part in done])
    mean, low, high = mean_with_interval(lengths, config.blocks, confidence)
    return {
        **result,
        "status": "complete",
        "lattice_constant": mean,
        "interval": [low, high],
        "mean_temperature": float(temperatures.mean()),
        "confidence": confidence,
    }


def _part_of_crystal(
    atoms: Atoms,
    model: ModelSpec,
    temperature: float,
    config: NptConfig,
    generator: np.random.Generator,
    before: Part | None,
    number: int,
) -> Part:
    """Lengths of the edge (Å) and temperatures (K) of a part of the dynamics of a crystal."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

    moving = supercell(atoms, config.supercell)
    calculator = calculator_of_part(model, number)
    if before is None:
        _refuse_without_stress(moving, calculator)
        # At rest, half of the kinetic energy turns into potential energy; few atoms whose energy
        # is drawn at random may be as hot as a crystal that flies apart.
        MaxwellBoltzmannDistribution(
            moving, temperature_K=2 * temperature, force_temp=True, rng=generator
        )
        Stationary(moving)
    else:
        moving.set_cell(before["end_cell"])
        begin_at(moving, before)
    # ASE's thermostat and its temperature count 3N.
    at_rest = max(len(moving) - 1, 1) / len(moving)
    dynamics = ConstantPressure(
        moving,
        calculator,
        time_step=config.time_step,
        temperature=at_rest * temperature,
        pressure=config.pressure,
        thermostat_time=config.thermostat_time,
        barostat_time=config.barostat_time,
        before=before,
    )
    begun = number * STEPS_IN_PART
    skipped = round(config.equilibration_time / config.time_step)
    steps = skipped + round(config.time / config.time_step)
    end = min(begun + STEPS_IN_PART, steps)
    per_kelvin = 1.5 * len(moving) * units.kB * at_rest
    lengths: list[float] = []
    temperatures: list[float] = []
    ends: Part = {}
    problem, index = "", begun
    try:
        for step in dynamics.steps():
            index = begun + step.index
            length = float(moving.cell.lengths()[0]) / config.supercell[0]
            hot = step.kinetic / per_kelvin
            problem = _runaway(length / atoms.cell.lengths()[0], hot / temperature)
            # The first step of a part is the last of the part before it.
            if not problem and index >= skipped and (before is None or step.index):
                lengths.append(length)
                temperatures.append(hot)
            if problem or index == end:
                ends = end_of(step)
                break
    except UserError as error:
        # The start was evaluated without complaint, so the model fails on where it led.
        problem = str(error)
    return {
        UNDER_WAY: not problem and end < steps,
        "lengths": lengths,
        "temperatures": temperatures,
        "problem": f"{problem} at step {index}" if problem else "",
        "calls": index - begun + 1,
        "end_cell": moving.cell.array,
        **ends,
        **dynamics.state(),
    }


def _refuse_without_stress(atoms: Atoms, calculator: Calculator) -> None:
    atoms.calc = calculator
    try:
        atoms.get_stress()
    except NotImplementedError:
        raise UserError(
            "a lattice constant at constant pressure needs stresses, which this calculator does "
            "not give"
        ) from None
    finally:
        atoms.calc = None


def _runaway(stretch: float, heat: float) -> str:
    """What is wrong with a step, or nothing; also caught by comparisons with NaN."""
    if not abs(stretch**3 - 1) < _LARGEST_EXPANSION:
        return f"the volume changed by more than {_LARGEST_EXPANSION:.0%}"
    if not heat < _HOTTEST:
        return f"the temperature passed {_HOTTEST:g} times what was asked for"
    return ""
