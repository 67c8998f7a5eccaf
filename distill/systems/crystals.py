"""The cell of a crystal: its shape, its relaxation by any calculator, means of its fluctuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_RELAXATION_STEPS = 500


def is_cubic(atoms: Atoms) -> bool:
    """Whether the cell's edges are equal and at right angles."""
    lengths_angles = atoms.cell.cellpar()
    return bool(np.ptp(lengths_angles[:3]) < 1e-3 and np.abs(lengths_angles[3:] - 90).max() < 0.01)


def relaxed_cell(atoms: Atoms, calculator: Calculator, *, max_force: float = 5e-4) -> Atoms:
    """A crystal with its cell's edges and angles and its atoms relaxed, without calculator.

    Parameters
    ----------
    atoms
        Crystal at about its shape and volume.
    calculator
        ASE calculator with stress.
    max_force
        Largest force, and generalised force on the cell, eV/Å (ASE's `FrechetCellFilter`).

    Raises
    ------
    UserError
        If the calculator gives no stress, or the relaxation does not converge.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    relaxed = atoms.copy()
    relaxed.calc = calculator
    try:
        cell_and_atoms: Any = FrechetCellFilter(relaxed)
        converged = BFGS(cell_and_atoms, logfile=None).run(fmax=max_force, steps=_RELAXATION_STEPS)
    except NotImplementedError:
        raise UserError(
            f"the cell of {atoms.get_chemical_formula()} is not cubic, so its shape must be "
            "relaxed with stresses, which this calculator does not give"
        ) from None
    if not converged:
        raise UserError(
            f"the cell of {atoms.get_chemical_formula()} does not relax to {max_force:g} eV/Å "
            f"within {_RELAXATION_STEPS} steps: check the model and the cell, and whether the "
            "model is in double precision"
        )
    relaxed.calc = None
    return relaxed


def mean_with_interval(
    series: Sequence[float] | np.ndarray, blocks: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean of a correlated series with its interval from the means of equal blocks.

    Source: Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989); Student's t over the blocks.

    Raises
    ------
    UserError
        If there are fewer values than two a block.
    """
    from scipy.stats import t

    values = np.asarray(series, dtype=float)
    size = len(values) // blocks
    if size < 2:
        raise UserError(
            f"{len(values)} values are too few for {blocks} blocks: run longer or lower blocks"
        )
    means = values[-size * blocks :].reshape(blocks, size).mean(axis=1)
    half = t.ppf(0.5 * (1 + confidence), blocks - 1) * means.std(ddof=1) / np.sqrt(blocks)
    mean = float(values.mean())
    return mean, mean - float(half), mean + float(half)
