"""MACE without torch: the same weights in the compiled code of Symmetrix (package symmetrix-xl).

A model converted for it lies beside its `.model` file, and a small file names both with their
SHA-256; that one is the file of this family. Where the machine cannot run the engine, the torch
model answers, and that is said. Only this module knows Symmetrix
(https://github.com/bonan-group/symmetrix-xl).
"""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from typing_extensions import TypedDict

from distill.core.artifacts import atomic_path, read_json, sha256, write_json
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import has_volume
from distill.core.results import Record
from distill.models.answering import AnsweringCalculator
from distill.models.base import Family, Predictions, StructureError
from distill.models.calculators import AnyCalculator
from distill.models.config import CalculatorConfig
from distill.models.mace.adapter import facts
from distill.models.mace.family import Mace
from distill.models.mace.torch_tools import MARK, marked_kind, precision, quiet

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms

INSTALL = "pip install 'distill[fast]'"
_VERSION = 1


class EngineRefused(Exception):
    """The engine cannot run a model, or not here; the reason in a sentence."""


class Differences(Record):
    """Largest absolute differences between two evaluations of the same structures.

    Attributes
    ----------
    energy, forces, stress
        eV/atom, eV/Å, eV/Å³.
    """

    energy: float
    forces: float
    stress: float

    def within(self, bounds: Differences) -> bool:
        """Whether none is larger than its bound; what is not a number is."""
        pairs = zip(self.model_dump().values(), bounds.model_dump().values(), strict=True)
        return all(value <= bound for value, bound in pairs)

    def text(self) -> str:
        """In words."""
        return (
            f"{1e3 * self.energy:.2g} meV/atom, {1e3 * self.forces:.2g} meV/Å, "
            f"{1e3 * self.stress:.2g} meV/Å³"
        )


class _Part(TypedDict):
    """A file beside the one that names it."""

    name: str
    sha256: str


class _Saved(TypedDict):
    """The file of a `FastMace`."""

    version: int
    model: _Part
    converted: _Part
    elements: list[str]
    dtype: str


@dataclass(frozen=True)
class FastMace(Family):
    """A MACE energy model in compiled code.

    Attributes
    ----------
    torch_file, converted
        The `.model` file, and the model as the engine reads it.
    symbols
        Chemical symbols that it knows.
    dtype
        float32 or float64.
    device
        Torch device; the engine runs on the CPU, torch on any other.
    """

    kind: ClassVar[str] = "fast_mace"
    Config: ClassVar[type[Section]] = CalculatorConfig
    suffixes: ClassVar[tuple[str, ...]] = (".model",)

    torch_file: Path
    converted: Path
    symbols: tuple[str, ...]
    dtype: str
    device: str = "cpu"

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether it is a file that `save` or `name_files` wrote."""
        return super().reads(path) and marked_kind(path) == cls.kind

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model that a file names.

        Raises
        ------
        UserError
            If one of the files that it names is missing or of another model.
        """
        saved = read_json(path, _Saved)
        if saved["version"] > _VERSION:
            raise UserError(
                f"{path} has layout {saved['version']} of a newer distill; this one reads up to "
                f"{_VERSION}"
            )
        model, converted = (_checked(path, part) for part in (saved["model"], saved["converted"]))
        return cls(model, converted, tuple(saved["elements"]), dtype or saved["dtype"], device)

    def save(self, path: Path) -> None:
        """Write copies of both files beside `path`, and `path`, which names them."""
        model = path.with_name(f"{path.stem}_torch.model")
        converted = path.with_name(f"{path.stem}_symmetrix.json")
        for source, copy in ((self.torch_file, model), (self.converted, converted)):
            with atomic_path(copy) as temporary:
                shutil.copyfile(source, temporary)
        name_files(path, model, converted, self.symbols, self.dtype)

    @cached_property
    def torch(self) -> Mace:
        """The same model in torch."""
        return Mace.load(self.torch_file, device=self.device, dtype=self.dtype)

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that it knows."""
        return frozenset(self.symbols)

    @cached_property
    def engine(self) -> FastCalculator | None:
        """The engine's calculator; None where the machine cannot run it, which is said."""
        if self.device != "cpu":
            return None
        try:
            return FastCalculator(self)
        except EngineRefused as error:
            say(f"{self.torch_file.name}: {error}; going on with torch")
            return None

    def calculator(self) -> Calculator:
        """The engine's calculator, or torch's where there is none."""
        return self.engine or self.torch.calculator()

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """One structure after the other."""
        if self.engine is None:
            return self.torch.predict(structures, stress=stress)
        for index, atoms in enumerate(structures):
            if problem := self.lacking(atoms):
                raise StructureError(index, problem)
        return AnyCalculator(self.engine).predict(structures, stress=stress)

    def lacking(self, atoms: Atoms) -> str | None:
        """Which elements of a structure the model does not know, in words; None if it knows all."""
        missing = sorted(set(atoms.symbols) - self.elements)
        known = ", ".join(self.symbols)
        return (
            f"element {', '.join(missing)} is not in the model (it knows {known})"
            if missing
            else None
        )

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Those of the torch model."""
        return self.torch.descriptors(structures)

    def fingerprint(self) -> dict[str, str]:
        """Hash of the engine's file, and the precision."""
        return {"converted": sha256(self.converted), "dtype": self.dtype}


