"""What a model is: the interface that every kind of model has.

A family is a kind of model; an instance is one model of it. Families are registered by name
(`mace`, `ace`, ...), so that what is above asks for a model and not for a kind, and another package
adds a family by an entry point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.registry import Registry

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms
    from ase.calculators.calculator import Calculator

FAMILIES: Registry[type[Family]] = Registry(
    "model family",
    "distill.families",
    {
        "mace": "distill.models.mace.family:Mace",
        "fast_mace": "distill.models.fast_mace:FastMace",
        "delta": "distill.models.composite:Delta",
        "committee": "distill.models.composite:Committee",
        "calculator": "distill.models.calculators:AnyCalculator",
        "ace": "distill.student.family:LinearAce",
        "acepotentials": "distill.student.julia.family:AcePotentials",
    },
)


class StructureError(UserError):
    """A model has no usable answer for one of several structures.

    Attributes
    ----------
    index
        Of the structure, among those that were given.
    problem
        What is wrong, in a sentence.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(index, problem)
        self.index, self.problem = index, problem

    def __str__(self) -> str:
        return f"structure {self.index}: {self.problem}"


@dataclass(frozen=True)
class Predictions:
    """What a model says of some structures.

    Attributes
    ----------
    energies
        Total energies, eV, shape (n,).
    forces
        eV/Å, shape (N, 3) for each structure.
    stresses
        eV/Å³, Voigt order, shape (6,), for each structure; None where none was asked for or there
        is none.
    """

    energies: np.ndarray
    forces: list[np.ndarray]
    stresses: list[np.ndarray | None]


@dataclass(frozen=True)
class Job:
    """Where a training keeps its files, and its random streams.

    Attributes
    ----------
    folder
        Checkpoints and results; a killed training goes on from what lies there.
    seed
        Of the workflow.
    """

    folder: Path
    seed: int = 1


class Family(ABC):
    """One model of a kind."""

    kind: ClassVar[str]
    Config: ClassVar[type[Section]]
    # Of its files; a family without any is named by an import path or made in memory.
    suffixes: ClassVar[tuple[str, ...]] = ()
    # How many structures `predict` takes at once.
    batch_size: int = 1

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file is one of this kind: by its suffix, unless a family knows better."""
        return path.suffix in cls.suffixes

    @classmethod
    @abstractmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a file; `dtype` is its own precision if None."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the model so that `load` gives it back with the same predictions."""

    @property
    @abstractmethod
    def elements(self) -> frozenset[str] | None:
        """Chemical symbols that it knows; None where it does not say."""

    @abstractmethod
    def calculator(self) -> Calculator:
        """An ASE calculator of the model."""

    @abstractmethod
    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """Energies, forces and, if asked, stresses of structures whose cell has a volume.

        A stress is the virial divided by the volume of the cell as it is given, whatever directions
        are periodic.

        Raises
        ------
        StructureError
            If it has no usable answer for one of them.
        """

    def in_batches(self, size: int) -> Self:
        """The same model, taking `size` structures at once if its kind can."""
        return self

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same model with options of its kind that a workflow names as `args`."""
        if options:
            raise UserError(
                f"a model file of kind {self.kind} takes no args, found {', '.join(options)}"
            )
        return self

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """One row a structure, shape (n, d)."""
        raise UserError(f"a model of kind {self.kind} has no descriptors")

    def uncertainty(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        """Standard deviation of each force component, eV/Å, shape (N, 3) for each structure."""
        raise UserError(f"a model of kind {self.kind} has no uncertainty")


class TrainableFamily(Family):
    """A kind of model that learns from labelled structures."""

    @classmethod
    @abstractmethod
    def fit(cls, frames: Sequence[Atoms], config: Section, job: Job) -> Self:
        """A model fitted to structures with REF_ labels; `config` is of the family's `Config`."""
