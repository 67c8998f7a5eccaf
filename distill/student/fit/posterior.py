"""The posterior of a regression around coefficients that another program found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.progress import listed, say
from distill.student.fit import training_set
from distill.student.fit.accumulate import accumulate, plan_blocks, threads_that_fit
from distill.student.fit.native_fit import baseline_of, design_of, smoothness_prior
from distill.student.fit.solvers import bayesian, draw_committee

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import LabelWeights
    from distill.student.student_model import Student


def with_posterior(
    student: Student,
    structures: Sequence[Atoms],
    weights: Mapping[str, LabelWeights],
    *,
    power: float,
    members: int,
    seed: int,
) -> Student:
    """The student with a committee around its coefficients, and a record of the structures.

    The members' deviations are those of the Bayesian regression of these structures on its basis;
    its own coefficients stay what they are.

    Parameters
    ----------
    student
        A student; its committee, if any, is replaced.
    structures
        Its training structures, with any of the labels REF_energy (eV), REF_forces (eV/Å),
        REF_stress (eV/Å³).
    weights
        Of the labels, by config_type, with an entry `default`.
    power
        Of the algebraic smoothness prior.
    members
        Of the committee.
    seed
        Of the draws.

    Raises
    ------
    UserError
        If no structure carries a label, or one has an element that the student does not know.
    """
    from threadpoolctl import threadpool_limits

    labels = training_set.label_counts(structures)
    _refuse_other_elements(structures, student.elements)
    basis, n = student.basis, student.basis.n_functions
    rows = [
        training_set.rows_of(atoms, baseline_of(atoms, basis, student.e0), weights, index)
        for index, atoms in enumerate(structures)
    ]
    counts = [row.count for row in rows]
    blocks = plan_blocks([list(range(len(rows)))], counts, n)
    threads = threads_that_fit(blocks, n, 1, available_cores())
    (factor,) = accumulate(design_of(basis), structures, rows, blocks, n, threads=threads)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    with threadpool_limits(1):
        solution = bayesian(factor, smoothness_prior(basis, power))
        draws = draw_committee(solution, members, rng)
    say(f"uncertainties: {members} draws from the posterior of {len(structures)} structures")
    known = {"labels": labels, "structures": len(structures), "rows": sum(counts)}
    return replace(
        student,
        committee=None if draws is None else student.coefficients + draws - solution.coefficients,
        training=student.training.model_copy(update=known),
    )


def _refuse_other_elements(structures: Sequence[Atoms], elements: Sequence[str]) -> None:
    known = set(elements)
    foreign = [k for k, atoms in enumerate(structures) if set(atoms.symbols) - known]
    if foreign:
        raise UserError(
            f"training structures {listed(foreign)} have other elements than the student's "
            f"{', '.join(elements)}: leave them out"
        )
