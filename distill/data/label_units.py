"""Labels in other units or with the other sign, recognised by comparison with a foundation model.

A foundation model is seldom wrong by a factor of three over a whole set, and never in step with
labels that have the opposite sign; labels in Hartree, kcal/mol or GPa are off by far more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import say
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.structures import (
    elements_of,
    reference_energy,
    reference_forces,
    reference_stress,
)

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
# Where the shear yz xz xy stands in the last three of six numbers of other programs.
_SHEAR_ORDERS = {
    "xx yy zz xy yz xz, as VASP writes them": [2, 0, 1],
    "xx yy zz xy xz yz, as LAMMPS writes them": [2, 1, 0],
    "xx yy zz yz xy xz": [0, 2, 1],
    "xx yy zz xz yz xy": [1, 0, 2],
    "xx yy zz xz xy yz": [1, 2, 0],
}
_STRESS_UNITS = {"GPa": 160.21766, "kbar": 1602.1766, "Hartree/Bohr³": 1 / 183.631}
_IN_STEP = 0.8
# Correlation of shear in the expected order above which no other is looked for.
_IN_ORDER = 0.5
_PLAUSIBLE = 3.0
# Factor by which a unit may be missed and still be taken for it.
_SURE = 1.5
# Values below which a correlation says nothing; energies count where the forces are in step.
_FEWEST, _FEWEST_ENERGIES = 10, 6
# Energies per atom are told from total ones by how much better the model agrees with them.
_BETTER, _WORTH_NOTING = 0.3, 0.1
# Share of its own training labels that any student explains, and energies that count as one, eV.
_EXPLAINED, _SAME = 0.5, 1e-4


@dataclass(frozen=True)
class _Pairs:
    """Values of a label on both levels, flat, and the volume and size of each one's structure."""

    ours: np.ndarray
    theirs: np.ndarray
    volumes: np.ndarray


class _Energies(NamedTuple):
    """Energies on both levels (eV), and which structures they are of."""

    indices: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray


def refuse_other_units(
    reference: Sequence[Atoms], predicted: Sequence[Atoms], elements: Sequence[str]
) -> None:
    """Refuse labels that follow a foundation model's, but have another unit, sign or meaning.

    Forces, stresses and energies are each compared with the model's by their correlation and their
    factor. A factor beyond 1/3 to 3 at a correlation above 0.8 is refused where a unit, a sign, a
    virial in place of a stress (or the reverse), or an energy per atom explains it, and said where
    nothing does. Stresses whose shear is in step in another order alone are refused. Energies are
    judged where the forces of both are in step, or where the model agrees far better with energies
    per atom: else the model is no guide.

    Parameters
    ----------
    reference, predicted
        The same structures with the data's labels and the model's.
    elements
        Chemical symbols of the structures.

    Raises
    ------
    UserError
        Naming the label, the factor found, and what it points to.
    """
    forces = _pairs(reference, predicted, reference_forces)
    _check("forces", "eV/Å", _FORCE_UNITS, forces.ours, forces.theirs)
    stress = _pairs(reference, predicted, reference_stress)
    if order := _other_order(stress):
        raise UserError(f"{order} (correlation with the foundation model's). Change their order")
    _check_stress(stress)
    _check_energies(
        reference, predicted, elements, in_step=_in_step(forces.ours, forces.theirs) >= _IN_STEP
    )


