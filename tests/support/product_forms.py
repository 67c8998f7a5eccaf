"""A student with its products in a form of choice."""

from __future__ import annotations

from distill.student.engine.evaluate import Potential
from distill.student.engine.tables import (
    Evaluator,
    all_as_nodes,
    fold_weights,
    pair_evaluator_of,
)
from distill.student.student_model import Student


def in_form(student: Student, evaluator: Evaluator) -> Potential:
    weights = fold_weights(student.basis, student.coefficients, student.e0, evaluator)
    return Potential(student.elements, student.cutoff, evaluator.layout, weights)


def both_forms(student: Student) -> list[Potential]:
    """As nodes, and by coupled pairs."""
    pairs = pair_evaluator_of(student.basis)
    assert pairs is not None
    assert len(pairs.layout.pairs.row_value) > 0
    return [in_form(student, all_as_nodes(student.basis)), in_form(student, pairs)]
