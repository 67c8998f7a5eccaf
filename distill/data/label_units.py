"""Labels in other units or with the other sign, recognised by comparison with a foundation model.

A foundation model is seldom wrong by a factor of three over a whole set, and never in step with
labels that have the opposite sign; labels in Hartree, kcal/mol or GPa are off by far more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.structures import reference_energy, reference_forces, reference_stress

if TYPE_CHECKING:
    from ase import Atoms

# Factors by which labels in another unit exceed those in the expected one (CODATA 2018).
_ENERGY_UNITS = {
    "Hartree": 1 / 27.211386,
    "Rydberg": 1 / 13.605693,
    "kcal/mol": 23.060548,
    "kJ/mol": 96.485332,
    "meV": 1000.0,
}
_FORCE_UNITS = {
    "Hartree/Bohr": 1 / 51.422067,
    "Rydberg/Bohr": 1 / 25.711034,
    "Hartree/Å": 1 / 27.211386,
    "kcal/mol/Å": 23.060548,
    "kJ/mol/Å": 96.485332,
    "meV/Å": 1000.0,
    "eV/nm": 10.0,
}
_STRESS_UNITS = {"GPa": 160.21766, "kbar": 1602.1766, "Hartree/Bohr³": 1 / 183.631}
_IN_STEP = 0.8
_PLAUSIBLE = 3.0
# Factor by which a unit may be missed and still be taken for it.
_SURE = 1.5
_FEWEST = 10


def refuse_other_units(
    reference: Sequence[Atoms], predicted: Sequence[Atoms], elements: Sequence[str]
) -> None:
    """Refuse labels that follow a foundation model's, but a unit's factor away or of opposite sign.

    Energies are judged only where the forces of both are in step: else the model is no guide.

    Parameters
    ----------
    reference, predicted
        The same structures with the data's labels and the model's.
    elements
        Chemical symbols of the structures.

    Raises
    ------
    UserError
        Naming the label, the factor found, and the unit it points to.
    """
    if len(reference) < _FEWEST:
        return
    forces = _pairs(reference, predicted, reference_forces)
    _check("forces", "eV/Å", _FORCE_UNITS, *forces)
    _check("stress", "eV/Å³", _STRESS_UNITS, *_pairs(reference, predicted, reference_stress))
    if abs(_in_step(*forces)) < _IN_STEP:
        return
    counts = composition_matrix([a.get_chemical_symbols() for a in reference], elements)
    parts = []
    for structures in (reference, predicted):
        energies = np.array([reference_energy(a) for a in structures], dtype=float)
        shifts, _ = least_squares_shifts(counts, energies)
        parts.append((energies - counts @ shifts) / counts.sum(axis=1))
    _check("energy", "eV", _ENERGY_UNITS, *parts)


def _pairs(
    reference: Sequence[Atoms], predicted: Sequence[Atoms], label: object
) -> tuple[np.ndarray, np.ndarray]:
    """Both levels' values of a label, flat, where both have it."""
    assert callable(label)
    pairs = [(label(one), label(other)) for one, other in zip(reference, predicted, strict=True)]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not both:
        return np.zeros(0), np.zeros(0)
    ones, others = zip(*both, strict=True)
    return (
        np.concatenate([np.ravel(a) for a in ones]),
        np.concatenate([np.ravel(b) for b in others]),
    )


def _in_step(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Correlation of two sets of values about zero; 0 where there is too little to tell."""
    norms = float(np.linalg.norm(ours)), float(np.linalg.norm(theirs))
    if len(ours) < _FEWEST or min(norms) == 0:
        return 0.0
    return float(ours @ theirs) / (norms[0] * norms[1])


def _check(
    label: str, unit: str, units: dict[str, float], ours: np.ndarray, theirs: np.ndarray
) -> None:
    in_step = _in_step(ours, theirs)
    if abs(in_step) < _IN_STEP:
        return
    factor = float(ours @ theirs / (theirs @ theirs))
    if 1 / _PLAUSIBLE < abs(factor) < _PLAUSIBLE:
        if factor > 0:
            return
        guess = "their sign is the opposite (a gradient, or a stress of the other convention?)"
    else:
        near = min(units, key=lambda name: abs(np.log(abs(factor) / units[name])))
        if abs(np.log(abs(factor) / units[near])) > np.log(_SURE):
            return
        guess = f"they look like {near}"
    raise UserError(
        f"the {label} labels follow the foundation model's (correlation {in_step:.2f}) but are "
        f"{factor:.3g} times as large: {guess}; expected {unit}. Convert them"
    )
