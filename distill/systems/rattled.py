"""Structures pushed out of their places."""

from __future__ import annotations

import numpy as np
from ase import Atoms


def rattled(
    atoms: Atoms, generator: np.random.Generator, *, amplitude: float, strain: float = 0.0
) -> Atoms:
    """A copy with random normal displacements and, if fully periodic, a random symmetric strain.

    Parameters
    ----------
    atoms
        The structure; labels and constraints are left out.
    generator
        Random stream.
    amplitude
        Standard deviation of the displacements, Å.
    strain
        Largest entry of the strain.
    """
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if copy.pbc.all() and strain > 0:
        entries = generator.uniform(-strain, strain, (3, 3))
        deformation = np.eye(3) + (entries + entries.T) / 2
        copy.set_cell(copy.cell.array @ deformation, scale_atoms=True)
    copy.positions += generator.normal(0.0, amplitude, copy.positions.shape)
    return copy
