"""What a fit gives, by whichever backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.short_range import PairCurves
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
    curves
        The student at distances below those of the structures.
    assembly_seconds, solve_seconds
        Wall times.
    posterior_root
        L with L Lᵀ the posterior covariance of the coefficients, (n, k); None where the solver or
        the backend does not give it.
    """

    student: Student
    structures: list[Atoms]
    curves: PairCurves
    assembly_seconds: float
    solve_seconds: float
    posterior_root: np.ndarray | None = None


def recorded(found: Fit) -> Student:
    """The student of a fit with what its pair curves showed in its record, said where it is bad."""
    curves = found.curves
    if problems := curves.summary():
        say(
            f"WARNING: student fit: {problems}. Do not let such atoms come near each other: add "
            "structures with them close together, or choose zbl: true"
        )
    training = found.student.training.model_copy(
        update={
            "nearest_distances": {name: curve.nearest for name, curve in curves.pairs.items()},
            "short_range": curves.summary() or curves.remedy or "repulsive",
        }
    )
    return replace(found.student, training=training)
