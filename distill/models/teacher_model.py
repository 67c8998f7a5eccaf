"""A fine-tuned teacher as users load it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import read_json, sha256
from distill.core.errors import UserError
from distill.models.calculators import known_elements, load_calculator

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

DESCRIPTION_NAME = "teacher.json"


@dataclass(frozen=True)
class Teacher:
    """A MACE model file and what is known of it.

    Attributes
    ----------
    path
        The `.model` file.
    sha256
        Of the file.
    description
        Contents of `teacher.json` beside it: elements, one-body energies (eV), cutoff (Å),
        foundation, frozen layers; empty where there is none.
    """

    path: Path
    sha256: str
    description: dict[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Teacher:
        """Open a teacher by its `.model` file or the folder that the teacher stage wrote.

        Raises
        ------
        UserError
            If there is no model file.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "teacher.model"
        if not path.is_file():
            raise UserError(f"{path}: no such model file")
        beside = path.with_name(DESCRIPTION_NAME)
        return cls(path, sha256(path), read_json(beside) if beside.is_file() else {})

    def calculator(self, *, device: str = "cpu", dtype: str | None = None) -> Calculator:
        """An ASE calculator; see `distill.models.calculators.load_calculator`.

        Notes
        -----
        The file is a pickle: loading it runs its code, so load only files that you trust.
        """
        return load_calculator(self.path, device=device, dtype=dtype)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the model covers, sorted."""
        listed = self.description.get("elements")
        return tuple(sorted(listed or known_elements(self.calculator()) or ()))