class FastCalculator(AnsweringCalculator):
    """Energy [eV], forces [eV/Å] and stress [eV/Å³] of a converted model.

    Attributes
    ----------
    failure
        Why the engine gave up on a structure, the latest of those that torch answered for.

    Raises
    ------
    EngineRefused
        If the engine is not installed, has no compiler, or does not read the model.
    """

    def __init__(self, model: FastMace) -> None:
        super().__init__()
        from ase.data import atomic_numbers

        self.implemented_properties = ["energy", "free_energy", "forces", "stress"]
        self.model = model
        self.failure: str | None = None
        self.z_table = SimpleNamespace(zs=[atomic_numbers[symbol] for symbol in model.symbols])
        require_engine()
        # Kokkos recommends thread bindings on the standard error of every process.
        os.environ.setdefault("KOKKOS_DISABLE_WARNINGS", "1")
        from symmetrix import Symmetrix

        try:
            with quiet():
                self._engine = Symmetrix(str(model.converted), dtype=model.dtype)
        except Exception as error:
            # Compilers and caches of others fail in their own ways.
            reason = str(error).splitlines() or [type(error).__name__]
            raise EngineRefused(f"Symmetrix cannot run it here: {reason[0]}") from None

    def reset(self) -> None:
        """Forget the last structure, its neighbour list too, which would change last digits."""
        super().reset()
        self._engine.reset()
        self._engine._neighbor_cache = None

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Energy and forces; the stress where it is asked for."""
        if problem := self.model.lacking(atoms):
            raise UserError(problem)
        whole = has_volume(atoms.cell[:])
        asked = [name for name in properties if whole or name != "stress"]
        found = self._results(atoms if whole else _boxed(atoms), asked)
        names = [n for n in self.implemented_properties if whole or n != "stress"]
        return {name: found[name] for name in names if name in found}

    def _results(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """What the engine says of a structure; torch where it fails, which is said once."""
        try:
            self._engine.calculate(atoms, properties)
            return dict(self._engine.results)
        except MemoryError:
            raise
        except Exception as error:
            # It gives up on atoms without neighbours after a structure that had some.
            if self.failure is None:
                say(f"{self.model.torch_file.name}: Symmetrix failed ({error}); torch answers")
            self.failure, self._engine._neighbor_cache = str(error), None
            self._torch_calculator.calculate(atoms, properties)
            return dict(self._torch_calculator.results)

    def get_descriptors(self, atoms: Atoms, **options: Any) -> np.ndarray:
        """Those of mace-torch's calculator."""
        return np.asarray(self._torch_calculator.get_descriptors(atoms, **options))

    @cached_property
    def _torch_calculator(self) -> Any:
        return self.model.torch.calculator()


