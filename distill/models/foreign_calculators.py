"""Calculators of other people: made by import path, asked, and their answers checked.

What one does wrong (an exception, an exit, an answer that is none) leaves here as an error that
names the structure and the calculator.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from distill.core.errors import UserError, left_the_program, words_of
from distill.core.quantities import six_components
from distill.models.base import StructureError
from distill.models.calculator_arguments import misspelt, signature
from distill.models.config import CalculatorConfig
from distill.models.mace.calculator import with_own_cell
from distill.models.mace.torch_tools import precision

# All-electron energies of the heaviest elements are of this size; what is beyond is an accident.
_LARGEST_ENERGY = 1e6
_TITLES = {"energy": "an energy", "stress": "a stress"}


def is_calculator(model: Any) -> bool:
    """Whether it is an ASE calculator, of ASE's base class or of its own."""
    asked = ("get_potential_energy", "get_forces")
    return not isinstance(model, (Atoms, type)) and all(hasattr(model, name) for name in asked)


def answer_of(
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
    try:
        # Asked directly, so that constraints of the structure are no part of the answer; each time
        # of a copy, which code of others may move, and kept as a copy, which it may fill again.
        forces = deepcopy(calculator.get_forces(atoms.copy()))
        energy = deepcopy(calculator.get_potential_energy(atoms.copy()))
        six = deepcopy(_stress(calculator, atoms.copy())) if stress else None
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


def imported(config: CalculatorConfig) -> Calculator:
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
        raise UserError(
            f"calculator {config.path}: cannot import {module_name}: {words_of(error)}"
        ) from None
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
            f"calculator {config.path} cannot be made: {type(error).__name__}: {words_of(error)}"
        ) from None
    if not is_calculator(calculator):
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
    calculator, atoms, asked, *_ = (*arguments, None, None)
    asked = options.get("properties", asked) or ()
    try:
        with precision(dtype) if dtype else nullcontext():
            calculate(*arguments, **options)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # Some models have no stress, and whoever asks for it knows what to do then.
        lacks = isinstance(error, NotImplementedError) and not {*asked} <= {"energy", "forces"}
        if lacks or _out_of_memory(error):
            raise
        raise UserError(_failure(name, error)) from error
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
    return f"{name} failed: {type(error).__name__}: {words_of(error)}"
