"""ASE calculators that are one answer to a structure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes

if TYPE_CHECKING:
    from ase import Atoms


class AnsweringCalculator(Calculator):
    """A calculator whose results are what `answer` says of the structure."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Ask for an answer; it takes the place of all results before."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.results = self.answer(self.atoms, list(properties))

    @abstractmethod
    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Results by ASE's names: energy [eV], forces [eV/Å], stress [eV/Å³, Voigt]."""
