"""A student on one screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from distill.student.model import Student

_TIMED_ATOMS = 64
_REPEATS = 7


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
    for title, values in (("training", student.training), ("provenance", student.provenance)):
        if values:
            lines += [f"{title}:", *_indented(values, "  ")]
    return "\n".join(lines)


def _uncertainty(student: Student) -> str:
    if student.committee is None:
        return "none stored"
    return f"committee of {len(student.committee)} draws from the posterior"


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


def _indented(values: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}:", *_indented(value, indent + "  ")]
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key}: {shown}")
    return lines
