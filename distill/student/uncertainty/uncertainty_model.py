"""Posterior uncertainties of a student: deviations of energies and forces, extrapolation grade.

The student carries a committee of coefficient vectors drawn from the posterior of its fit. The
root mean square deviation of the committee from the mean model estimates the posterior standard
deviation of whatever is linear in the coefficients, without bias; with K members its relative
error is 1/√(2 K), 12 % for 32. For a site energy this deviation is √(bᵀ Σ b) with b the site basis
and Σ the posterior covariance: the leverage of the site against the training set, in eV. Divided
by the largest of the training sites of the same element it is the grade of the atom's energy; the
same with the deviation of the force on the atom is the grade of its force. The larger of the two is
the extrapolation grade: where sites look alike the derivatives may not, and a force can be unknown
on an atom whose energy seems known.

Deviations are scaled by how much the fit's leave-one-structure-out errors exceed what the posterior
predicts for them (`leave_out_scale`), because a basis of finite size errs by more than the noise.

Source: MacKay, Neural Computation 4, 415 (1992); van der Oord et al., npj Comput. Mater. 9, 168
(2023), for committees of linear ACE; Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017),
for the grade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from distill.core.errors import UserError
from distill.core.results import Record, Result
from distill.data.structures import config_type, reference_energy, reference_forces
from distill.metrics.calibration import DeviationQuality, coverage, deviation_quality, rms
from distill.student.engine.evaluate import species_indices
from distill.student.parameters import StudentParameters
from distill.student.training_record import DeviationScale
from distill.student.uncertainty.committee import Committee, CommitteeEvaluation

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import LabelWeights
    from distill.student.engine.evaluate import Evaluation

# Members whose forces are evaluated: with the three components, six numbers for each atom, so its
# force deviation is known to 29 %. The student and two members go through the kernels together;
# three further ones cost about 0.7 plain calls.
FORCE_MEMBERS = 2
# In calibration the cost matters less.
_CALIBRATION_MEMBERS = 8

Parameters = TypeVar("Parameters", bound=StudentParameters)


class Uncertainty(NamedTuple):
    """Scaled posterior standard deviations for one structure, without the noise of the labels.

    Attributes
    ----------
    energy
        Of the total energy, eV.
    energies
        Of each atom's energy, (N,), eV.
    forces
        Of a force component on each atom, averaged over directions, (N,), eV/Å.
    energy_grade
        Of each atom, (N,): its energy's deviation over the largest of the training sites of its
        element.
    force_grade
        The same of the force on it, (N,).
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    energy_grade: np.ndarray
    force_grade: np.ndarray

    @property
    def grade(self) -> np.ndarray:
        """Extrapolation grade of each atom, (N,): the larger of the two.

        Above 1 the training set does not support the atom's energy or the force on it.
        """
        return np.maximum(self.energy_grade, self.force_grade)


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

    def __init__(self, student: StudentParameters, force_members: int = FORCE_MEMBERS) -> None:
        if student.committee is None or len(student.committee) == 0:
            raise UserError(
                "the student carries no committee, so it has no uncertainty: fit it with "
                "student.solver.kind blr and student.solver.committee above 0"
            )
        self.student = student
        self._committee = Committee(student, force_members)
        record = student.training
        scale = record.deviation_scale or DeviationScale()
        self.energy_scale, self.force_scale = scale.energy, scale.forces
        self.largest_site = self._by_element(record.largest_site_deviation)
        self.largest_force = self._by_element(record.largest_force_deviation)

    def predict(self, atoms: Atoms) -> tuple[Evaluation, Uncertainty]:
        """The student's energies, forces and virial with their uncertainties, in one pass.

        Raises
        ------
        UserError
            As `Student.evaluate`.
        """
        found = self._committee.evaluate(atoms)
        energies, forces = _deviations(found)
        return found.mean, Uncertainty(
            energy=self.energy_scale * float(_rms(found.energies.sum(axis=0), axis=0)),
            energies=self.energy_scale * energies,
            forces=self.force_scale * forces,
            energy_grade=self._grade(atoms, energies, self.largest_site),
            force_grade=self._grade(atoms, forces, self.largest_force),
        )

    def _by_element(self, largest: Mapping[str, float] | None) -> np.ndarray:
        """In the order of the student's elements; an element without training sites has none."""
        return np.array([(largest or {}).get(symbol, 0.0) for symbol in self.student.elements])

    def _grade(self, atoms: Atoms, deviations: np.ndarray, largest: np.ndarray) -> np.ndarray:
        reference = largest[species_indices(self.student.elements, atoms)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(deviations > 0, deviations / reference, 0.0)


def is_graded(student: StudentParameters) -> bool:
    """Whether a student has a committee and says what deviations its training data had.

    Without the latter every grade is infinite.
    """
    has_committee = student.committee is not None and len(student.committee) > 0
    return has_committee and student.training.is_graded


def with_training_deviations(student: Parameters, structures: Sequence[Atoms]) -> Parameters:
    """The student with the largest deviations of each element over its training structures.

    They are those of atoms' energies and, with as many members as `UncertaintyModel` takes, of the
    forces on them. A student without a committee is returned as it is.
    """
    if student.committee is None or len(student.committee) == 0:
        return student
    committee = Committee(student, FORCE_MEMBERS)
    sites: dict[str, float] = {}
    forces: dict[str, float] = {}
    for atoms in structures:
        symbols = np.array(atoms.get_chemical_symbols())
        found = _deviations(committee.evaluate(atoms))
        for largest, deviations in zip((sites, forces), found, strict=True):
            for symbol in set(symbols.tolist()):
                most = float(deviations[symbols == symbol].max())
                largest[symbol] = max(largest.get(symbol, 0.0), most)
    known = {"largest_site_deviation": sites, "largest_force_deviation": forces}
    return replace(student, training=student.training.model_copy(update=known))


class PosteriorQuality(DeviationQuality):
    """How well the posterior describes errors on held-out structures.

    Attributes
    ----------
    posterior_deviation, noise_deviation
        Root mean squares of the two parts of the predicted deviation, scaled.
    coverage_unscaled
        `coverage` without the fit's leave-one-structure-out factor.
    leave_one_out_factor
        That factor.
    """

    posterior_deviation: float
    noise_deviation: float
    coverage_unscaled: dict[str, float]
    leave_one_out_factor: float


class Extrapolation(Record):
    """Which of some structures the student's training data do not support.

    Attributes
    ----------
    structures
        How many there are.
    beyond_training, beyond_training_indices
        Those with an atom whose grade is above 1.
    largest_grade
        Of all atoms; None without structures.
    """

    structures: int
    beyond_training: int
    beyond_training_indices: list[int]
    largest_grade: float | None


class UncertaintyQuality(Result):
    """What is known of a student's uncertainties on held-out structures.

    Attributes
    ----------
    members
        Of its committee; all else is None without one.
    energy_per_atom, forces
        eV/atom, and eV/Å over components; None without labels.
    extrapolation
        Which of the structures are beyond its training data.
    """

    members: int
    energy_per_atom: PosteriorQuality | None = None
    forces: PosteriorQuality | None = None
    extrapolation: Extrapolation | None = None


def calibration(
    student: StudentParameters, structures: Sequence[Atoms], weights: Mapping[str, LabelWeights]
) -> UncertaintyQuality:
    """How well predicted deviations describe the errors on held-out structures.

    The prediction is normal with the posterior's variance plus that of the fit's noise, which by
    the row weights is σ √N / w_E for an energy and σ / w_F for a force component, both scaled by
    the fit's leave-one-structure-out factor.

    Parameters
    ----------
    student
        The student.
    structures
        Held out, with REF_ labels.
    weights
        Row weights of the fit, by config_type.
    """
    if student.committee is None or len(student.committee) == 0:
        return UncertaintyQuality(members=0)
    model = UncertaintyModel(student, _CALIBRATION_MEMBERS)
    energies: list[np.ndarray] = []
    forces: list[np.ndarray] = []
    grades = []
    noise = student.training.row_noise or 0.0
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
        if force_label is not None:
            row_noise = noise / weight.forces if weight.forces > 0 else 0.0
            table = np.empty((3 * n, 3))
            table[:, 0] = (force - force_label).ravel()
            table[:, 1] = np.repeat(found.forces, 3)
            table[:, 2] = model.force_scale * row_noise
            forces.append(table)
    return UncertaintyQuality(
        members=len(student.committee),
        energy_per_atom=_quality(energies, model.energy_scale),
        forces=_quality(forces, model.force_scale),
        extrapolation=_extrapolation(grades),
    )


def extrapolation(student: StudentParameters, structures: Sequence[Atoms]) -> Extrapolation | None:
    """Which structures the student's training data do not support.

    None for a student without a committee or grades.

    Raises
    ------
    UserError
        As `Student.evaluate`.
    """
    if not is_graded(student):
        return None
    model = UncertaintyModel(student)
    return _extrapolation([float(model.predict(atoms)[1].grade.max()) for atoms in structures])


def _extrapolation(grades: Sequence[float]) -> Extrapolation:
    beyond = [index for index, grade in enumerate(grades) if grade > 1]
    return Extrapolation(
        structures=len(grades),
        beyond_training=len(beyond),
        beyond_training_indices=beyond,
        largest_grade=max(grades, default=None),
    )


def _quality(tables: list[np.ndarray], factor: float) -> PosteriorQuality | None:
    if not tables:
        return None
    error, posterior, noise = np.concatenate(tables).T
    predicted = np.hypot(posterior, noise)
    return PosteriorQuality(
        **dict(deviation_quality(error, predicted)),
        posterior_deviation=rms(posterior),
        noise_deviation=rms(noise),
        coverage_unscaled=coverage(factor * error, predicted),
        leave_one_out_factor=factor,
    )


def _deviations(found: CommitteeEvaluation) -> tuple[np.ndarray, np.ndarray]:
    """Of each atom's energy (eV) and of a component of the force on it (eV/Å), (N,) each."""
    return _rms(found.energies, axis=1), _rms(found.forces, axis=(0, 2))


def _rms(values: np.ndarray, axis: int | tuple[int, ...]) -> Any:
    return np.sqrt(np.mean(np.square(values), axis=axis))
