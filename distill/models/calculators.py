"""Models by file, import path or object in memory; and any ASE calculator as a model.

What a calculator of others does wrong (an exception, an exit, an answer that is none) leaves here
as an error that names the structure and the calculator.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
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
from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    PropertyNotImplementedError,
)
from typing_extensions import TypedDict

from distill.core.artifacts import read_json, write_json
from distill.core.config import Section
from distill.core.errors import UserError, left_the_program
from distill.core.quantities import has_volume, six_components
from distill.models.base import FAMILIES, Family, Predictions, StructureError
from distill.models.calculator_arguments import misspelt, signature
from distill.models.config import CalculatorConfig
from distill.models.mace.calculator import with_own_cell
from distill.models.mace.torch_tools import MARK, marked_kind, precision
from distill.models.shifted_calculator import ShiftedCalculator

if TYPE_CHECKING:
    from typing import Self

# All-electron energies of the heaviest elements are of this size; what is beyond is an accident.
_LARGEST_ENERGY = 1e6
_TITLES = {"energy": "an energy", "stress": "a stress"}


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
    if _is_calculator(model):
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
        return cls(_imported(config), config, shifts)

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
            found.append(_answer(self._calculator, atoms, who, index, stress=wanted))
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
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    families = [FAMILIES.load(name) for name in FAMILIES.names()]
    for family in families:
        if family.reads(path):
            return family.load(path, device=device, dtype=dtype).with_options(config.args)
    kinds = ", ".join(f"{f.kind} ({' '.join(f.suffixes)})" for f in families if f.suffixes)
    raise UserError(
        f"{path}: expected a model file of kind {kinds}; or 'package.module:Class' for any other "
        "ASE calculator"
    )


def _is_calculator(model: Any) -> bool:
    """Whether it is an ASE calculator, of ASE's base class or of its own."""
    asked = ("get_potential_energy", "get_forces")
    return not isinstance(model, (Atoms, type)) and all(hasattr(model, name) for name in asked)


