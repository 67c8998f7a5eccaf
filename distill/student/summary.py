"""A student on one screen."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.quantities import MEV
from distill.student.training_record import TrainingRecord
from distill.student.uncertainty.uncertainty_model import is_graded

if TYPE_CHECKING:
    from distill.student.student_model import Student

_TIMED_ATOMS = 64
_REPEATS = 7
_WIDTH = 100
_ERRORS = {
    "energy_per_atom": ("energy", "meV/atom"),
    "forces": ("forces", "meV/Å"),
    "stress": ("stress", "meV/Å³"),
}
_NOT_OF_THE_FIT = {
    "version", "train_rmse", "test_rmse", "largest_site_deviation", "largest_force_deviation",
}  # fmt: skip


def summary(student: Student) -> str:
    """Elements, cutoff, size, errors, speed on this machine, and provenance, as text.

    Parameters
    ----------
    student
        The model.
    """
    basis = student.basis
    lines = [
        f"linear ACE for {', '.join(student.elements)}; cutoff {student.cutoff:g} Å",
        f"functions: {basis.n_functions} ({basis.n_many_body} many-body and {basis.n_pair} pair "
        "for each element)",
        "one-body energies: " + ", ".join(f"{s} {e:.6g} eV" for s, e in student.e0.items()),
        f"uncertainty: {_uncertainty(student)}",
        f"speed: {_microseconds(student):.3g} µs an atom for energy and forces, one core "
        f"({_TIMED_ATOMS} atoms at about the density of a solid, best of {_REPEATS})",
    ]
    lines += _training(student.training)
    for key, value in student.provenance.items():
        lines += _wrapped(key, value)
    return "\n".join(lines)


def _training(record: TrainingRecord) -> list[str]:
    """Errors first, then the numbers of the fit."""
    lines = []
    for title, errors in (
        ("errors in training", record.train_rmse),
        ("errors held out", record.test_rmse),
    ):
        found = errors.model_dump(exclude_none=True) if errors else {}
        parts = [f"{_ERRORS[k][0]} {MEV * value:.3g} {_ERRORS[k][1]}" for k, value in found.items()]
        lines.append(f"{title}: RMSE {', '.join(parts)}" if parts else f"{title}: not recorded")
    others = record.model_dump(exclude_none=True, exclude=_NOT_OF_THE_FIT)
    tables = {key: value for key, value in others.items() if isinstance(value, Mapping)}
    lines += _wrapped("fit", {key: v for key, v in others.items() if key not in tables})
    for key, value in tables.items():
        lines += _wrapped(key, value)
    return lines


def _uncertainty(student: Student) -> str:
    if student.committee is None:
        return "none stored"
    grades = "with" if is_graded(student) else "without"
    errors = "with" if student.errors is not None else "without"
    return (
        f"committee of {len(student.committee)} draws, {grades} extrapolation grades, "
        f"{errors} a model of errors"
    )


def _microseconds(student: Student) -> float:
    """Best time of an energy-and-forces call on a random dense cell, µs an atom."""
    from ase import Atoms

    side = round(_TIMED_ATOMS ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    spacing = 2.3
    jitter = np.random.default_rng(0).normal(scale=0.05, size=grid.shape)
    symbols = [student.elements[i % len(student.elements)] for i in range(len(grid))]
    atoms = Atoms(symbols, grid * spacing + jitter, cell=[side * spacing] * 3, pbc=True)
    student.evaluate(atoms)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        student.evaluate(atoms)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(atoms)


def _wrapped(key: str, value: Any) -> list[str]:
    """`key: value`, nested values in line, what is not set left out; long lines are wrapped."""
    text = _inline(value)
    if not text:
        return []
    return textwrap.wrap(f"{key}: {text}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [(key, _inline(inner)) for key, inner in value.items() if inner is not None]
        return ", ".join(
            f"{key} ({text})" if isinstance(value[key], Mapping) else f"{key} {text}"
            for key, text in parts
            if text
        )
    if isinstance(value, (list, tuple)):
        return "/".join(_inline(inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
