"""Posterior uncertainties of a student: deviations of energies and forces, extrapolation grade.

The student carries a committee of coefficient vectors drawn from the posterior of its fit. The
root mean square deviation of the committee from the mean model estimates the posterior standard
deviation of whatever is linear in the coefficients, without bias; with K members its relative
error is 1/√(2 K), 12 % for 32. For a site energy this deviation is √(bᵀ Σ b) with b the site basis
and Σ the posterior covariance: the leverage of the site against the training set, in eV. Divided
by the largest of the training sites of the same element it is the extrapolation grade.

Deviations are scaled by how much the fit's leave-one-structure-out errors exceed what the posterior
predicts for them (`leave_out`), because a basis of finite size errs by more than the noise.

Source: MacKay, Neural Computation 4, 415 (1992); van der Oord et al., npj Comput. Mater. 9, 168
(2023), for committees of linear ACE; Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017),
for the grade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distill.compare.calibration import LEVELS, deviation_quality, rms
from distill.errors import UserError
from distill.structures import config_type, reference_energy, reference_forces
from distill.student.committee import Committee

if TYPE_CHECKING:
    from ase import Atoms

    from distill.config import LabelWeights
    from distill.student.evaluate import Evaluation
    from distill.student.model import Student

SITE_REFERENCE = "largest_site_deviation"
SCALE = "deviation_scale"
# Members whose forces are evaluated: with the three components, six numbers for each atom, so its
# force deviation is known to 29 %. The student and two members go through the kernels together;
# three further ones cost about 0.7 plain calls.
FORCE_MEMBERS = 2
# In calibration the cost matters less.
_CALIBRATION_MEMBERS = 8


class Uncertainty(NamedTuple):
    """Scaled posterior standard deviations for one structure, without the noise of the labels.

    Attributes
    ----------
    energy
        Of the total energy, eV.
    energies
        Of each atom's energy, (N,), eV.
    forces
        Of a force component on each atom, averaged over directions, (N,), eV/Å; None if not asked.
    grade
        Extrapolation grade of each atom, (N,): its energy's deviation over the largest of the
        training sites of its element. Above 1 the training set does not support the site.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray | None
    grade: np.ndarray


class UncertaintyModel:
    """Uncertainties of a student's predictions.

    Parameters
    ----------
    student
        Fitted with a posterior (solver blr, ard, ridge or qr with a strength).
    force_members
        Members of the committee whose forces are evaluated; three more than two add about 0.7
        plain calls to `predict`.

    Raises
    ------
    UserError
        If the student carries no committee.
    """

    def __init__(self, student: Student, force_members: int = FORCE_MEMBERS) -> None:
        if student.committee is None or len(student.committee) == 0:
            raise UserError(
                "the student carries no committee, so it has no uncertainties: fit it with "
                "student.solver.kind blr and student.solver.committee above 0"
            )
        self.student = student
        self._committee = Committee(student, force_members)
        scale = student.training.get(SCALE) or {}
        self.energy_scale = float(scale.get("energy", 1.0))
        self.force_scale = float(scale.get("forces", 1.0))
        largest = student.training.get(SITE_REFERENCE, {})
        self._largest = np.array([largest.get(symbol, 0.0) for symbol in student.elements])

    def predict(self, atoms: Atoms) -> tuple[Evaluation, Uncertainty]:
        """The student's energies, forces and virial with their uncertainties, in one pass.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        found = self._committee.evaluate(atoms, forces=True)
        assert found.mean is not None and found.forces is not None
        return found.mean, self._uncertainty(atoms, found.energies, found.forces)

    def evaluate(self, atoms: Atoms) -> Uncertainty:
        """Uncertainties of the energies alone, and extrapolation grades: cheaper than `predict`.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        return self._uncertainty(atoms, self._committee.evaluate(atoms, forces=False).energies)

    def _uncertainty(
        self, atoms: Atoms, deviations: np.ndarray, forces: np.ndarray | None = None
    ) -> Uncertainty:
        from distill.student.evaluate import species_indices

        energies = _rms(deviations, axis=1)
        reference = self._largest[species_indices(self.student.elements, atoms)]
        with np.errstate(divide="ignore", invalid="ignore"):
            grade = np.where(energies > 0, energies / reference, 0.0)
        return Uncertainty(
            energy=self.energy_scale * float(_rms(deviations.sum(axis=0), axis=0)),
            energies=self.energy_scale * energies,
            forces=None if forces is None else self.force_scale * _rms(forces, axis=(0, 2)),
            grade=grade,
        )


