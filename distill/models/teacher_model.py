"""A teacher as users load it, and what its folder records of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill.core.artifacts import sha256
from distill.core.errors import UserError
from distill.core.results import Record, Result, read_result
from distill.models.calculators import known_elements, load_calculator
from distill.models.mace.config import ArchitectureConfig

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

MODEL_NAME, RECORD_NAME = "teacher.model", "teacher.json"
# The same model in a faster engine, where there is one.
FAST_NAME = "teacher_fast.model"


class Origin(Record):
    """A model that a teacher was made from.

    Attributes
    ----------
    name, sha256
        As it was asked for, and of its file or of its import path and arguments.
    r_max, interactions
        Cutoff of a layer, Å, and number of layers of a MACE that stays part of the teacher.
    """

    name: str
    sha256: str
    r_max: float | None = None
    interactions: int | None = None


class LoraRecord(Record):
    """Low-rank adaptation: rank, and scale of the change times rank."""

    rank: int
    alpha: float


class ReplayRecord(Record):
    """Pre-training structures that were replayed.

    Attributes
    ----------
    structures
        Their number.
    origin, sha256
        Where they come from, and of the file.
    labels, choose, weight, multihead
        As asked for.
    indices
        In the file, or among the structures that were made.
    left_out_for_elements
        Structures of the file with elements that the model does not have.
    """

    structures: int
    origin: str
    sha256: str | None
    labels: str
    choose: str
    indices: list[int]
    left_out_for_elements: int
    weight: float
    multihead: bool


class DeltaRecord(Record):
    """A correction: the model that it corrects, and its size."""

    base: Origin
    architecture: ArchitectureConfig


class CommitteeSize(Record):
    """Number of members, and each one's share of the data."""

    members: int
    fraction: float


class ValidationErrors(Record):
    """Errors on the validation set: loss, eV/atom and eV/Å."""

    loss: float
    energy_rmse: float
    forces_rmse: float


class TrainingSet(Record):
    """Structures that a teacher learnt from.

    Attributes
    ----------
    available, used
        Numbers; isolated atoms are apart.
    config_types
        Of those used.
    indices, validation_indices
        Of those used, and of those among them that steered early stopping.
    isolated_atoms
        Chemical symbols.
    indices_by_member
        Of a committee.
    """

    available: int
    used: int
    config_types: dict[str, int] = Field(default_factory=dict)
    indices: list[int] = Field(default_factory=list)
    validation_indices: list[int] = Field(default_factory=list)
    isolated_atoms: list[str] = Field(default_factory=list)
    indices_by_member: list[list[int]] | None = None


class TestSet(Record):
    """What a teacher was measured on."""

    __test__ = False

    structures: int
    sha256: str


class TeacherRecord(Result):
    """What a teacher is and how it was made, kept as `teacher.json`.

    Attributes
    ----------
    strategy, freeze
        As asked for; the latter of a fine-tuned one.
    foundation
        The foundation model, the base of a delta model, or the calculator that is the teacher.
    elements, e0, e0_method, e0_shifts, e0_start_rms_eV_per_atom
        Atomic reference energies, eV by symbol: which, by what method, how far from the
        foundation's, and the energy error that each method starts from.
    free_atoms
        What the whole teacher says of an atom without neighbours, eV by symbol, of the elements
        that it has an answer for.
    r_max, interactions, dtype, parameters
        Cutoff of one layer, Å; layers, precision and weights of what was trained; None for a
        calculator, which does not say them.
    trainable_parameters, trainable, frozen
        Number of the weights that learnt; names of parameters.
    lora, replay, architecture, delta, committee
        Of these ways of training.
    epochs, best_epoch, stopped_early, seconds_per_epoch
        How training went; best epoch 0 is the model as it began. None without training.
    validation_before, validation_after
        Errors of the model that training began with, and of the teacher.
    worse_than_foundation
        Whether the latter are worse; None for new weights.
    training, test
        The data.
    labels
        What made the labels, if a model did.
    seed, settings
        The seed, and the hash of all that the weights depend on.
    device, wall_time_s, peak_memory_mb, versions
        Of the machine that it was made on.
    """

    strategy: str
    freeze: str | list[str] | None = None
    foundation: Origin
    elements: list[str]
    e0: dict[str, float]
    e0_method: str | None = None
    e0_shifts: dict[str, float] = Field(default_factory=dict)
    e0_start_rms_eV_per_atom: dict[str, float] = Field(default_factory=dict)
    free_atoms: dict[str, float] = Field(default_factory=dict)
    r_max: float | None = None
    interactions: int | None = None
    dtype: str | None = None
    parameters: int | None = None
    trainable_parameters: int = 0
    trainable: list[str] = Field(default_factory=list)
    frozen: list[str] = Field(default_factory=list)
    lora: LoraRecord | None = None
    replay: ReplayRecord | None = None
    architecture: ArchitectureConfig | None = None
    delta: DeltaRecord | None = None
    committee: CommitteeSize | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    stopped_early: bool | None = None
    seconds_per_epoch: float | None = None
    validation_before: ValidationErrors | None = None
    validation_after: ValidationErrors | None = None
    worse_than_foundation: bool | None = None
    training: TrainingSet
    test: TestSet | None = None
    labels: dict[str, Any] | None = None
    seed: int | None = None
    settings: str | None = None
    device: str | None = None
    wall_time_s: float | None = None
    peak_memory_mb: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def one_body(self) -> dict[str, float]:
        """One-body energies of a student of it, eV: its free atoms, else the reference energies."""
        return {**self.e0, **self.free_atoms}

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file from before the layout was numbered has the same entries."""
        return {**data, "version": cls.VERSION}


def running_model(folder: Path) -> Path:
    """The file of a teacher's folder that runs it: of the fast engine where that was accepted."""
    fast = folder / FAST_NAME
    return fast if fast.is_file() else folder / MODEL_NAME


@dataclass(frozen=True)
class Teacher:
    """A model file and what is known of it; taken wherever the path of a model is.

    Attributes
    ----------
    path, sha256
        The `.model` file.
    record
        Of the `teacher.json` beside it; None where there is none.
    """

    path: Path
    sha256: str
    record: TeacherRecord | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Teacher:
        """Open a teacher by its `.model` file or the folder that the teacher stage wrote.

        Raises
        ------
        UserError
            If there is no model file, or its record is damaged.
        """
        path = Path(path)
        if path.is_dir():
            path = path / MODEL_NAME
        if not path.is_file():
            raise UserError(f"{path}: no such model file")
        beside = path.with_name(RECORD_NAME)
        record = read_result(beside, TeacherRecord) if beside.is_file() else None
        return cls(path, sha256(path), record)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

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
        listed = self.record.elements if self.record else known_elements(self.calculator())
        return tuple(sorted(listed or ()))
