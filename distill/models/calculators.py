"""Any ASE calculator by file name or import path, and the one loop that labels structures."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import progress
from distill.data.structures import set_labels
from distill.models.config import CalculatorConfig

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator


def load_calculator(
    spec: str | os.PathLike[str] | CalculatorConfig,
    *,
    device: str = "cpu",
    dtype: str | None = None,
) -> Calculator:
    """A calculator for a model file or an import path.

    Parameters
    ----------
    spec
        A MACE `.model`, a student `.npz`, a `.json` saved by ACEpotentials (evaluated by Julia),
        or `package.module:Class` with arguments.
    device
        Torch device of a MACE model.
    dtype
        float32 or float64 for a MACE model; its own precision if None.

    Raises
    ------
    UserError
        If the file is missing, damaged or of no known kind, or the class cannot be made.

    Notes
    -----
    A `.model` file is a pickle: loading it runs its code, so load only files that you trust.
    """
    if not isinstance(spec, CalculatorConfig):
        spec = CalculatorConfig(path=os.fspath(spec))
    if ":" in spec.path and not Path(spec.path).exists():
        return _import_calculator(spec)
    path = Path(spec.path)
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    if path.suffix == ".npz":
        from distill.student.student_model import Student

        return Student.load(path).calculator()
    if path.suffix == ".json":
        from distill.student.julia.acepotentials import JuliaCalculator

        return JuliaCalculator(path)
    if path.suffix in {".model", ".pt", ".pth"}:
        return _mace_calculator(path, device, dtype)
    raise UserError(
        f"{path}: expected a MACE .model, a student .npz, ACEpotentials' .json, or "
        "'package.module:Class' for any other ASE calculator"
    )


def known_elements(calculator: Calculator) -> set[str] | None:
    """Chemical symbols that a calculator's model covers, or None where it does not say."""
    table = getattr(calculator, "z_table", None)
    if table is not None:
        from ase.data import chemical_symbols

        return {chemical_symbols[z] for z in table.zs}
    student = getattr(calculator, "student", None)
    return None if student is None else set(student.elements)


def label_structures(
    structures: Sequence[Atoms],
    calculator: Calculator,
    *,
    stress: bool = False,
    label: str = "labels",
) -> list[Atoms]:
    """Copies of the structures carrying the calculator's energy, forces and, if asked, stress.

    Parameters
    ----------
    structures
        What to label; not changed.
    calculator
        Any ASE calculator.
    stress
        Also label the stress (eV/Å³, Voigt) of structures that are periodic in all directions.
    label
        Shown with the progress.

    Raises
    ------
    UserError
        If the calculator lacks an element, fails, or returns a value that is not finite; the
        message names the structure's index.
    """
    return [
        labelled_copy(atoms, calculator, index=index, stress=stress)
        for index, atoms in enumerate(progress(structures, label, unit="structures"))
    ]


def labelled_copy(
    atoms: Atoms, calculator: Calculator, *, index: int, stress: bool = False
) -> Atoms:
    """One structure of `label_structures`; `index` names it in messages."""
    known = known_elements(calculator)
    missing = sorted(set(atoms.get_chemical_symbols()) - known) if known else []
    if missing:
        raise UserError(
            f"structure {index}: element {', '.join(missing)} is not in the model "
            f"(it knows {', '.join(sorted(known or ()))})"
        )
    copy = atoms.copy()
    copy.calc = calculator
    energy = copy.get_potential_energy()
    forces = copy.get_forces(apply_constraint=False)
    wanted_stress = copy.get_stress(apply_constraint=False) if stress and copy.pbc.all() else None
    copy.calc = None
    if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
        raise UserError(f"structure {index}: the calculator returned NaN or infinity")
    return set_labels(copy, energy=energy, forces=forces, stress=wanted_stress)


def _import_calculator(spec: CalculatorConfig) -> Calculator:
    """The calculator of an import path, made and called in the default precision that it expects.

    That is torch's float32, or what it sets while it is made. Training and other models in the same
    process may have set another, on which models such as CHGNet, in single precision throughout,
    fail.
    """
    from distill.models.mace.adapter import precision

    with precision("float32") if "torch" in sys.modules else nullcontext():
        calculator = _made(spec)
        torch = sys.modules.get("torch")
        own = str(torch.get_default_dtype()).removeprefix("torch.") if torch else None
    if own and hasattr(calculator, "calculate"):
        plain = type(calculator).calculate
        calculator.calculate = partial(  # type: ignore[method-assign]
            _calculate, own, plain, calculator
        )
    return calculator


def _made(spec: CalculatorConfig) -> Calculator:
    module_name, _, class_name = spec.path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise UserError(f"calculator {spec.path}: cannot import {module_name}: {error}") from None
    except AttributeError:
        raise UserError(f"calculator {spec.path}: {module_name} has no '{class_name}'") from None
    try:
        return factory(**spec.args)
    except TypeError as error:
        raise UserError(
            f"calculator {spec.path} refused its arguments: {error}; it takes {_signature(factory)}"
        ) from None


def _calculate(dtype: str, calculate: Callable[..., None], *arguments: Any, **options: Any) -> None:
    from distill.models.mace.adapter import precision

    with precision(dtype):
        calculate(*arguments, **options)


def _signature(factory: Any) -> str:
    try:
        return str(inspect.signature(factory))
    except (TypeError, ValueError):
        return "unknown arguments"


def _mace_calculator(path: Path, device: str, dtype: str | None) -> Calculator:
    from distill.models.composite import composite_calculator, is_composite
    from distill.models.mace.adapter import import_mace, quiet

    import_mace()
    import torch
    from mace.calculators import MACECalculator

    def calculator(part: torch.nn.Module | CalculatorConfig) -> Calculator:
        if isinstance(part, CalculatorConfig):
            return load_calculator(part, device=device, dtype=dtype)
        own = next(part.parameters()).dtype
        name = dtype or ("float32" if own == torch.float32 else "float64")
        model = part.to(getattr(torch, name))
        return MACECalculator(models=[model], device=device, default_dtype=name)

    with quiet():
        try:
            content = torch.load(path, map_location=device, weights_only=False)
            usable = is_composite(content) or next(content.parameters()) is not None
        except Exception as error:
            # Unpickling a damaged file raises almost anything.
            raise UserError(
                f"{path} is not a readable MACE model: {type(error).__name__}: {error}"
            ) from None
        assert usable
        if is_composite(content):
            return composite_calculator(content, calculator, origin=path)
        return calculator(content)
