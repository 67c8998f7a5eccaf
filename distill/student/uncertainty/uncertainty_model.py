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
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from distill.core.errors import UserError
from distill.core.results import Record, Result
from distill.data.structures import config_type, reference_energy, reference_forces
from distill.metrics.calibration import DeviationQuality, deviation_quality, rank_correlation, rms
from distill.student.engine.evaluate import species_indices
from distill.student.parameters import StudentParameters
from distill.student.training_record import DeviationScale
from distill.student.uncertainty.committee import (
    Committee,
    CommitteeEvaluation,
    force_deviations,
)

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
    """What is not known of one structure.

    The deviations are the posterior's, scaled, without the noise of the labels: what further labels
    would take away. The errors are what a prediction has to be expected to err by: by the student's
    error model, or these deviations where it has none.

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
    energy_error, force_errors
        Standard deviation of the error of the total energy, eV, and of a force component on each
        atom, (N,), eV/Å.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    energy_grade: np.ndarray
    force_grade: np.ndarray
    energy_error: float
    force_errors: np.ndarray

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
        forms = None if student.errors is None else student.errors.directions
        self._committee = Committee(student, force_members, forms)
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
        species = species_indices(self.student.elements, atoms)
        found = self._committee.evaluate(atoms)
        energies, forces = _deviations(found)
        total = float(_rms(found.energies.sum(axis=0), axis=0))
        energy_error, force_errors = self.energy_scale * total, self.force_scale * forces
        if (errors := self.student.errors) is not None:
            force_errors = errors.force_errors(
                species, forces, found.mean.forces, found.projections
            )
            energy_error = errors.energy_error(total, force_errors)
        return found.mean, Uncertainty(
            energy=self.energy_scale * total,
            energies=self.energy_scale * energies,
            forces=self.force_scale * forces,
            energy_grade=self._grade(species, energies, self.largest_site),
            force_grade=self._grade(species, forces, self.largest_force),
            energy_error=energy_error,
            force_errors=force_errors,
        )

    def _by_element(self, largest: Mapping[str, float] | None) -> np.ndarray:
        """In the order of the student's elements; an element without training sites has none."""
        return np.array([(largest or {}).get(symbol, 0.0) for symbol in self.student.elements])

    def _grade(
        self, species: np.ndarray, deviations: np.ndarray, largest: np.ndarray
    ) -> np.ndarray:
        reference = largest[species]
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
    posterior_deviation
        Root mean square of the posterior's deviation, scaled by the left-out errors of the fit.
    rank_correlation_atoms, rank_correlation_structures
        Of the size of the error of the force on an atom, and of the root mean square error of a
        structure's forces, with the predicted one (Spearman); None for energies.
    """

    posterior_deviation: float
    rank_correlation_atoms: float | None = None
    rank_correlation_structures: float | None = None


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

    VERSION: ClassVar[int] = 2

    version: int = 2
    members: int
    energy_per_atom: PosteriorQuality | None = None
    forces: PosteriorQuality | None = None
    extrapolation: Extrapolation | None = None

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Version 1 had the parts of the predicted deviation, and ranked components alone."""
        gone = ("noise_deviation", "coverage_unscaled", "leave_one_out_factor")
        kept = {
            name: {key: v for key, v in value.items() if key not in gone}
            if name in ("energy_per_atom", "forces") and value
            else value
            for name, value in data.items()
        }
        return {**kept, "version": cls.VERSION}


def calibration(
    student: StudentParameters, structures: Sequence[Atoms], weights: Mapping[str, LabelWeights]
) -> UncertaintyQuality:
    """How well the errors to be expected describe those on held-out structures.

    A student without an error model expects the posterior's variance plus that of the fit's noise,
    which by the row weights is σ √N / w_E for an energy and σ / w_F for a force component, both
    scaled by the fit's left-out errors.

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
    # The error model belongs to the members that it was fitted with.
    model = UncertaintyModel(student, FORCE_MEMBERS if student.errors else _CALIBRATION_MEMBERS)
    energies: list[np.ndarray] = []
    forces: list[np.ndarray] = []
    grades = []
    noise = 0.0 if student.errors else student.training.row_noise or 0.0
    for atoms in structures:
        weight = weights.get(config_type(atoms), weights["default"])
        mean, found = model.predict(atoms)
        grades.append(float(found.grade.max()))
        n = len(atoms)
        energy_label, force_label = reference_energy(atoms), reference_forces(atoms)
        if energy_label is not None:
            row_noise = noise / (weight.energy * np.sqrt(n)) if weight.energy > 0 else 0.0
            error = float(mean.energies.sum()) - energy_label
            expected = np.hypot(found.energy_error / n, model.energy_scale * row_noise)
            energies.append(np.array([[error / n, expected, found.energy / n]]))
        if force_label is not None:
            row_noise = noise / weight.forces if weight.forces > 0 else 0.0
            expected = np.hypot(found.force_errors, model.force_scale * row_noise)
            rows = np.column_stack([expected, found.forces]).repeat(3, axis=0)
            forces.append(np.column_stack([(mean.forces - force_label).ravel(), rows]))
    return UncertaintyQuality(
        members=len(student.committee),
        energy_per_atom=_quality(energies),
        forces=_ranked(forces),
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


def _quality(tables: Sequence[np.ndarray]) -> PosteriorQuality | None:
    """Of rows (error, expected deviation, posterior deviation)."""
    if not tables:
        return None
    error, expected, posterior = np.concatenate(tables).T
    found = dict(deviation_quality(error, expected))
    return PosteriorQuality(**found, posterior_deviation=rms(posterior))


def _ranked(tables: Sequence[np.ndarray]) -> PosteriorQuality | None:
    """`_quality` of force components, and how atoms and structures are ranked."""
    found = _quality(tables)
    if found is None:
        return None
    atoms = np.sqrt(np.mean(np.concatenate(tables).reshape(-1, 3, 3)[:, :, :2] ** 2, axis=1))
    structures = np.array([[rms(table[:, k]) for k in (0, 1)] for table in tables])
    ranks = {
        "rank_correlation_atoms": rank_correlation(*atoms.T),
        "rank_correlation_structures": rank_correlation(*structures.T),
    }
    return found.model_copy(update=ranks)


def _deviations(found: CommitteeEvaluation) -> tuple[np.ndarray, np.ndarray]:
    """Of each atom's energy (eV) and of a component of the force on it (eV/Å), (N,) each."""
    return _rms(found.energies, axis=1), force_deviations(found.forces)


def _rms(values: np.ndarray, axis: int | tuple[int, ...]) -> Any:
    return np.sqrt(np.mean(np.square(values), axis=axis))
