"""Energy over volume: the Birch-Murnaghan equation of state, fitted to a curve or found by a model.

Source: Birch, Phys. Rev. 71, 809 (1947), as in `ase.eos`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_LARGEST_SHIFTS = 30
_PARAMETERS = 4


@dataclass(frozen=True)
class BirchMurnaghan:
    """A fitted equation of state, for any number of atoms.

    Attributes
    ----------
    volumes, energies
        What it was fitted to, Å³ and eV, shape (n,).
    energy, volume, bulk_modulus
        Of the minimum: eV, Å³, eV/Å³.
    derivative
        Of the bulk modulus by pressure.
    deviations
        Standard deviations of energy, bulk modulus, derivative and volume, shape (4,).
    """

    volumes: np.ndarray
    energies: np.ndarray
    energy: float
    bulk_modulus: float
    derivative: float
    volume: float
    deviations: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """Energies minus the curve, eV, shape (n,)."""
        from ase.eos import birchmurnaghan

        curve = birchmurnaghan(
            self.volumes, self.energy, self.bulk_modulus, self.derivative, self.volume
        )
        return self.energies - curve


def fit_birch_murnaghan(
    volumes: Sequence[float] | np.ndarray, energies: Sequence[float] | np.ndarray
) -> BirchMurnaghan:
    """The equation of state of a curve.

    Parameters
    ----------
    volumes, energies
        At least five points, Å³ and eV.

    Raises
    ------
    ValueError
        If the fit does not converge, as of points that lie around no minimum.
    """
    from ase.eos import birchmurnaghan
    from scipy.optimize import OptimizeWarning, curve_fit

    x, y = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if len(x) <= _PARAMETERS or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"expected {_PARAMETERS + 1} finite points or more, found {len(x)}")
    curvature, slope, _ = np.polyfit(x, y, 2)
    middle = -slope / (2 * curvature) if curvature > 0 else x[np.argmin(y)]
    guess = (y.min(), max(2 * curvature * middle, 1e-3), 4.0, middle)
    try:
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            best, covariance = curve_fit(birchmurnaghan, x, y, guess)
    except (RuntimeError, OptimizeWarning) as error:
        raise ValueError(f"the fit does not converge: {error}") from None
    energy, modulus, derivative, volume = (float(value) for value in best)
    deviations = np.sqrt(np.diag(covariance))
    return BirchMurnaghan(x, y, energy, modulus, derivative, volume, deviations)


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
    depend on the volume given. Fractional coordinates are kept.

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
            fit = _fit_of(atoms, scales, energies)
            found = float((fit.volume / atoms.get_volume()) ** (1 / 3))
            if abs(found / scale - 1) < 0.2 * strain:
                return _numbers(atoms, fit, confidence)
            scale = found
        else:
            scale = scales[lowest]
    raise UserError(
        f"energy-volume curve of {atoms.get_chemical_formula()}: no minimum between scales "
        f"{scales[0]:.3f} and {scales[-1]:.3f} of the given cell; check the model and the cell"
    )


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


def _fit_of(atoms: Atoms, scales: np.ndarray, energies: np.ndarray) -> BirchMurnaghan:
    try:
        return fit_birch_murnaghan(atoms.get_volume() * scales**3, energies)
    except ValueError:
        raise UserError(
            f"energy-volume curve of {atoms.get_chemical_formula()}: the Birch-Murnaghan fit "
            "does not converge; the energies are not smooth in the volume"
        ) from None


def _numbers(atoms: Atoms, fit: BirchMurnaghan, confidence: float) -> dict[str, Any]:
    """What `equation_of_state` returns of a fit to the energies of a cell's copies."""
    from ase.units import GPa
    from scipy.stats import t

    count, first = len(atoms), float(atoms.cell.lengths()[0])
    half = t.ppf(0.5 * (1 + confidence), len(fit.volumes) - _PARAMETERS) * fit.deviations
    best = np.array([fit.energy, fit.bulk_modulus, fit.derivative, fit.volume])
    ends = np.array([best - half, best + half])
    scale = float((fit.volume / atoms.get_volume()) ** (1 / 3))
    return {
        "scale": scale,
        "lattice_constant": scale * first,
        "lattice_constant_interval": (
            first * (ends[:, 3].clip(min=0) / atoms.get_volume()) ** (1 / 3)
        ).tolist(),
        "volume": fit.volume,
        "volume_interval": ends[:, 3].tolist(),
        "volume_per_atom": fit.volume / count,
        "energy": fit.energy,
        "energy_interval": ends[:, 0].tolist(),
        "energy_per_atom": fit.energy / count,
        "bulk_modulus": fit.bulk_modulus,
        "bulk_modulus_interval": ends[:, 1].tolist(),
        "bulk_modulus_GPa": fit.bulk_modulus / GPa,
        "bulk_modulus_GPa_interval": (ends[:, 1] / GPa).tolist(),
        "bulk_modulus_derivative": fit.derivative,
        "bulk_modulus_derivative_interval": ends[:, 2].tolist(),
        "rms_residual": float(np.sqrt(np.mean(fit.residuals**2))) / count,
        "volumes": fit.volumes.tolist(),
        "energies": fit.energies.tolist(),
        "confidence": confidence,
    }