def require_engine() -> None:
    """Refuse a machine that cannot run the engine.

    Raises
    ------
    EngineRefused
        If the package is not installed, or there is no C++ compiler, which it calls once for each
        architecture and precision.
    """
    if find_spec("symmetrix") is None:
        raise EngineRefused(f"Symmetrix (symmetrix-xl) is not installed: {INSTALL}")
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise EngineRefused(
            f"Symmetrix finds no C++20 compiler '{' '.join(compiler)}': install one (apt install "
            "g++), or name one in the environment variable CXX"
        )


def converted_model(model: Mace, path: Path, converted: Path, torch_file: Path) -> FastMace:
    """A MACE converted for the engine.

    Parameters
    ----------
    model
        What is converted; it stays as it is.
    path, converted
        Files that are written: the model's, and the engine's.
    torch_file
        Where the model is kept, in the same folder.

    Raises
    ------
    EngineRefused
        If the engine is not installed, or does not take models of this architecture.
    UserError
        If the model has several heads and none is chosen.
    """
    import torch

    require_engine()
    from symmetrix.extract_mace_data import extract_mace_data

    module = model.single
    # The conversion changes the module that it is given.
    copy = io.BytesIO()
    torch.save(module, copy)
    copy.seek(0)
    try:
        with precision("float64"), quiet(), _silent():
            content = json.dumps(extract_mace_data(copy))
    except Exception as error:
        # The package has no exception of its own for what it does not take.
        raise EngineRefused(f"Symmetrix does not take this model: {error}") from None
    with atomic_path(converted) as temporary:
        temporary.write_text(content)
    info = facts(module)
    name_files(path, torch_file, converted, info.elements, info.dtype)
    return FastMace.load(path)


def name_files(
    path: Path, model: Path, converted: Path, symbols: Sequence[str], dtype: str
) -> None:
    """Write the file of a `FastMace`, which names two files of its folder and their SHA-256."""
    parts = {
        role: _Part(name=file.name, sha256=sha256(file))
        for role, file in (("model", model), ("converted", converted))
    }
    kind = {MARK: FastMace.kind, "version": _VERSION}
    write_json(path, {**kind, **parts, "elements": list(symbols), "dtype": dtype})


def torch_file_of(model: Any) -> Path | None:
    """The `.model` file of a model that the engine runs here; None for any other model."""
    path = Path(model) if isinstance(model, (str, os.PathLike)) else None
    if path is None or not path.is_file() or not FastMace.reads(path):
        return None
    fast = FastMace.load(path)
    return fast.torch_file if fast.engine else None


def differences(one: Family, other: Family, structures: Sequence[Atoms]) -> Differences:
    """Largest differences of two models' energies, forces and stresses of some structures."""
    first, second = (model.predict(structures, stress=True) for model in (one, other))
    atoms = np.array([len(each) for each in structures])
    pairs = zip(first.forces, second.forces, strict=True)
    sixes = [
        np.abs(a - b).max()
        for a, b in zip(first.stresses, second.stresses, strict=True)
        if a is not None and b is not None
    ]
    return Differences(
        energy=float(np.max(np.abs(first.energies - second.energies) / atoms)),
        forces=float(np.max([np.abs(a - b).max() for a, b in pairs])),
        stress=float(np.max(sixes, initial=0.0)),
    )


def _boxed(atoms: Atoms) -> Atoms:
    """A copy with vectors for the directions in which its cell has none, as the engine wants."""
    boxed = atoms.copy()
    boxed.set_cell(atoms.cell.complete())
    return boxed


@contextmanager
def _silent() -> Iterator[None]:
    """Keep remarks from the log, such as that all elements are taken."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _checked(path: Path, part: _Part) -> Path:
    """A file that another names, if it is the one that was there.

    Raises
    ------
    UserError
        If it is missing or has changed.
    """
    file = path.with_name(part["name"])
    if not file.is_file() or sha256(file) != part["sha256"]:
        state = "has changed since, or is of another model" if file.is_file() else "is missing"
        raise UserError(
            f"{path} names {file.name}, which {state}: bring the files back together, or name the "
            "torch model itself"
        )
    return file
