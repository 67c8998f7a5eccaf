"""Errors of one set of labels against another, with intervals, and their layout as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.results import Interval, Record
from distill.data.splits import sources_of
from distill.data.structures import (
    config_type,
    reference_energy,
    reference_forces,
    reference_stress,
)
from distill.metrics.source_intervals import rms_interval

if TYPE_CHECKING:
    from ase import Atoms

CONFIDENCE = 0.95


class Errors(Record):
    """Errors of one quantity, in its unit.

    Attributes
    ----------
    mae, rmse, max
        Mean absolute, root mean square and largest absolute error.
    rmse_interval
        95 %, from the scatter of sources (see `rms_interval`); None where too few of them carry the
        quantity.
    mean
        Signed, predicted minus reference.
    count, structures
        Numbers compared, and structures that they are of.
    sources
        Trajectories, or whatever `sources_of` knows the structures to be from; None in a file that
        does not say.
    """

    mae: float
    rmse: float
    rmse_interval: Interval | None
    max: float
    mean: float
    count: int
    structures: int
    sources: int | None = None


class PartErrors(Record):
    """Errors over some structures; None for a quantity that they lack.

    Attributes
    ----------
    structures, atoms
        What was compared.
    energy_per_atom, energy
        eV/atom and eV.
    forces, forces_by_element
        Over components, eV/Å; the latter by chemical symbol.
    stress
        Over components, eV/Å³.
    """

    structures: int
    atoms: int
    energy_per_atom: Errors | None
    energy: Errors | None
    forces: Errors | None
    stress: Errors | None
    forces_by_element: dict[str, Errors]


class ErrorTable(PartErrors):
    """Errors over all structures, and over those of each config type."""

    by_config_type: dict[str, PartErrors]
    confidence: float


class ErrorBudget(Record):
    """Errors of each step of a chain, and of both together.

    Attributes
    ----------
    force_error_correlation
        Of the force errors of the two steps: 0 where they are independent, below 0 where they
        partly cancel; None without forces.
    """

    reference_teacher: ErrorTable
    teacher_student: ErrorTable
    reference_student: ErrorTable
    force_error_correlation: float | None


class _Residuals:
    """Residuals of one quantity, kept as sums over each structure: all that the errors need."""

    def __init__(self, residuals: Sequence[np.ndarray | None], sources: np.ndarray) -> None:
        flat = [np.zeros(0) if r is None else np.ravel(r) for r in residuals]
        self.count = np.array([len(r) for r in flat], dtype=float)
        self.squared = np.array([float(r @ r) for r in flat])
        self.absolute = np.array([float(np.abs(r).sum()) for r in flat])
        self.largest = np.array([float(np.abs(r).max()) if len(r) else 0.0 for r in flat])
        self.signed = np.array([float(r.sum()) for r in flat])
        self.sources = sources

    def errors(self, members: np.ndarray) -> Errors | None:
        """Errors over some of the structures, or None where none of them has the quantity."""
        count, squared, sources = (
            values[members] for values in (self.count, self.squared, self.sources)
        )
        total = count.sum()
        if total == 0:
            return None
        return Errors(
            mae=float(self.absolute[members].sum() / total),
            rmse=float(math.sqrt(squared.sum() / total)),
            rmse_interval=rms_interval(squared, count, sources, CONFIDENCE),
            max=float(self.largest[members].max()),
            mean=float(self.signed[members].sum() / total),
            count=int(total),
            structures=int((count > 0).sum()),
            sources=len(set(sources[count > 0].tolist())),
        )


def error_table(reference: list[Atoms], predicted: list[Atoms]) -> ErrorTable:
    """Errors of predicted labels against reference labels.

    Parameters
    ----------
    reference, predicted
        The same structures in the same order, with labels under the REF_ keys: energy in eV,
        forces (n_atoms, 3) in eV/Å, stress in eV/Å³. A label that either side lacks is left out.
        Structures of one source, as `sources_of` knows it, count as one for the intervals.

    Raises
    ------
    UserError
        If the two lists do not hold the same structures.
    """
    _check_pairs(reference, predicted)
    energies = [
        _difference(reference_energy(r), reference_energy(p)) for r, p in _zip(reference, predicted)
    ]
    forces = [
        _difference(reference_forces(r), reference_forces(p)) for r, p in _zip(reference, predicted)
    ]
    stresses = [
        _difference(reference_stress(r), reference_stress(p)) for r, p in _zip(reference, predicted)
    ]
    symbols = [np.array(atoms.get_chemical_symbols()) for atoms in reference]
    per_atom = [
        None if e is None else e / len(atoms) for e, atoms in zip(energies, reference, strict=True)
    ]
    sources = np.unique(sources_of(reference), return_inverse=True)[1]
    quantities = {
        "energy_per_atom": _Residuals(per_atom, sources),
        "energy": _Residuals(energies, sources),
        "forces": _Residuals(forces, sources),
        "stress": _Residuals(stresses, sources),
    }
    elements = {
        element: _Residuals(
            [None if f is None else f[s == element] for f, s in zip(forces, symbols, strict=True)],
            sources,
        )
        for element in sorted({str(s) for names in symbols for s in names})
    }

    def part(members: np.ndarray) -> dict[str, Any]:
        by_element = {name: r.errors(members) for name, r in elements.items()}
        return {
            "structures": len(members),
            "atoms": int(sum(len(reference[i]) for i in members)),
            **{name: r.errors(members) for name, r in quantities.items()},
            "forces_by_element": {name: e for name, e in by_element.items() if e is not None},
        }

    types = np.array([config_type(a) for a in reference])
    return ErrorTable(
        **part(np.arange(len(reference))),
        by_config_type={
            str(name): PartErrors(**part(np.flatnonzero(types == name)))
            for name in sorted(set(types))
        },
        confidence=CONFIDENCE,
    )


def rmse_of(errors: Errors | None) -> float | None:
    """The root mean square error, None without any."""
    return None if errors is None else errors.rmse


def error_budget(reference: list[Atoms], teacher: list[Atoms], student: list[Atoms]) -> ErrorBudget:
    """How much of the student's error against the reference each step brings.

    The residuals add up, (student − reference) = (teacher − reference) + (student − teacher), so
    the mean squares add up too, with twice the covariance of the two steps.

    Parameters
    ----------
    reference, teacher, student
        The same structures in the same order, with the labels of each level under the REF_ keys.

    Raises
    ------
    UserError
        If the three lists do not hold the same structures.
    """
    tables = {
        "reference_teacher": error_table(reference, teacher),
        "teacher_student": error_table(teacher, student),
        "reference_student": error_table(reference, student),
    }
    first, second, both = (table.forces for table in tables.values())
    correlation = None
    if first and second and both and first.rmse > 0 and second.rmse > 0:
        covariance = (both.rmse**2 - first.rmse**2 - second.rmse**2) / 2
        correlation = covariance / (first.rmse * second.rmse)
    return ErrorBudget(**tables, force_error_correlation=correlation)


def _zip(reference: list[Atoms], predicted: list[Atoms]) -> Iterable[tuple[Atoms, Atoms]]:
    return zip(reference, predicted, strict=True)


def _difference(reference: Any, predicted: Any) -> np.ndarray | None:
    if reference is None or predicted is None:
        return None
    return np.asarray(predicted, dtype=float) - np.asarray(reference, dtype=float)


def _check_pairs(reference: list[Atoms], predicted: list[Atoms]) -> None:
    if not reference:
        raise UserError("there is nothing to compare: the list of structures is empty")
    if len(reference) != len(predicted):
        raise UserError(
            f"expected a prediction for each of the {len(reference)} structures, "
            f"found {len(predicted)}: predict the same file again"
        )
    for index, (one, other) in enumerate(_zip(reference, predicted)):
        if not np.array_equal(one.numbers, other.numbers):
            raise UserError(
                f"structure {index} is {one.get_chemical_formula()} in the reference and "
                f"{other.get_chemical_formula()} in the prediction: "
                "both must hold the same structures in the same order"
            )
