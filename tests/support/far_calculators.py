"""Calculators of another environment: what a test asks of them is in their arguments."""

import os
import time
from pathlib import Path

from ase.calculators.emt import EMT


class Far(EMT):
    """EMT that can leave, wait or fail at a structure of `at` atoms; `note` gets its process."""

    def __init__(self, note=None, at=None, does="", once=None):
        super().__init__()
        self.at, self.does, self.once = at, does, once
        if note:
            with open(note, "a") as handle:
                print(os.getpid(), file=handle)

    def calculate(self, atoms=None, *arguments, **options):
        if len(atoms) == self.at and (self.once is None or not Path(self.once).exists()):
            if self.once is not None:
                Path(self.once).touch()
            print("the licence is in use", flush=True)
            if self.does == "leave":
                os._exit(7)
            if self.does == "wait":
                time.sleep(600)
            if self.does == "nan":
                super().calculate(atoms, *arguments, **options)
                self.results["forces"] = self.results["forces"] * float("nan")
                return
        super().calculate(atoms, *arguments, **options)


class NoStress(EMT):
    """EMT without its stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