def _answer(
    calculator: Any, atoms: Atoms, name: str, index: int, *, stress: bool
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy [eV], forces [eV/Å] and, if asked, Voigt stress [eV/Å³] of one structure, checked.

    Raises
    ------
    StructureError
        If the calculator fails, or answers with anything else.
    UserError
        If it runs out of memory: that says nothing of the structure.
    """
    copy = atoms.copy()
    try:
        # Asked directly, so that constraints of the structure are no part of the answer.
        forces = calculator.get_forces(copy)
        energy = calculator.get_potential_energy(copy)
        six = _stress(calculator, copy) if stress else None
    except UserError as error:
        raise StructureError(index, str(error)) from None
    except (Exception, SystemExit) as error:
        # The code of others raises whatever it likes.
        if _out_of_memory(error):
            raise UserError(f"structure {index}: {name} ran out of memory: {error}") from None
        raise StructureError(index, _failure(name, error)) from None
    return checked_answer(atoms, energy, forces, six, name, index)


def _stress(calculator: Any, atoms: Atoms) -> Any:
    """The stress, None where the calculator turns out to have none."""
    try:
        return calculator.get_stress(atoms)
    except PropertyNotImplementedError:
        return None


def checked_answer(
    atoms: Atoms, energy: Any, forces: Any, stress: Any, name: str, index: int
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """What a model called `name` says of a structure, if it can be its energy, forces and stress.

    Returns
    -------
    (float, array of shape (N, 3), array of shape (6,) or None)
        eV, eV/Å, eV/Å³ in Voigt's order.

    Raises
    ------
    StructureError
        If something is missing, of another shape, not finite, or absurdly large.
    """

    def number(label: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        try:
            array = _numbers(name, label, value, shape)
        except UserError as error:
            raise StructureError(index, str(error)) from None
        if not np.isfinite(array).all():
            raise StructureError(
                index, f"{name} returned {_TITLES.get(label, label)} with NaN or infinity"
            )
        return array

    total = float(number("energy", energy, ()))
    if abs(total) > _LARGEST_ENERGY * len(atoms):
        raise StructureError(
            index,
            f"{name} returned an energy of {total:.3g} eV for {len(atoms)} atoms, which no "
            f"structure has (limit {_LARGEST_ENERGY:g} eV an atom)",
        )
    components = number("forces", forces, (len(atoms), 3))
    if stress is None:
        return total, components, None
    try:
        stress = six_components(stress)
    except (TypeError, ValueError) as error:
        raise StructureError(index, f"{name} returned a stress that is none: {error}") from None
    return total, components, number("stress", stress, (6,))


def _numbers(name: str, label: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What a calculator returned as an array of the shape that it has to have, finite or not."""
    try:
        array = None if value is None else np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = None
    if array is None or (array.shape != shape and not (shape == () and array.size == 1)):
        found = repr(value) if array is None or array.ndim == 0 else f"shape {array.shape}"
        expected = f"shape {shape}" if shape else "one number"
        raise UserError(
            f"{name} returned {_TITLES.get(label, label)} of {found}, expected {expected}"
        )
    return array.reshape(shape)


def _imported(config: CalculatorConfig) -> Calculator:
    """The calculator of an import path, made and called in the default precision that it expects.

    That is torch's float32, or what it sets while it is made. Training and other models in the same
    process may have set another, on which models such as CHGNet, in single precision throughout,
    fail.
    """
    with precision("float32") if "torch" in sys.modules else nullcontext():
        calculator = _made(config)
        torch = sys.modules.get("torch")
        own = str(torch.get_default_dtype()).removeprefix("torch.") if torch else None
    with_own_cell(calculator)
    if hasattr(calculator, "calculate"):
        plain = type(calculator).calculate
        calculator.calculate = partial(  # type: ignore[method-assign]
            _calculate, own, f"the calculator {config.path}", plain, calculator
        )
    return calculator


def _made(config: CalculatorConfig) -> Calculator:
    module_name, _, class_name = config.name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except AttributeError:
        raise UserError(f"calculator {config.path}: {module_name} has no '{class_name}'") from None
    except (Exception, SystemExit) as error:
        # Importing runs the code of others.
        raise UserError(f"calculator {config.path}: cannot import {module_name}: {error}") from None
    if wrong := misspelt(factory, config.args):
        hints = ", ".join(f"'{name}', did you mean '{right}'?" for name, right in wrong.items())
        raise UserError(f"calculator {config.path}: unknown argument {hints}")
    try:
        calculator = factory(**config.args)
    except UserError:
        raise
    except TypeError as error:
        raise UserError(
            f"calculator {config.path} refused its arguments: {error}; it takes "
            f"{signature(factory)}"
        ) from None
    except (Exception, SystemExit) as error:
        raise UserError(
            f"calculator {config.path} cannot be made: {type(error).__name__}: {error}"
        ) from None
    if not _is_calculator(calculator):
        raise UserError(
            f"calculator {config.path}: expected an ASE calculator, found "
            f"{type(calculator).__name__}"
        )
    return calculator


def _calculate(
    dtype: str | None,
    name: str,
    calculate: Callable[..., None],
    *arguments: Any,
    **options: Any,
) -> None:
    """A calculation in the calculator's own precision, its failure turned into a user's error.

    The results are numbers of their shapes then. Infinity and NaN are left to whoever asks, as
    dynamics that blow up come to them.
    """
    try:
        with precision(dtype) if dtype else nullcontext():
            calculate(*arguments, **options)
    except (UserError, NotImplementedError):
        raise
    except (Exception, SystemExit) as error:
        if _out_of_memory(error):
            raise
        raise UserError(_failure(name, error)) from error
    calculator, atoms, asked, *_ = (*arguments, None, None)
    asked = options.get("properties", asked) or ()
    atoms = options.get("atoms", atoms) or getattr(calculator, "atoms", None)
    if atoms is not None:
        for label, shape in (("energy", ()), ("forces", (len(atoms), 3))):
            if label in asked or label in calculator.results:
                _numbers(name, label, calculator.results.get(label), shape)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which says nothing of a structure."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds)


def _failure(name: str, error: BaseException) -> str:
    """An exception of other people's code in a sentence."""
    if isinstance(error, SystemExit):
        return f"{name}: {left_the_program(error)}"
    return f"{name} failed: {type(error).__name__}: {error}"
