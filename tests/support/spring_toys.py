"""Atoms on springs: calculators of a few microseconds whose vibrations are known."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    """Springs between atoms whose numbers follow each other, round the cell along x if periodic.

    Each vector between two neighbours is pulled back to `length` along x with the same stiffness
    (eV/Å²) in all directions, so every wave of a chain has three equal frequencies.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness: float = 5.0, length: float = 2.0) -> None:
        super().__init__()
        self.stiffness, self.length = stiffness, length

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        positions, width = self.atoms.positions, self.atoms.cell.array[0, 0]
        vectors = np.roll(positions, -1, axis=0) - positions - (self.length, 0, 0)
        if self.atoms.pbc[0]:
            vectors[-1, 0] += width
        else:
            vectors[-1] = 0
        pull = self.stiffness * vectors
        self.results = {
            "energy": 0.5 * self.stiffness * float(np.sum(vectors**2)),
            "forces": pull - np.roll(pull, 1, axis=0),
        }


class Bond(Calculator):
    """Two atoms on a spring of a length that turns freely."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness: float = 35.0, length: float = 0.75) -> None:
        super().__init__()
        self.stiffness, self.length = stiffness, length

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        vector = self.atoms.positions[1] - self.atoms.positions[0]
        distance = np.linalg.norm(vector)
        stretch = distance - self.length
        pull = self.stiffness * stretch * vector / distance
        self.results = {
            "energy": 0.5 * self.stiffness * stretch**2,
            "forces": np.array([pull, -pull]),
        }


def stiff_springs() -> Springs:
    """A fifth higher stiffness, so frequencies √1.2 times as high."""
    return Springs(stiffness=6.0)


def free() -> Springs:
    """Atoms that feel nothing of each other."""
    return Springs(stiffness=0.0)


def runaway() -> Springs:
    """Springs that push."""
    return Springs(stiffness=-50.0)


def chain(symbols: str) -> Atoms:
    """A ring of atoms 2 Å apart along x, periodic in all directions."""
    count = len(Atoms(symbols))
    positions = [(2.0 * k, 0, 0) for k in range(count)]
    return Atoms(symbols, positions, cell=[2.0 * count, 20, 20], pbc=True)
