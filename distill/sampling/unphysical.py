"""Sampled structures that no student should learn from: found, counted, left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from distill.data.structures import reference_energy, reference_forces
from distill.sampling.config import SelectionConfig

NOT_FINITE = "label or position not finite"
LARGE_FORCE = "force above max_force"
CLOSE_ATOMS = "atoms closer than min_distance"


def unphysical_reason(atoms: Atoms, config: SelectionConfig) -> str | None:
    """Why a labelled structure is left out, or None for a good one."""
    energy, forces = reference_energy(atoms), reference_forces(atoms)
    if energy is None or forces is None or not np.isfinite(energy):
        return NOT_FINITE
    if not (np.all(np.isfinite(forces)) and np.all(np.isfinite(atoms.positions))):
        return NOT_FINITE
    if np.linalg.norm(forces, axis=1).max() > config.max_force:
        return LARGE_FORCE
    if len(neighbor_list("i", atoms, config.min_distance)):
        return CLOSE_ATOMS
    return None


def without_unphysical(
    structures: Sequence[Atoms], config: SelectionConfig
) -> tuple[list[Atoms], dict[str, int]]:
    """The good structures in their order, and how many were left out for each reason."""
    reasons = [unphysical_reason(atoms, config) for atoms in structures]
    kept = [atoms for atoms, reason in zip(structures, reasons, strict=True) if reason is None]
    return kept, dict(sorted(Counter(reason for reason in reasons if reason).items()))
