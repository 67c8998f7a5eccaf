"""Calculators of other people: in another precision, and ones that fail in every way there is."""

from __future__ import annotations

import sys

import numpy as np
from ase.calculators.emt import EMT


class DoublePrecision(EMT):
    """Makes float64 torch's default, and says in which one it is called."""

    def __init__(self):
        import torch

        super().__init__()
        torch.set_default_dtype(torch.float64)

    def calculate(self, *arguments, **options):
        import torch

        super().calculate(*arguments, **options)
        self.dtype_of_calls = torch.get_default_dtype()


class Wordless(Exception):
    """An error whose own words fail."""

    def __str__(self):
        raise TypeError


class Pushing(EMT):
    """It moves the atoms that it is given."""

    def calculate(self, atoms, *arguments, **options):
        super().calculate(atoms, *arguments, **options)
        atoms.positions *= 1.05


class OneArray:
    """No class of ASE's, which answers with one array that it fills again, in tenths of eV/Å."""

    forces = None

    def get_forces(self, atoms):
        if self.forces is None:
            self.forces = np.empty((len(atoms), 3))
        self.forces[:] = 0.1 * atoms.positions[0, 0]
        return self.forces

    def get_potential_energy(self, atoms):
        self.forces[:] = 1e3
        return 0.0


class Failing(EMT):
    """EMT whose call number `call` (from 0) goes wrong in one of many ways."""

    def __init__(self, how="raise", call=0):
        super().__init__()
        self.how, self.call, self.calls = how, call, 0

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.calls += 1
        if self.calls <= self.call:
            return
        atoms = len(self.atoms)
        if self.how == "raise":
            raise RuntimeError("SCF not converged")
        if self.how == "exit":
            sys.exit(0)
        if self.how == "memory":
            raise MemoryError
        if self.how == "not implemented":
            raise NotImplementedError("no parameters for Cu")
        if self.how == "wordless":
            raise Wordless
        if self.how == "lines":
            raise RuntimeError("one\n  two\nthree")
        self.results |= {
            "none": {"energy": None},
            "words": {"energy": "low"},
            "shape": {"forces": np.zeros(3)},
            "nan": {"forces": np.full((atoms, 3), np.nan)},
            "huge": {"energy": 1e30},
            "stress": {"stress": np.zeros(5)},
        }[self.how]
