"""One vector for each structure, in which the few atoms that matter are not drowned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from ase import Atoms

from distill.core.errors import UserError
from distill.models.cached_calculators import cached_calculator

# A small basis is enough to tell structures apart, and costs about a millisecond a structure.
_ORDER, _DEGREES, _CUTOFF = 3, (10.0, 8.0, 6.0), 6.0
_COMPONENTS = 32


def structure_descriptors(
    structures: Sequence[Atoms], kind: Literal["ace", "teacher"], teacher: str
) -> np.ndarray:
    """Descriptors of structures, shape (structures, components).

    Site descriptors are averaged over the atoms of each element, and the elements' averages stand
    side by side, each centred and scaled to unit variance over the structures: two hydrogen atoms
    count as much as fifty of copper. Principal components follow, 32 at most.

    Parameters
    ----------
    structures
        At least one.
    kind
        `ace`: a linear ACE basis of order 3; `teacher`: invariant features of a MACE model.
    teacher
        The model of the second kind.

    Raises
    ------
    UserError
        If the teacher has no descriptors.
    """
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    site_descriptors = _ace(elements) if kind == "ace" else _teacher(teacher)
    blocks: dict[str, list[np.ndarray | None]] = {element: [] for element in elements}
    for atoms in structures:
        sites = site_descriptors(atoms)
        for element in elements:
            members = atoms.symbols == element
            blocks[element].append(sites[members].mean(axis=0) if members.any() else None)
    return _principal_components(np.hstack([_scaled(block) for block in blocks.values()]))


def _scaled(block: list[np.ndarray | None]) -> np.ndarray:
    """Centred rows of unit total variance; structures without the element sit one unit aside."""
    present = np.array([row is not None for row in block])
    values = np.array([row for row in block if row is not None])
    values = values - values.mean(axis=0)
    deviation = np.sqrt(np.mean(np.sum(values**2, axis=1)))
    columns = np.zeros((len(block), values.shape[1] + 1))
    columns[present, :-1] = values / deviation if deviation > 0 else values
    columns[~present, -1] = 1.0
    return columns


def _principal_components(values: np.ndarray) -> np.ndarray:
    values = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(values.T @ values)
    return values @ vectors[:, ::-1][:, :_COMPONENTS]


def _ace(elements: list[str]) -> Callable[[Atoms], np.ndarray]:
    from distill.student.basis.basis import BasisSpec, build_basis
    from distill.student.engine.assembly import site_descriptors

    basis = build_basis(
        BasisSpec(tuple(elements), order=_ORDER, totaldegree=_DEGREES, rcut=_CUTOFF)
    )
    return lambda atoms: site_descriptors(basis, atoms)


def _teacher(teacher: str) -> Callable[[Atoms], np.ndarray]:
    calculator = cached_calculator(teacher)
    if not hasattr(calculator, "get_descriptors"):
        raise UserError(
            f"selection.descriptor is 'teacher', but {teacher} has no descriptors; use 'ace'"
        )
    return lambda atoms: np.asarray(calculator.get_descriptors(atoms, invariants_only=True))
