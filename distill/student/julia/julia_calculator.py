"""A model of ACEpotentials evaluated by ACEpotentials itself."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from distill.core.errors import UserError
from distill.core.quantities import has_volume
from distill.models.answering import AnsweringCalculator
from distill.student.julia import julia_arguments
from distill.student.julia.julia_session import JuliaSession
from distill.student.julia.julia_setup import require

if TYPE_CHECKING:
    from ase import Atoms


class JuliaCalculator(AnsweringCalculator):
    """ASE calculator that evaluates a model saved by ACEpotentials with ACEpotentials itself.

    For comparison: the student file of the same fit gives the same numbers, faster.

    Parameters
    ----------
    path
        `ace_model.json` of a fit, or any file of ACEpotentials' `save_model`.
    threads
        Julia's threads.
    mended
        Assemble the gradient in a type-stable way (on one thread) instead of as released.

    Attributes
    ----------
    elements
        Chemical symbols that the model knows.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's declaration

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int = 1, mended: bool = False
    ) -> None:
        super().__init__()
        refuse_other_files(path)
        require()
        self._mended = mended
        handle, log = tempfile.mkstemp(prefix="distill-julia-", suffix=".log")
        os.close(handle)
        self._julia = JuliaSession(log=log, threads=threads, keep_log=False)
        self._julia.start()
        self._model = self._julia.call("load", path=os.fspath(path))
        numbers = self._model["elements"].tolist()
        self.elements = frozenset(chemical_symbols[number] for number in numbers)

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Energy (eV), forces (eV/Å) and, in a cell with a volume, stress (eV/Å³, Voigt)."""
        foreign = sorted(set(atoms.get_chemical_symbols()) - self.elements)
        if foreign:
            raise UserError(
                f"the model of ACEpotentials knows {', '.join(sorted(self.elements))}, but the "
                f"structure has {', '.join(foreign)}"
            )
        arrays = julia_arguments.geometry_arrays([atoms], self._model["cutoff"])
        if list(properties) == ["energy"]:
            return {"energy": float(self._julia.call("energies", **arrays)[0])}
        said = self._julia.call("evaluate", mended=self._mended, **arrays)
        found = {"energy": float(said["energies"][0]), "forces": said["forces"]}
        if has_volume(atoms.cell[:]):
            stress = -said["virials"][0] / atoms.get_volume()
            found["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
        return found

    def time_calls(self, atoms: Atoms, repeats: int) -> np.ndarray:
        """Seconds of each of some evaluations of energy, forces and virial, measured in Julia."""
        geometry = julia_arguments.geometry_arrays([atoms], self._model["cutoff"])
        return self._julia.call("time_calls", repeats=repeats, mended=self._mended, **geometry)

    def close(self) -> None:
        """End Julia."""
        self._julia.stop()

    def __del__(self) -> None:
        if hasattr(self, "_julia"):
            self.close()


def refuse_other_files(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is no model of ACEpotentials before Julia is started for it.

    Raises
    ------
    UserError
        If it does not exist, is no JSON, or lacks what `save_model` writes.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; expected a model saved by ACEpotentials")
    expected = f"{path}: expected a model saved by ACEpotentials' save_model (JSON)"
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
    except (ValueError, RecursionError):
        raise UserError(f"{expected}, found a file that is no JSON") from None
    keys = ("model_spec", "model_parameters")
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing:
        raise UserError(f"{expected}, found JSON without {' and '.join(missing)}")
