"""Elastic constants of a crystal by any calculator, from stress against strain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.observables.bulk.result import ElasticConstant, ElasticConstants
from distill.systems.crystals import is_cubic

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_STRAIN_STEPS = 5
# Of the linear fits.
DEGREES_OF_FREEDOM = _STRAIN_STEPS - 2
# Rows and columns of the constants that are named, in Voigt's order.
_CUBIC = {"C11": (0, 0), "C12": (0, 1), "C44": (3, 3)}
_ORTHORHOMBIC = {
    "C11": (0, 0),
    "C22": (1, 1),
    "C33": (2, 2),
    "C12": (0, 1),
    "C13": (0, 2),
    "C23": (1, 2),
    "C44": (3, 3),
    "C55": (4, 4),
    "C66": (5, 5),
}
CONSTANTS = tuple(_ORTHORHOMBIC)


def elastic_constants(
    atoms: Atoms,
    calculator: Calculator,
    *,
    strain: float = 0.004,
    max_force: float = 1e-3,
    confidence: float = 0.95,
) -> ElasticConstants:
    """Elastic constants from stress against strain (matscipy).

    The moduli are Voigt-Reuss-Hill averages (Hill, Proc. Phys. Soc. A 65, 349 (1952)), Voigt's
    where the crystal is not mechanically stable (Mouhat & Coudert, Phys. Rev. B 90, 224104 (2014)).
    Atoms are relaxed at each strain. A cubic cell is strained along its own axes as far as its
    symmetry asks for; any other in all six ways, and the nine constants that an orthorhombic,
    tetragonal or hexagonal crystal in its usual setting has are given.

    Parameters
    ----------
    atoms
        Relaxed cell.
    calculator
        ASE calculator with stress.
    strain
        Largest strain; five points from −strain to strain.
    max_force
        Of the relaxation of the atoms, eV/Å.
    confidence
        Of the intervals, which are those of the linear fits.

    Raises
    ------
    UserError
        If matscipy is not installed or the calculator gives no stress.
    """
    from ase.optimize import BFGS
    from ase.units import GPa
    from scipy.stats import t

    try:
        from matscipy.elasticity import fit_elastic_constants
    except ImportError:
        raise UserError(
            "elastic constants need matscipy: install it with the extra [phonons], or set "
            "compare.bulk.elastic to false"
        ) from None
    crystal = atoms.copy()
    crystal.calc = calculator
    cubic = is_cubic(atoms)
    try:
        matrix, errors = fit_elastic_constants(
            crystal,
            symmetry="cubic" if cubic else "triclinic",
            N_steps=_STRAIN_STEPS,
            delta=2 * strain / (_STRAIN_STEPS - 1),
            optimizer=BFGS,
            verbose=False,
            fmax=max_force,
        )
    except NotImplementedError:
        raise UserError(
            "elastic constants need stresses, which this calculator does not give"
        ) from None
    quantile = t.ppf(0.5 * (1 + confidence), DEGREES_OF_FREEDOM)
    constants = {}
    for name, place in (_CUBIC if cubic else _ORTHORHOMBIC).items():
        value, half = float(matrix[place] / GPa), float(quantile * errors[place] / GPa)
        constants[name] = ElasticConstant(value=value, interval=(value - half, value + half))
    bulk, shear, stable = _averages(np.asarray(matrix) / GPa)
    return ElasticConstants(
        constants=constants,
        bulk_modulus=bulk,
        shear_modulus=shear,
        stable=stable,
        confidence=confidence,
    )


def _averages(stiffness: np.ndarray) -> tuple[float, float, bool]:
    """Bulk and shear modulus averaged over directions (GPa), and whether the crystal is stable.

    The stiffness matrix is in Voigt's notation, shape (6, 6), GPa.
    """
    stiffness = 0.5 * (stiffness + stiffness.T)
    stable = bool(np.linalg.eigvalsh(stiffness).min() > 0)
    bulk, shear = _voigt(stiffness)
    if stable:
        bulk_reuss, shear_reuss = _reuss(np.linalg.inv(stiffness))
        bulk, shear = (bulk + bulk_reuss) / 2, (shear + shear_reuss) / 2
    return bulk, shear, stable


def _voigt(c: np.ndarray) -> tuple[float, float]:
    normal, mixed, shear = _sums(c)
    return (normal + 2 * mixed) / 9, (normal - mixed + 3 * shear) / 15


def _reuss(s: np.ndarray) -> tuple[float, float]:
    normal, mixed, shear = _sums(s)
    return 1 / (normal + 2 * mixed), 15 / (4 * (normal - mixed) + 3 * shear)


def _sums(matrix: np.ndarray) -> tuple[float, float, float]:
    """Sums of the normal, the mixed and the shear entries."""
    mixed = matrix[0, 1] + matrix[0, 2] + matrix[1, 2]
    return float(np.trace(matrix[:3, :3])), float(mixed), float(np.trace(matrix[3:, 3:]))
