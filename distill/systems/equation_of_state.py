"""Energy over volume: the Birch-Murnaghan equation of state, fitted to a curve or found by a model.

Source: Birch, Phys. Rev. 71, 809 (1947), as in `ase.eos`. A model's energies have no noise, so what
is left of a fit is the error of its form, which no statistics of the residuals measures. The
intervals are the hull of other forms (Murnaghan, Vinet, Poirier and Tarantola) and of narrower
ranges of volume, with their extrapolation to none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.data.survey import vacuum_layers

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_LARGEST_SHIFTS = 30
_PARAMETERS = 4
_FORMS = ("birchmurnaghan", "murnaghan", "vinet", "pouriertarantola")
# Pairs of outer points that are left out for a narrower range.
_NARROWER = (0, 1, 2)


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


def spread(fit: BirchMurnaghan, confidence: float = 0.95) -> np.ndarray:
    """Where other forms and ranges, and the fit's own scatter, put the four parameters.

    Of every form the parameters are fitted over the whole range and over narrower ones. The error
    of a form grows with the square of the range (the first term that it lacks is even, like the
    window), so two ranges give a value at none.

    Parameters
    ----------
    fit
        The fit.
    confidence
        Of the fit's own interval, by Student's t, which counts where energies do scatter.

    Returns
    -------
    numpy.ndarray
        Lowest and highest energy (eV), bulk modulus (eV/Å³), its derivative, and volume (Å³), shape
        (2, 4).
    """
    from scipy.stats import t

    best = np.array([fit.energy, fit.bulk_modulus, fit.derivative, fit.volume])
    half = t.ppf(0.5 * (1 + confidence), len(fit.volumes) - _PARAMETERS) * fit.deviations
    found = [best - half, best + half]
    for form in _FORMS:
        ranges = []
        for cut in _NARROWER:
            x, y = (values[cut : len(values) - cut] for values in (fit.volumes, fit.energies))
            parameters = _other_fit(form, x, y, best) if len(x) > _PARAMETERS else None
            if parameters is not None:
                ranges.append((np.ptp(x) ** 2, parameters))
        found += [parameters for _, parameters in ranges]
        found += [
            near + (near - far) * small / (large - small)
            for (large, far), (small, near) in pairwise(ranges)
        ]
    return np.array([np.min(found, axis=0), np.max(found, axis=0)])


def _other_fit(form: str, x: np.ndarray, y: np.ndarray, guess: np.ndarray) -> np.ndarray | None:
    """Parameters of another form of `ase.eos`; None where it does not fit."""
    from ase import eos
    from scipy.optimize import OptimizeWarning, curve_fit

    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # As many points as parameters and one: their covariance is not asked for.
            warnings.simplefilter("ignore", OptimizeWarning)
            found, _ = curve_fit(getattr(eos, form), x, y, guess)
    except (RuntimeError, ValueError):
        return None
    return np.asarray(found) if np.isfinite(found).all() else None


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
        Of the fit's own part in the intervals; see `spread`.

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
        If no minimum is found, an energy is not finite, or the structure is no crystal.
    """
    if not atoms.pbc.all() or vacuum_layers(atoms).any():
        raise UserError(
            f"energy-volume curve of {atoms.get_chemical_formula()}: expected a crystal, periodic "
            f"in all directions and without vacuum, found pbc {atoms.pbc.tolist()} with a layer of "
            f"vacuum along {int(vacuum_layers(atoms).sum())} of them: it has no volume"
        )
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

    count, first = len(atoms), float(atoms.cell.lengths()[0])
    scale = float((fit.volume / atoms.get_volume()) ** (1 / 3))
    return {
        "scale": scale,
        "lattice_constant": scale * first,
        "volume": fit.volume,
        "volume_per_atom": fit.volume / count,
        "energy": fit.energy,
        "energy_per_atom": fit.energy / count,
        "bulk_modulus": fit.bulk_modulus,
        "bulk_modulus_GPa": fit.bulk_modulus / GPa,
        "bulk_modulus_derivative": fit.derivative,
        "rms_residual": float(np.sqrt(np.mean(fit.residuals**2))) / count,
        "volumes": fit.volumes.tolist(),
        "energies": fit.energies.tolist(),
        "confidence": confidence,
        **intervals_of(fit, first, atoms.get_volume(), confidence),
    }


def intervals_of(
    fit: BirchMurnaghan, length: float, volume: float, confidence: float
) -> dict[str, list[float]]:
    """The intervals of `equation_of_state`, each under its name.

    Parameters
    ----------
    fit
        The fit.
    length, volume
        First cell length (Å) and volume (Å³) of the given cell.
    confidence
        See `spread`.
    """
    from ase.units import GPa

    energies, moduli, derivatives, volumes = spread(fit, confidence).T
    return {
        "lattice_constant_interval": (length * (volumes.clip(min=0) / volume) ** (1 / 3)).tolist(),
        "volume_interval": volumes.tolist(),
        "energy_interval": energies.tolist(),
        "bulk_modulus_interval": moduli.tolist(),
        "bulk_modulus_GPa_interval": (moduli / GPa).tolist(),
        "bulk_modulus_derivative_interval": derivatives.tolist(),
    }
