"""Which bases are tried, and how long a call of each takes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.search.nested import size_of

if TYPE_CHECKING:
    from ase import Atoms

# Degrees of the orders as shares of the first one's.
SHAPES: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (1.0, 0.85),
    (1.0, 0.86, 0.64),
    (1.0, 0.78, 0.67),
    (1.0, 0.67, 0.56, 0.44),
    (1.0, 0.8, 0.65, 0.5),
)
# The shape that cutoff and wL are chosen with, at one size.
FIRST_SHAPE = SHAPES[3]
RADIAL_SIZE, SHAPE_SIZE = 600, 1000
# Sizes of the last stage grow by so much.
SIZE_STEP = 1.4
SMALLEST_SIZE = 120
_MOST_DEGREE = 40
_ROUNDS, _ROUND_SECONDS = 7, 0.01
_DISPLACEMENT = 0.01


def shapes_up_to(order: int) -> list[tuple[float, ...]]:
    """Shapes of at most that order."""
    return [shape for shape in SHAPES if len(shape) <= order]


def of_size(spec: BasisSpec, shape: Sequence[float], size: int) -> BasisSpec | None:
    """The largest basis of a shape with at most `size` functions; None where there is none."""
    best = None
    for tried in _by_degree(spec, shape):
        if size_of(tried) > size:
            break
        best = tried
    return best


def around(spec: BasisSpec, shape: Sequence[float], size: int, most: int) -> list[BasisSpec]:
    """The bases of a shape next below and above `size` functions, with at most `most`.

    The next size of one may be half as large again, so that bases of different shapes are compared
    at a size between their own.
    """
    below = of_size(spec, shape, min(size, most))
    larger = (tried for tried in _by_degree(spec, shape) if size_of(tried) > size)
    found = [below, next((tried for tried in larger if size_of(tried) <= most), None)]
    return [basis for basis in found if basis is not None]


def value_at(size: int, functions: Sequence[int], values: Sequence[float]) -> float:
    """A value of bases of some sizes, at another: linear in the logarithm of the size."""
    order = np.argsort(functions)
    logs = np.log(np.array(functions, float)[order])
    return float(np.interp(np.log(size), logs, np.array(values)[order]))


def _by_degree(spec: BasisSpec, shape: Sequence[float]) -> Iterator[BasisSpec]:
    """Bases of a shape from small to large; degrees are whole numbers, so that they are nested."""
    for degree in range(2, _MOST_DEGREE):
        degrees = tuple(float(max(1, round(share * degree))) for share in shape)
        yield replace(spec, order=len(shape), totaldegree=degrees)


def sizes(spec: BasisSpec, shape: Sequence[float], most: int) -> list[BasisSpec]:
    """Bases of one shape from small to large, each about 1.4 times the one before."""
    steps = max(1, math.ceil(math.log(max(most / SMALLEST_SIZE, 1.0)) / math.log(SIZE_STEP)))
    wanted = [round(most / SIZE_STEP**k) for k in range(steps, -1, -1)]
    found = [of_size(spec, shape, size) for size in wanted]
    return list(dict.fromkeys(basis for basis in found if basis is not None))


def call_times(specs: Sequence[BasisSpec], atoms: Atoms) -> list[float]:
    """Time of an energy-and-forces call of each basis on one core, µs an atom.

    A call is that of dynamics: new positions and a neighbour list that is kept. Every basis takes
    its turn in each round; the median of the rounds is returned. It is processor time of this
    thread, so that other programs on the machine hardly change it.
    """
    from distill.student.student_model import Student

    rng = np.random.default_rng(0)
    moved = [atoms.copy() for _ in range(4)]
    for other in moved:
        other.positions += rng.uniform(-_DISPLACEMENT, _DISPLACEMENT, other.positions.shape)
    calls = []
    for spec in specs:
        basis = build_basis(spec)
        student = Student(
            basis=basis,
            coefficients=1e-6 * rng.normal(size=basis.n_functions),
            e0=dict.fromkeys(spec.elements, 0.0),
        )
        calls.append(partial(_call, student.calculator(), moved))
    rounds = []
    for call in calls:
        call()
    for _ in range(_ROUNDS):
        rounds.append([_seconds(call) for call in calls])
    scale = 1e6 / len(moved) / len(atoms)
    return [float(value) for value in scale * np.median(rounds, axis=0)]


def _call(calculator: object, moved: Sequence[Atoms]) -> None:
    for atoms in moved:
        calculator.calculate(atoms)  # type: ignore[attr-defined]


def _seconds(call: partial[None]) -> float:
    """Seconds of a call, repeated for a hundredth of a second."""
    start, count = time.thread_time(), 0
    while count == 0 or time.thread_time() - start < _ROUND_SECONDS:
        call()
        count += 1
    return (time.thread_time() - start) / count
