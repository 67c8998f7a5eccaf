"""A model saved by ACEpotentials, evaluated by Julia, as a family of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.core.config import Section
from distill.core.errors import UserError
from distill.models.base import Family, Predictions
from distill.models.calculators import AnyCalculator
from distill.student.config import StudentConfig

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms
    from ase.calculators.calculator import Calculator


class AcePotentials(Family):
    """A model of ACEpotentials by its file."""

    kind: ClassVar[str] = "acepotentials"
    Config: ClassVar[type[Section]] = StudentConfig
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def __init__(self, calculator: Calculator) -> None:
        self._calculator = calculator

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a file of ACEpotentials' `save_model`."""
        from distill.student.julia.acepotentials import JuliaCalculator

        return cls(JuliaCalculator(path))

    def save(self, path: Path) -> None:
        """Not possible: the file is Julia's."""
        raise UserError("a model of ACEpotentials is written by its fit; copy its file")

    @property
    def elements(self) -> frozenset[str] | None:
        """It does not say."""
        return None

    def calculator(self) -> Calculator:
        """A calculator that Julia evaluates."""
        return self._calculator

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """One structure after the other."""
        return AnyCalculator(self._calculator).predict(structures, stress=stress)
