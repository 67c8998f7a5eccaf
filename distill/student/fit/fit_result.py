"""What a fit gives, by whichever backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student


@dataclass(frozen=True)
class Fit:
    """A fitted student and what was done to get it; the numbers are in its `training`.

    Attributes
    ----------
    student
        The model, with the deviations of its training structures where it has a committee.
    structures
        The structures it was fitted to: the training set without duplicates and isolated atoms.
    assembly_seconds, solve_seconds
        Wall times.
    posterior_root
        L with L Lᵀ the posterior covariance of the coefficients, (n, k); None where the solver or
        the backend does not give it.
    """

    student: Student
    structures: list[Atoms]
    assembly_seconds: float
    solve_seconds: float
    posterior_root: np.ndarray | None = None
