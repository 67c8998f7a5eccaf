"""Properties of a crystal by any calculator: one function each, returning a plain dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.systems.supercells import supercell

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.systems.config import NptConfig

_RELAXATION_STEPS = 500
# A crystal whose volume changes by more than this has left its phase.
_LARGEST_EXPANSION = 0.3
_HOTTEST = 3.0


def is_cubic(atoms: Atoms) -> bool:
    """Whether the cell's edges are equal and at right angles."""
    lengths_angles = atoms.cell.cellpar()
    return bool(np.ptp(lengths_angles[:3]) < 1e-3 and np.abs(lengths_angles[3:] - 90).max() < 0.01)


def relaxed_cell(atoms: Atoms, calculator: Calculator, *, max_force: float = 5e-4) -> Atoms:
    """A crystal with its cell's edges and angles and its atoms relaxed, without calculator.

    Parameters
    ----------
    atoms
        Crystal at about its shape and volume.
    calculator
        ASE calculator with stress.
    max_force
        Largest force, and generalised force on the cell, eV/Å (ASE's `FrechetCellFilter`).

    Raises
    ------
    UserError
        If the calculator gives no stress, or the relaxation does not converge.
    """
    from ase.calculators.calculator import PropertyNotImplementedError
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    relaxed = atoms.copy()
    relaxed.calc = calculator
    try:
        cell_and_atoms: Any = FrechetCellFilter(relaxed)
        converged = BFGS(cell_and_atoms, logfile=None).run(fmax=max_force, steps=_RELAXATION_STEPS)
    except (NotImplementedError, PropertyNotImplementedError):
        raise UserError(
            f"the cell of {atoms.get_chemical_formula()} is not cubic, so its shape must be "
            "relaxed with stresses, which this calculator does not give"
        ) from None
    if not converged:
        raise UserError(
            f"the cell of {atoms.get_chemical_formula()} does not relax to {max_force:g} eV/Å "
            f"within {_RELAXATION_STEPS} steps: check the model and the cell, and whether the "
            "model is in double precision"
        )
    relaxed.calc = None
    return relaxed


def lattice_constant_at(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    *,
    config: NptConfig,
    generator: np.random.Generator,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Mean lattice constant at a temperature and pressure, by molecular dynamics.

    The cell breathes isotropically under Martyna-Tobias-Klein dynamics (J. Chem. Phys. 101, 4177
    (1994), ASE's `IsotropicMTKNPT`). The crystal as a whole stays at rest, so that N atoms have
    3N − 3 degrees of freedom, of which the temperature is.

    Parameters
    ----------
    atoms
        Relaxed cubic cell; repeated `config.supercell` times.
    calculator
        ASE calculator with stress.
    temperature
        K.
    config
        Supercell, times and barostat.
    generator
        Random stream of the initial velocities.
    confidence
        Of the interval.

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
    from ase import units
    from ase.calculators.calculator import PropertyNotImplementedError
    from ase.md.nose_hoover_chain import IsotropicMTKNPT
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

    moving = supercell(atoms, config.supercell)
    moving.calc = calculator
    try:
        moving.get_stress()
    except (NotImplementedError, PropertyNotImplementedError):
        raise UserError(
            "a lattice constant at constant pressure needs stresses, which this calculator does "
            "not give"
        ) from None
    # At rest, half of the kinetic energy turns into potential energy.
    MaxwellBoltzmannDistribution(moving, temperature_K=2 * temperature, rng=generator)
    Stationary(moving)
    # ASE's thermostat and its temperature count 3N.
    at_rest = max(len(moving) - 1, 1) / len(moving)
    dynamics = IsotropicMTKNPT(
        moving,
        config.time_step * units.fs,
        temperature_K=at_rest * temperature,
        pressure_au=config.pressure,
        tdamp=config.thermostat_time * units.fs,
        pdamp=config.barostat_time * units.fs,
    )
    lengths, temperatures = [], []
    problem = ""
    skipped = round(config.equilibration_time / config.time_step)
    steps = skipped + round(config.time / config.time_step)
    try:
        for step, _ in enumerate(dynamics.irun(steps)):
            length = float(moving.cell.lengths()[0]) / config.supercell[0]
            hot = moving.get_temperature() / at_rest
            problem = _runaway(length / atoms.cell.lengths()[0], hot / temperature)
            if problem:
                break
            if step >= skipped:
                lengths.append(length)
                temperatures.append(hot)
    except UserError as error:
        # The start was evaluated without complaint, so the model fails on where it led.
        problem = str(error)
    result = {"temperature": temperature, "force_calls": dynamics.nsteps + 1}
    if problem:
        return {**result, "status": "blown_up", "reason": f"{problem} at step {dynamics.nsteps}"}
    mean, low, high = mean_with_interval(lengths, config.blocks, confidence)
    return {
        **result,
        "status": "complete",
        "lattice_constant": mean,
        "interval": [low, high],
        "mean_temperature": float(np.mean(temperatures)),
        "confidence": confidence,
    }


def _runaway(stretch: float, heat: float) -> str:
    """What is wrong with a step, or nothing; also caught by comparisons with NaN."""
    if not abs(stretch**3 - 1) < _LARGEST_EXPANSION:
        return f"the volume changed by more than {_LARGEST_EXPANSION:.0%}"
    if not heat < _HOTTEST:
        return f"the temperature passed {_HOTTEST:g} times what was asked for"
    return ""


def mean_with_interval(
    series: Sequence[float] | np.ndarray, blocks: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean of a correlated series with its interval from the means of equal blocks.

    Source: Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989); Student's t over the blocks.

    Raises
    ------
    UserError
        If there are fewer values than two a block.
    """
    from scipy.stats import t

    values = np.asarray(series, dtype=float)
    size = len(values) // blocks
    if size < 2:
        raise UserError(
            f"{len(values)} values are too few for {blocks} blocks: run longer or lower blocks"
        )
    means = values[-size * blocks :].reshape(blocks, size).mean(axis=1)
    half = t.ppf(0.5 * (1 + confidence), blocks - 1) * means.std(ddof=1) / np.sqrt(blocks)
    mean = float(values.mean())
    return mean, mean - float(half), mean + float(half)
