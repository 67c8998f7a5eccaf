"""What a model answered, kept on the disk, for work that is nothing but a row of calls.

A relaxation, a curve, a set of displacements ask a model one structure after the other, and what
they ask next follows from the answers. So a kill loses nothing of it but calls: done again from the
start, it asks the same, and goes the same way with the answers of before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.fingerprint import fingerprint
from distill.core.parts import UNDER_WAY, Part, read_part, write_part
from distill.models.answering import AnsweringCalculator
from distill.models.cached_calculators import ModelSpec, cached_calculator, forget

if TYPE_CHECKING:
    from ase import Atoms

# Calls that a kill loses at most; each so many are a file.
CALLS_IN_PART = 10
_GETTERS = {"energy": "get_potential_energy", "forces": "get_forces", "stress": "get_stress"}


class KeptCalls(AnsweringCalculator):
    """A model whose answers lie in a folder, in the order in which they were asked for.

    Every part begins with a model that has forgotten the structures before, so the answers are the
    same to the last digit whether the parts before were computed or read.

    Parameters
    ----------
    model
        What `distill.models.calculators.load_model` takes.
    folder
        Of the answers, such as `Unit.parts`; None keeps nothing.
    dtype
        Precision of a MACE model, its own if None.
    """

    def __init__(self, model: ModelSpec, folder: Path | None, dtype: str | None = None) -> None:
        super().__init__()
        self._model: Any = cached_calculator(model, dtype)
        self._folder = folder
        own = getattr(self._model, "implemented_properties", ("energy", "forces"))
        self.implemented_properties = [name for name in own if name in _GETTERS]
        self._asked = 0
        self._before: Part = {}
        self._part: Part = {}

    def __getattr__(self, name: str) -> Any:
        # What else a model says of itself, such as its elements.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model, name)

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Energy [eV], forces [eV/Å], stress [eV/Å³]: as kept, or of the model."""
        number, place = divmod(self._asked, CALLS_IN_PART)
        file = None if self._folder is None else self._folder / f"{number:05d}.npz"
        if place == 0:
            forget(self._model)
            self._before = (None if file is None else read_part(file)) or {}
            self._part = {UNDER_WAY: True}
        question = fingerprint([atoms, sorted(properties)])
        if self._before.get(f"question_{place}") == question:
            kept = {name: self._before.get(f"{name}_{place}") for name in _GETTERS}
            found = {name: value for name, value in kept.items() if value is not None}
        else:
            self._before = {}
            found = self._asked_of_model(atoms, properties)
        self._part[f"question_{place}"] = question
        self._part |= {f"{name}_{place}": value for name, value in found.items()}
        self._asked += 1
        if place == CALLS_IN_PART - 1 and file is not None and not self._before:
            write_part(file, self._part)
        return found | ({"energy": float(found["energy"])} if "energy" in found else {})

    def _asked_of_model(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        found = {name: getattr(self._model, _GETTERS[name])(atoms) for name in properties}
        # Asked for forces, most models have the energy as well.
        beside = getattr(self._model, "results", {})
        found |= {n: beside[n] for n in ("energy", "forces") if beside.get(n) is not None}
        return {name: np.array(value) for name, value in found.items()}
