"""Names, units and conventions of physical quantities, each in this one place.

Energies are in eV, lengths in Å, stresses in eV/Å³. A stress has ASE's sign (a compressed crystal
has a negative diagonal), a virial is −stress × volume, and six components are in Voigt's order
xx yy zz yz xz xy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ENERGY_KEY = "REF_energy"
FORCES_KEY = "REF_forces"
STRESS_KEY = "REF_stress"
CONFIG_TYPE_KEY = "config_type"
# Where a model's predictions stand beside labels.
PREDICTION_KEYS = {
    ENERGY_KEY: "predicted_energy",
    FORCES_KEY: "predicted_forces",
    STRESS_KEY: "predicted_stress",
}

# Milli-units in a unit: meV in an eV, meV/Å in an eV/Å.
MEV = 1000.0
SECONDS_PER_DAY = 86400.0

# Least volume of a cell that is one, Å³.
_LEAST_VOLUME = 1e-6
# Where each entry of a 3 x 3 matrix stands in Voigt's order, and the reverse.
VOIGT_PLACES = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
VOIGT_ROWS, VOIGT_COLUMNS = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])


def quantity_title(key: str) -> str:
    """Name in figures and tables of a key of an error table, `forces_Cu` being the forces on Cu."""
    titles = {"energy_per_atom": "energy", "forces": "forces", "stress": "stress"}
    return titles.get(key, f"forces on {key.removeprefix('forces_')}")


def quantity_unit(key: str) -> str:
    """Unit of what a key of an error table holds, times 1000."""
    return {"energy_per_atom": "meV/atom", "stress": "meV/Å³"}.get(key, "meV/Å")


def has_volume(cell: Any) -> bool:
    """Whether a cell of shape (3, 3), Å, has a volume, by which a stress divides its virial."""
    return abs(float(np.linalg.det(np.asarray(cell, dtype=float)))) >= _LEAST_VOLUME


def voigt(matrix: Any) -> np.ndarray:
    """Six components, shape (..., 6), of symmetric matrices of shape (..., 3, 3).

    Of a matrix that is symmetric only to rounding, as programs write them, the symmetric part
    counts.
    """
    matrix = np.asarray(matrix, dtype=float)
    symmetric = 0.5 * (matrix + np.swapaxes(matrix, -1, -2))
    return symmetric[..., VOIGT_ROWS, VOIGT_COLUMNS]


def full_matrix(six: Any) -> np.ndarray:
    """Symmetric matrices of shape (..., 3, 3) from six components each, shape (..., 6)."""
    return np.asarray(six, dtype=float)[..., VOIGT_PLACES]


def six_components(value: Any) -> np.ndarray:
    """Six components of a stress or virial given as 6 or 9 numbers or as a 3 x 3 matrix.

    Raises
    ------
    ValueError
        For any other shape.
    """
    array = np.asarray(value, dtype=float)
    if array.shape == (6,):
        return array
    if array.size == 9:
        return voigt(array.reshape(3, 3))
    raise ValueError(f"expected 6 or 9 numbers for a stress or virial, found {array.size}")


def virial_from_stress(stress: Any, volume: float) -> np.ndarray:
    """Virial −stress × volume, eV, of any shape, from a stress in eV/Å³ and a volume in Å³."""
    return -np.asarray(stress) * volume


def stress_from_virial(virial: Any, volume: float) -> np.ndarray:
    """Stress −virial / volume, eV/Å³, of any shape, from a virial in eV and a volume in Å³."""
    return -np.asarray(virial) / volume
