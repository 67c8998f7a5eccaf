"""What a student carries of its training: sizes, errors, and the scales of its uncertainties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from distill.core.results import Record, Result

Deviation = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class SolverReport(Record):
    """What a solver says of its solution; None for what has no meaning for it.

    Attributes
    ----------
    solver
        Kind of the solver.
    noise
        Standard deviation of a weighted row about the model.
    prior_scale
        Standard deviation of the coefficients in the prior, times the smoothness.
    smoothness
        Power of the smoothness prior, where the evidence chose it.
    weight_factors
        On the weights of each kind of label, where the evidence chose them.
    strength
        λ of the penalty λ² ‖c‖².
    rtol, rank
        Relative tolerance of a truncation, and the rank that it leaves.
    effective_parameters, kept_functions
        Number of parameters that the labels determine, and of those that have a coefficient.
    log_evidence
        Logarithm of the marginal likelihood.
    folds, cross_validation_rms
        Of the cross-validation, and its error over weighted rows.
    iterations, stop
        Of an iterative solver, and why it ended.
    condition_number
        None where the system is singular.
    factorization
        That ACEfit used.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    solver: str
    folds: Count | None = None
    cross_validation_rms: Deviation | None = None
    rtol: Deviation | None = None
    rank: Count | None = None
    strength: Deviation | None = None
    noise: Deviation | None = None
    prior_scale: Deviation | None = None
    kept_functions: Count | None = None
    effective_parameters: Deviation | None = None
    log_evidence: float | None = None
    iterations: Count | None = None
    stop: int | None = None
    condition_number: Deviation | None = None
    smoothness: float | None = None
    weight_factors: dict[str, Deviation] | None = None
    factorization: str | None = None


class LabelCounts(Record):
    """Number of structures that carry an energy, forces, a stress."""

    energy: Count
    forces: Count
    stress: Count


class DeviationScale(Record):
    """By what the left-out errors of a fit exceed their predicted deviations, by kind of label."""

    model_config = ConfigDict(allow_inf_nan=False)

    energy: Deviation = 1.0
    forces: Deviation = 1.0


class LabelErrors(Record):
    """Root mean square errors; None for a label that the set does not have.

    Attributes
    ----------
    energy_per_atom, forces, stress
        eV/atom, eV/Å and eV/Å³.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    energy_per_atom: Deviation | None = None
    forces: Deviation | None = None
    stress: Deviation | None = None


class TrainingRecord(Result):
    """What a student carries of its training; None for what is not known.

    Attributes
    ----------
    solver
        The solver's report.
    structures, left_out, rows
        Numbers of structures that were fitted, of those that were not (duplicates and isolated
        atoms), and of rows of the regression.
    labels
        How many of the fitted structures carry which label.
    row_noise
        Standard deviation of a weighted row about the model.
    deviation_scale
        Factors on the deviations of the posterior.
    largest_site_deviation, largest_force_deviation
        Of each element over the training structures, before that factor: deviation of an atom's
        energy, eV, and of a component of the force on it, eV/Å. An extrapolation grade is a
        deviation over these.
    nearest_distances
        Å, by pair of elements, `A-B`; of pairs that never meet the cutoff.
    short_range
        How pairs of atoms behave below those distances, in words: `repulsive`, what is wrong, or
        what was done about it.
    train_rmse, test_rmse
        Errors on the training set and on structures held out.
    """

    VERSION: ClassVar[int] = 3
    model_config = ConfigDict(allow_inf_nan=False)

    version: int = 3
    solver: SolverReport | None = None
    structures: Count | None = None
    left_out: Count | None = None
    rows: Count | None = None
    labels: LabelCounts | None = None
    row_noise: Deviation | None = None
    deviation_scale: DeviationScale | None = None
    largest_site_deviation: dict[str, Deviation] | None = None
    largest_force_deviation: dict[str, Deviation] | None = None
    nearest_distances: dict[str, Deviation] | None = None
    short_range: str | None = None
    train_rmse: LabelErrors | None = None
    test_rmse: LabelErrors | None = None

    @classmethod
    def upgrade(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Version 1 was a mapping of any keys: those that have a place here are taken over.

        Version 2 had nothing of distances.
        """
        known = {key: value for key, value in data.items() if key in cls.model_fields}
        solver = known.get("solver")
        if isinstance(solver, Mapping):
            known["solver"] = {k: v for k, v in solver.items() if k in SolverReport.model_fields}
        return {**known, "version": cls.VERSION}

    @property
    def is_graded(self) -> bool:
        """Whether it has all that an extrapolation grade needs."""
        return self.largest_site_deviation is not None and self.largest_force_deviation is not None