def with_site_reference(student: Student, structures: Sequence[Atoms]) -> Student:
    """The student with the largest site deviation of each element over its training structures.

    A student without a committee is returned as it is.
    """
    if student.committee is None or len(student.committee) == 0:
        return student
    committee = Committee(student, 0)
    largest: dict[str, float] = {}
    for atoms in structures:
        energies = _rms(committee.evaluate(atoms, forces=False).energies, axis=1)
        symbols = np.array(atoms.get_chemical_symbols())
        for symbol in set(symbols.tolist()):
            found = float(energies[symbols == symbol].max())
            largest[symbol] = max(largest.get(symbol, 0.0), found)
    return replace(student, training={**student.training, SITE_REFERENCE: largest})


def calibration(
    student: Student, structures: Sequence[Atoms], weights: Mapping[str, LabelWeights]
) -> dict[str, Any] | None:
    """How well predicted deviations describe the errors on held-out structures.

    The prediction is normal with the posterior's variance plus that of the fit's noise, which by
    the row weights is σ √N / w_E for an energy and σ / w_F for a force component, both scaled by
    the fit's leave-one-structure-out factor.

    Parameters
    ----------
    student
        The student; None is returned where it has no committee.
    structures
        Held out, with REF_ labels.
    weights
        Row weights of the fit, by config_type.

    Returns
    -------
    dict
        `energy_per_atom` (eV/atom) and `forces` (eV/Å, over components), each None without labels,
        else with the share of errors inside the 68 and 95 % intervals (`coverage`, and
        `coverage_unscaled` without the factor), root mean square error and predicted deviation,
        `scale` (the factor on the deviations that would make the squared errors right on average),
        Spearman's rank correlation of |error| and deviation, and `bins` of equal count with
        predicted deviation and error; and `extrapolation`: the largest grade of each structure.
    """
    if student.committee is None or len(student.committee) == 0:
        return None
    model = UncertaintyModel(student, _CALIBRATION_MEMBERS)
    energies: list[np.ndarray] = []
    forces: list[np.ndarray] = []
    grades = []
    noise = student.training.get("row_noise") or 0.0
    for atoms in structures:
        weight = weights.get(config_type(atoms), weights["default"])
        mean, found = model.predict(atoms)
        energy, force = float(mean.energies.sum()), mean.forces
        grades.append(float(found.grade.max()))
        n = len(atoms)
        energy_label, force_label = reference_energy(atoms), reference_forces(atoms)
        if energy_label is not None:
            row_noise = noise / (weight.energy * np.sqrt(n)) if weight.energy > 0 else 0.0
            row_noise *= model.energy_scale
            energies.append(np.array([[(energy - energy_label) / n, found.energy / n, row_noise]]))
        if force_label is not None and found.forces is not None:
            row_noise = noise / weight.forces if weight.forces > 0 else 0.0
            table = np.empty((3 * n, 3))
            table[:, 0] = (force - force_label).ravel()
            table[:, 1] = np.repeat(found.forces, 3)
            table[:, 2] = model.force_scale * row_noise
            forces.append(table)
    beyond = [index for index, grade in enumerate(grades) if grade > 1]
    return {
        "members": len(student.committee),
        "energy_per_atom": _quality(energies, model.energy_scale),
        "forces": _quality(forces, model.force_scale),
        "extrapolation": {
            "structures": len(grades),
            "beyond_training": len(beyond),
            "beyond_training_indices": beyond,
            "largest_grade": max(grades, default=None),
        },
    }


def _quality(tables: list[np.ndarray], factor: float) -> dict[str, Any] | None:
    if not tables:
        return None
    error, posterior, noise = np.concatenate(tables).T
    predicted = np.hypot(posterior, noise)
    return {
        **deviation_quality(error, predicted),
        "posterior_deviation": rms(posterior),
        "noise_deviation": rms(noise),
        "coverage_unscaled": {
            name: float(np.mean(factor * np.abs(error) <= width * predicted))
            for name, width in LEVELS.items()
        },
        "leave_one_out_factor": factor,
    }


def _rms(values: np.ndarray, axis: int | tuple[int, ...]) -> Any:
    return np.sqrt(np.mean(np.square(values), axis=axis))
