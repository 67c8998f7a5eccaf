"""Models by file, import path or object in memory; and any ASE calculator as a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    TypeAlias,
    runtime_checkable,
)

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator
from typing_extensions import TypedDict

from distill.core.artifacts import read_json, write_json
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.progress import listed
from distill.core.quantities import has_volume
from distill.models.base import FAMILIES, Family, Predictions
from distill.models.config import CalculatorConfig
from distill.models.foreign_calculators import answer_of, imported, is_calculator
from distill.models.mace.torch_tools import MARK, marked_kind
from distill.models.shifted_calculator import ShiftedCalculator

if TYPE_CHECKING:
    from typing import Self


class _Saved(TypedDict):
    """The file of an `AnyCalculator`."""

    calculator: CalculatorConfig
    shifts: dict[str, float]


@runtime_checkable
class MakesCalculator(Protocol):
    """A model in memory that is no `Family`, such as `distill.Student`."""

    def calculator(self) -> Calculator:
        """An ASE calculator of the model."""


ModelSpec: TypeAlias = (
    str | os.PathLike[str] | CalculatorConfig | BaseCalculator | Family | MakesCalculator
)


def load_model(model: ModelSpec, *, device: str = "cpu", dtype: str | None = None) -> Family:
    """A model by whatever names it.

    Parameters
    ----------
    model
        A file of any kind of model (a MACE `.model`, a student `.npz`, a `.json` of ACEpotentials),
        an import path `package.module:Class`, a `CalculatorConfig` of either with arguments, or a
        model in memory: a `Family`, a `Student`, an ASE calculator.
    device
        Torch device of a MACE model.
    dtype
        float32 or float64 for a MACE model; its own precision if None.

    Raises
    ------
    UserError
        If the file is missing, damaged or of no known kind, the class cannot be made, or it is
        nothing of the above.

    Notes
    -----
    A `.model` file is a pickle: loading it runs its code, so load only files that you trust.
    """
    if isinstance(model, Family):
        return model
    if isinstance(model, (str, os.PathLike)):
        model = CalculatorConfig(path=os.fspath(model))
    if isinstance(model, CalculatorConfig):
        if model.is_external or (":" in str(model.path) and not Path(str(model.path)).exists()):
            return AnyCalculator.of_config(model)
        return _of_file(model, device, dtype)
    if is_calculator(model):
        return AnyCalculator(model)
    if isinstance(model, MakesCalculator) and not isinstance(model, type):
        return AnyCalculator(model.calculator())
    raise UserError(
        "expected a model: a file, 'package.module:Class', a CalculatorConfig, a Student, or an "
        f"ASE calculator; found {type(model).__name__}"
    )


def load_calculator(
    model: ModelSpec, *, device: str = "cpu", dtype: str | None = None
) -> Calculator:
    """An ASE calculator of a model; see `load_model`."""
    return load_model(model, device=device, dtype=dtype).calculator()


def known_elements(calculator: Calculator) -> set[str] | None:
    """Chemical symbols that a calculator's model covers, or None where it does not say."""
    table = getattr(calculator, "z_table", None)
    if table is not None:
        from ase.data import chemical_symbols

        return {chemical_symbols[z] for z in table.zs}
    student = getattr(calculator, "student", None)
    return None if student is None else set(student.elements)


class AnyCalculator(Family):
    """Any ASE calculator.

    Parameters
    ----------
    calculator
        The calculator.
    config
        What it was made from: import path and arguments, or a program; None for one made elsewhere.
    shifts
        Added to its energies for each atom, eV by symbol: onto another energy scale.
    """

    kind = "calculator"
    Config: ClassVar[type[Section]] = CalculatorConfig
    suffixes: ClassVar[tuple[str, ...]] = (".model",)

    def __init__(
        self,
        calculator: Any,
        config: CalculatorConfig | None = None,
        shifts: Mapping[str, float] | None = None,
    ) -> None:
        self._calculator = ShiftedCalculator(calculator, shifts) if shifts else calculator
        self.config, self.shifts = config, dict(shifts or {})

    @classmethod
    def of_config(cls, config: CalculatorConfig, shifts: Mapping[str, float] | None = None) -> Self:
        """The calculator that a class or function of other people makes, or a process of its own.

        Raises
        ------
        UserError
            If it cannot be imported or made, or is no calculator. A process starts later, with the
            first structure.
        """
        if config.is_external:
            from distill.models.external_calculator import ExternalCalculator

            return cls(ExternalCalculator(config), config, shifts)
        return cls(imported(config), config, shifts)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether it is a file that `save` wrote."""
        return super().reads(path) and marked_kind(path) == cls.kind

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The calculator that `save` described."""
        saved = read_json(path, _Saved)
        return cls.of_config(saved["calculator"], saved["shifts"])

    def save(self, path: Path) -> None:
        """Write what makes it, and its shifts, as JSON.

        Raises
        ------
        UserError
            If it was made in memory.
        """
        if self.config is None:
            raise UserError(
                f"{self.name} was made in memory and cannot be saved; name it by its import path"
            )
        config = self.config.model_dump(mode="json")
        write_json(path, {MARK: self.kind, "calculator": config, "shifts": self.shifts})

    @property
    def name(self) -> str:
        """Import path or program, or the class."""
        return self.config.name if self.config else type(self._calculator).__name__

    @property
    def elements(self) -> frozenset[str] | None:
        """Chemical symbols of its model, where it has one that says so."""
        known = known_elements(self._calculator)
        return None if known is None else frozenset(known)

    def calculator(self) -> Calculator:
        """The calculator itself."""
        return self._calculator

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """One structure after the other; no stresses of a calculator that has none."""
        properties = getattr(self._calculator, "implemented_properties", ())
        found = []
        for index, atoms in enumerate(structures):
            wanted = stress and has_volume(atoms.cell[:]) and "stress" in properties
            who = f"the calculator {self.name}"
            found.append(answer_of(self._calculator, atoms, who, index, stress=wanted))
        return Predictions(
            np.array([energy for energy, _, _ in found]),
            [forces for _, forces, _ in found],
            [six for _, _, six in found],
        )

    def fingerprint(self) -> Any:
        """What `distill.core.fingerprint` knows it by."""
        from distill.core.fingerprint import plain

        made_from = self._calculator if self.config is None else self.config
        return [plain(made_from), self.shifts] if self.shifts else plain(made_from)


def _of_file(config: CalculatorConfig, device: str, dtype: str | None) -> Family:
    path = Path(str(config.path))
    families = [FAMILIES.load(name) for name in FAMILIES.names()]
    if path.is_dir():
        endings = {ending for family in families for ending in family.suffixes}
        inside = sorted(file.name for file in path.iterdir() if file.suffix in endings - {".json"})
        raise UserError(
            f"{path} is a folder, expected a model file"
            f"{'; in it are ' + listed(inside) if inside else ''}"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    for family in families:
        if family.reads(path):
            return family.load(path, device=device, dtype=dtype).with_options(config.args)
    kinds = ", ".join(f"{f.kind} ({' '.join(f.suffixes)})" for f in families if f.suffixes)
    raise UserError(
        f"{path}: expected a model file of kind {kinds}; or 'package.module:Class' for any other "
        "ASE calculator"
    )