def say_contradictions(reference: Sequence[Atoms], fitted: Sequence[Atoms]) -> None:
    """Say which labels a model that was fitted to them does not follow.

    A student follows forces of the other sign as well as any, energies in any unit, and stresses of
    the other sign, but not all together.

    Parameters
    ----------
    reference, fitted
        The same structures with the labels of the fit and with the model's.
    """
    forces = _pairs(reference, fitted, reference_forces)
    energies = _both_energies(reference, fitted)
    counts = composition_matrix(
        [a.get_chemical_symbols() for a in reference], elements_of(reference)
    )
    shares = {}
    if len(forces.ours) >= _FEWEST:
        shares["forces"] = _explained(forces.ours, forces.ours - forces.theirs)
    if len(energies.indices) >= 2 * counts.shape[1] + _FEWEST_ENERGIES:
        chosen = counts[energies.indices]
        ours = _left_by_composition(chosen, energies.ours)
        apart = _left_by_composition(chosen, energies.ours - energies.theirs)
        # Structures of one energy leave nothing to explain.
        if np.sqrt(np.mean(ours**2)) > _SAME:
            shares["energies"] = _explained(ours, apart)
    stress = _pairs(reference, fitted, reference_stress)
    together, odd = "energies and forces", "energies per atom"
    if len(stress.ours) >= _FEWEST:
        shares["stresses"] = _explained(stress.ours, stress.ours - stress.theirs)
        together, odd = "energies, forces and stresses", f"{odd}, virials as stresses"
    for label, share in shares.items():
        if share < _EXPLAINED:
            say(
                f"the student explains {max(share, 0.0):.0%} of the variance of the {label} that "
                f"it was fitted to: {together} contradict each other (another unit or sign, {odd}, "
                "another level of theory), or its basis is far too small"
            )
    if order := _other_order(stress):
        say(f"WARNING: {order} (correlation with what follows from energies and forces)")


def _other_order(stress: _Pairs) -> str | None:
    """What shows that six numbers of the stress labels are in another order, if anything does."""
    ours, theirs = (values.reshape(-1, 6)[:, 3:] for values in (stress.ours, stress.theirs))
    plain = _in_step(ours.ravel(), theirs.ravel())
    steps = {
        order: _in_step(ours.ravel(), theirs[:, places].ravel())
        for order, places in _SHEAR_ORDERS.items()
    }
    best = max(steps, key=lambda order: steps[order])
    if len(ours) < _FEWEST or plain > _IN_ORDER or steps[best] < _IN_STEP:
        return None
    return (
        f"the six numbers of the stress labels look like {best}; expected ASE's order xx yy zz yz "
        f"xz xy, in which their shear is in step to {plain:.2f} in place of {steps[best]:.2f}"
    )


def _check_stress(stress: _Pairs) -> None:
    """Compare stresses, and what they would be if they were virials, with the model's."""
    hypotheses = {
        "virials in eV (−stress × volume)": -stress.volumes * stress.theirs,
        "virials in eV with the sign of the stress": stress.volumes * stress.theirs,
        "stresses in eV/Å³ that were given as virials": -stress.theirs / stress.volumes,
    }
    plain = _in_step(stress.ours, stress.theirs)
    factor = _factor(stress.ours, stress.theirs)
    if not _plausible(factor) or abs(plain) < _IN_STEP:
        for meaning, expected in hypotheses.items():
            step = _in_step(stress.ours, expected)
            close = 1 / _SURE < _factor(stress.ours, expected) < _SURE
            if step < max(_IN_STEP, abs(plain) - 0.02) or not close:
                continue
            unit = _nearest_unit(_STRESS_UNITS, abs(factor))
            other = f", or like {unit}{' of the opposite sign' * (factor < 0)}" if unit else ""
            raise UserError(
                f"the stress labels follow the foundation model's, but look like {meaning}{other}: "
                f"they are {factor:.3g} times its stress (correlation {plain:.2f}); expected "
                "eV/Å³ with ASE's sign. Virials are named by data.virial_key"
            )
    _check("stress", "eV/Å³", _STRESS_UNITS, stress.ours, stress.theirs)


def _check_energies(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    elements: Sequence[str],
    *,
    in_step: bool,
) -> None:
    indices, ours, theirs = _both_energies(reference, predicted)
    # As many again as the atomic energies that are taken out.
    if len(indices) < max(2 * len(elements) + 2, _FEWEST_ENERGIES):
        return
    counts = composition_matrix([reference[k].get_chemical_symbols() for k in indices], elements)
    sizes = counts.sum(axis=1)
    as_total = _left_by_composition(counts, ours - theirs)
    as_per_atom = _left_by_composition(counts, sizes * ours - theirs)
    spread = float(np.sqrt(np.mean(as_total**2)))
    if (
        np.ptp(sizes) > 0
        and spread > _WORTH_NOTING
        and np.sqrt(np.mean(as_per_atom**2)) < _BETTER * spread
    ):
        raise UserError(
            "the energy labels look like energies per atom: multiplied by the number of atoms they "
            f"agree with the foundation model to {np.sqrt(np.mean(as_per_atom**2)):.2f} eV/atom, "
            f"as they are to {spread:.2f}; expected total energies in eV. Multiply them"
        )
    if not in_step:
        return
    ours, theirs = _left_by_composition(counts, ours), _left_by_composition(counts, theirs)
    per_atom = _factor(ours, theirs) * float(np.median(sizes))
    # Structures of one size tell energies per atom by their factor alone.
    also = "energies per atom" if np.ptp(sizes) == 0 and 1 / 2 < per_atom < 2 else None
    _check("energy", "eV", _ENERGY_UNITS, ours, theirs, also=also, fewest=_FEWEST_ENERGIES)


