"""Properties of a crystal by any calculator: one function each, returning a plain dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.systems.config import NptConfig

_LARGEST_SHIFTS = 30
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


def equation_of_state(
    atoms: Atoms,
    calculator: Calculator,
    *,
    strain: float = 0.03,
    points: int = 9,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Energy-volume curve under uniform scaling, with its Birch-Murnaghan fit.

    The window of volumes moves until the minimum lies in its middle, so the result does not
    depend on the volume given. Fractional coordinates are kept. Source: Birch, Phys. Rev. 71, 809
    (1947), as in `ase.eos`.

    Parameters
    ----------
    atoms
        Crystal at about its volume.
    calculator
        Any ASE calculator.
    strain
        Largest change of length.
    points
        Number of volumes.
    confidence
        Of the intervals, which are those of the fit.

    Returns
    -------
    dict
        `scale` (of the given cell's lengths), `lattice_constant` (first cell length, Å), `volume`
        (Å³), `energy` (eV), `volume_per_atom`, `energy_per_atom`, `bulk_modulus` (eV/Å³),
        `bulk_modulus_GPa`, `bulk_modulus_derivative`, an `_interval` for each fitted one,
        `rms_residual` (eV/atom), and the curve as `volumes` and `energies`.

    Raises
    ------
    UserError
        If no minimum is found, or an energy is not finite.
    """
    scale = 1.0
    for _ in range(_LARGEST_SHIFTS):
        scales = scale * np.linspace(1 - strain, 1 + strain, points)
        energies = np.array([_energy_at(atoms, calculator, s) for s in scales])
        lowest = int(np.argmin(energies))
        if 0 < lowest < points - 1:
            result = _birch_murnaghan(atoms, scales, energies, confidence)
            if abs(result["scale"] / scale - 1) < 0.2 * strain:
                return result
            scale = result["scale"]
        else:
            scale = scales[lowest]
    raise UserError(
        f"energy-volume curve of {atoms.get_chemical_formula()}: no minimum between scales "
        f"{scales[0]:.3f} and {scales[-1]:.3f} of the given cell; check the model and the cell"
    )


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
    (1994), ASE's `IsotropicMTKNPT`).

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

    moving = atoms.repeat(config.supercell)
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
    dynamics = IsotropicMTKNPT(
        moving,
        config.time_step * units.fs,
        temperature_K=temperature,
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
            hot = moving.get_temperature()
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


def _energy_at(atoms: Atoms, calculator: Calculator, scale: float) -> float:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * scale, scale_atoms=True)
    scaled.calc = calculator
    energy = float(scaled.get_potential_energy())
    if not np.isfinite(energy):
        raise UserError(
            f"energy-volume curve of {atoms.get_chemical_formula()}: the energy at a scale of "
            f"{scale:.3f} is {energy}"
        )
    return energy


def _birch_murnaghan(
    atoms: Atoms, scales: np.ndarray, energies: np.ndarray, confidence: float
) -> dict[str, Any]:
    from ase.eos import birchmurnaghan
    from ase.units import GPa
    from scipy.optimize import curve_fit
    from scipy.stats import t

    count = len(atoms)
    volumes = atoms.get_volume() * scales**3
    curvature, slope, _ = np.polyfit(volumes, energies, 2)
    middle = -slope / (2 * curvature) if curvature > 0 else volumes[np.argmin(energies)]
    guess = (energies.min(), max(2 * curvature * middle, 1e-3), 4.0, middle)
    try:
        best, covariance = curve_fit(birchmurnaghan, volumes, energies, guess)
    except RuntimeError:
        raise UserError(
            f"energy-volume curve of {atoms.get_chemical_formula()}: the Birch-Murnaghan fit "
            "does not converge; the energies are not smooth in the volume"
        ) from None
    half = t.ppf(0.5 * (1 + confidence), len(volumes) - 4) * np.sqrt(np.diag(covariance))
    ends = np.array([best - half, best + half])
    energy, modulus, derivative, volume = (float(b) for b in best)
    scale = float((volume / atoms.get_volume()) ** (1 / 3))
    first = float(atoms.cell.lengths()[0])
    residual = energies - birchmurnaghan(volumes, *best)
    return {
        "scale": scale,
        "lattice_constant": scale * first,
        "lattice_constant_interval": (
            first * (ends[:, 3].clip(min=0) / atoms.get_volume()) ** (1 / 3)
        ).tolist(),
        "volume": volume,
        "volume_interval": ends[:, 3].tolist(),
        "volume_per_atom": volume / count,
        "energy": energy,
        "energy_interval": ends[:, 0].tolist(),
        "energy_per_atom": energy / count,
        "bulk_modulus": modulus,
        "bulk_modulus_interval": ends[:, 1].tolist(),
        "bulk_modulus_GPa": modulus / GPa,
        "bulk_modulus_GPa_interval": (ends[:, 1] / GPa).tolist(),
        "bulk_modulus_derivative": derivative,
        "bulk_modulus_derivative_interval": ends[:, 2].tolist(),
        "rms_residual": float(np.sqrt(np.mean(residual**2))) / count,
        "volumes": volumes.tolist(),
        "energies": energies.tolist(),
        "confidence": confidence,
    }
