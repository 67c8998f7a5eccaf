"""What a student is made of, and its file: a basis, coefficients, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.basis.basis import Basis
from distill.student.engine.evaluate import Potential, make_potential
from distill.student.error_model import ErrorModel
from distill.student.file_entries import COMMITTEE, ERROR_MODEL
from distill.student.student_file import read_student_file, write_student_file
from distill.student.training_record import TrainingRecord

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StudentParameters:
    """The numbers of a fitted linear ACE potential.

    Attributes
    ----------
    basis
        Its basis.
    coefficients
        (n_functions,), eV, in ACEpotentials' order: many-body of each element, pair of each.
    e0
        One-body energy of each element, eV.
    committee
        Further coefficient vectors drawn from the posterior, (members, n_functions), or None.
    provenance
        Where it comes from: files with SHA-256, settings, versions; JSON values and NumPy numbers.
    training
        Sizes and errors of the fit, and what grades of extrapolation need.
    errors
        How large its errors are, from site to site, or None.
    """

    basis: Basis
    coefficients: Array
    e0: Mapping[str, float]
    committee: Array | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingRecord = field(default_factory=TrainingRecord)
    errors: ErrorModel | None = None

    def __post_init__(self) -> None:
        n = self.basis.n_functions
        if self.coefficients.shape != (n,):
            raise UserError(
                f"a student with {n} functions has coefficients of shape "
                f"{self.coefficients.shape}, expected ({n},)"
            )
        if not np.isfinite(self.coefficients).all():
            raise UserError("the student's coefficients are not finite numbers; fit it again")
        missing = [symbol for symbol in self.basis.elements if symbol not in self.e0]
        if missing:
            raise UserError(f"the student has no one-body energy (e0) for {', '.join(missing)}")

    def __repr__(self) -> str:
        members = 0 if self.committee is None else len(self.committee)
        committee = f"committee of {members}" if members else "no committee"
        graded = "graded" if members and self.training.is_graded else "not graded"
        return f"{type(self).__name__}({self.basis.summary()}, {committee}, {graded})"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a student file, or any linear model in the schema of ace-jax.

        Raises
        ------
        UserError
            If the file is missing, damaged, foreign or of an unknown version.
        """
        file = read_student_file(path)
        committee = file.arrays.get(COMMITTEE)
        return cls(
            basis=file.basis,
            coefficients=joined_coefficients(file.arrays["WB"], file.arrays["Wpair"]),
            e0=dict(
                zip(file.basis.elements, file.arrays["E0"].astype(float).tolist(), strict=True)
            ),
            committee=None if committee is None else committee.astype(float),
            errors=_error_model(file.arrays),
            provenance=file.provenance,
            training=file.training,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the student file; it appears whole or not at all."""
        n_species, split = self.basis.n_species, self.basis.n_species * self.basis.n_many_body
        arrays = {
            "WB": self.coefficients[:split].reshape(n_species, -1).T,
            "Wpair": self.coefficients[split:].reshape(n_species, self.basis.n_pair).T,
            "E0": np.array([self.e0[symbol] for symbol in self.basis.elements], float),
        }
        if self.committee is not None:
            arrays[COMMITTEE] = self.committee
        if self.errors is not None:
            arrays |= {name: getattr(self.errors, key) for key, name in ERROR_MODEL.items()}
        write_student_file(path, self.basis, arrays, self.provenance, self.training)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols the student knows."""
        return self.basis.elements

    @property
    def cutoff(self) -> float:
        """Largest cutoff, Å."""
        return self.basis.cutoff

    @cached_property
    def potential(self) -> Potential:
        """What the kernels evaluate."""
        return make_potential(self.basis, self.coefficients, self.e0)


def _error_model(arrays: Mapping[str, NDArray[Any]]) -> ErrorModel | None:
    if not set(ERROR_MODEL.values()) <= set(arrays):
        return None
    return ErrorModel(**{key: arrays[name].astype(float) for key, name in ERROR_MODEL.items()})


def joined_coefficients(many_body: NDArray[Any], pair: NDArray[Any]) -> Array:
    """The coefficient vector of tables (functions, elements), as a student file has them."""
    return np.concatenate([many_body.T.ravel(), pair.T.ravel()]).astype(float)