def _both_energies(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> _Energies:
    found = [
        (index, one, other)
        for index, (atoms, twin) in enumerate(zip(reference, predicted, strict=True))
        if (one := reference_energy(atoms)) is not None
        and (other := reference_energy(twin)) is not None
    ]
    columns = np.array(found, dtype=float).reshape(-1, 3).T
    return _Energies(columns[0].astype(int), columns[1], columns[2])


def _explained(labels: np.ndarray, apart: np.ndarray) -> float:
    """Share of the mean square of labels that is not left in what a model is apart from them."""
    square = float(labels @ labels)
    return 1 - float(apart @ apart) / square if square else 1.0


def _left_by_composition(counts: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Energies per atom without the best atomic energies, eV/atom."""
    left: np.ndarray = (energies - counts @ least_squares_shifts(counts, energies)[0]) / counts.sum(
        axis=1
    )
    return left


def _pairs(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    label: Callable[[Atoms], np.ndarray | None],
) -> _Pairs:
    """Both levels' values of a label where both have it."""
    ours, theirs, volumes = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for one, other in zip(reference, predicted, strict=True):
        a, b = label(one), label(other)
        if a is not None and b is not None:
            ours.append(np.ravel(a))
            theirs.append(np.ravel(b))
            volumes.append(np.full(np.size(a), abs(float(np.linalg.det(one.cell[:]))) or 1.0))
    return _Pairs(np.concatenate(ours), np.concatenate(theirs), np.concatenate(volumes))


def _in_step(ours: np.ndarray, theirs: np.ndarray, fewest: int = _FEWEST) -> float:
    """Correlation of two sets of values about zero; 0 where there is too little to tell."""
    norms = float(np.linalg.norm(ours)), float(np.linalg.norm(theirs))
    if len(ours) < fewest or min(norms) == 0:
        return 0.0
    return float(ours @ theirs) / (norms[0] * norms[1])


def _factor(ours: np.ndarray, theirs: np.ndarray) -> float:
    """By how much the first values exceed the second in the mean; 1 where these are zero."""
    square = float(theirs @ theirs)
    return float(ours @ theirs) / square if square else 1.0


def _plausible(factor: float) -> bool:
    return 1 / _PLAUSIBLE < factor < _PLAUSIBLE


def _nearest_unit(units: dict[str, float], factor: float) -> str | None:
    """The unit that a factor points to, or None."""
    near = min(units, key=lambda name: abs(np.log(factor / units[name])))
    return near if abs(np.log(factor / units[near])) <= np.log(_SURE) else None


def _check(
    label: str,
    unit: str,
    units: dict[str, float],
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    also: str | None = None,
    fewest: int = _FEWEST,
) -> None:
    in_step = _in_step(ours, theirs, fewest)
    factor = _factor(ours, theirs)
    if abs(in_step) < _IN_STEP or _plausible(factor):
        return
    found = (
        f"the {label} labels follow the foundation model's (correlation {in_step:.2f}) but are "
        f"{factor:.3g} times as large"
    )
    known = [name for name in (_nearest_unit(units, abs(factor)), also) if name]
    if not known and factor > 0:
        say(f"{found}, which no unit explains; expected {unit}. Look at where they come from")
        return
    guess = f"they look like {' or '.join(known)}" if known else ""
    if factor < 0:
        sign = "their sign is the opposite (a gradient, or a stress of the other convention?)"
        guess = f"{sign}, and {guess}" if guess else sign
    raise UserError(f"{found}: {guess}; expected {unit}. Convert them")
