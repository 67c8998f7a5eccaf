"""Models of several parts in one file: a base and its correction, or a committee.

Such a file holds a plain dictionary: its first entry, `distill`, says which kind it is, and the
parts are whole MACE modules, dictionaries of this sort again or, for a base that is another
calculator, its import path or file with arguments and SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator

from distill.core.artifacts import sha256
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.quantities import six_components
from distill.models.answering import AnsweringCalculator
from distill.models.base import Family, Predictions
from distill.models.calculators import load_model
from distill.models.config import CalculatorConfig
from distill.models.mace.adapter import checked_model
from distill.models.mace.family import Mace
from distill.models.mace.torch_tools import MARK, marked_kind, read_pickle, write_pickle

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms

_DELTA, _COMMITTEE = "delta", "committee"
# Of the files' layout; the first one did not say it.
_VERSION = 1


class _Composite(Family):
    """Several models in one file that says of which kind it is."""

    Config: ClassVar[type[Section]] = CalculatorConfig
    suffixes: ClassVar[tuple[str, ...]] = Mace.suffixes

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether it is a model file that says it is of this kind."""
        return super().reads(path) and marked_kind(path) == cls.kind

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a file; see `family_of`."""
        found = family_of(read_pickle(path, device=device), device=device, dtype=dtype, origin=path)
        if not isinstance(found, cls):
            raise UserError(f"{path}: expected a model of kind {cls.kind}, found a {found.kind}")
        return found

    def save(self, path: Path) -> None:
        """Write the parts, or where a part is."""
        write_pickle(_content(self), path)


@dataclass(frozen=True)
class Delta(_Composite):
    """A base model and what a second one adds to it.

    Attributes
    ----------
    base, correction
        The parts.
    source
        File or import path that the base is kept by; None for a MACE that is kept whole.
    """

    kind: ClassVar[str] = _DELTA

    base: Family
    correction: Family
    source: CalculatorConfig | None = None

    @property
    def elements(self) -> frozenset[str] | None:
        """Chemical symbols that both parts know."""
        return _shared_elements([self.base, self.correction])

    def calculator(self) -> Calculator:
        """The sum of both parts' calculators."""
        return DeltaCalculator(self.base.calculator(), self.correction.calculator())

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """Sums of both parts' predictions; a stress that one of them lacks is left out."""
        parts = [p.predict(structures, stress=stress) for p in (self.base, self.correction)]
        return _combined(parts, sum)

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Those of the base where it has any, else of the correction."""
        try:
            return self.base.descriptors(structures)
        except UserError:
            return self.correction.descriptors(structures)

    def in_batches(self, size: int) -> Self:
        """Both parts taking `size` structures at once if they can."""
        return replace(
            self, base=self.base.in_batches(size), correction=self.correction.in_batches(size)
        )


@dataclass(frozen=True)
class Committee(_Composite):
    """Several models of the same, their mean and their spread.

    Attributes
    ----------
    members
        At least two.
    """

    kind: ClassVar[str] = _COMMITTEE

    members: tuple[Family, ...]

    @property
    def elements(self) -> frozenset[str] | None:
        """Chemical symbols that all members know."""
        return _shared_elements(self.members)

    def calculator(self) -> Calculator:
        """A calculator of the mean, with the spread among its results."""
        return CommitteeCalculator([member.calculator() for member in self.members])

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """Means over the members; a stress that one of them lacks is left out."""
        parts = [member.predict(structures, stress=stress) for member in self.members]
        return _combined(parts, lambda values: np.mean(values, axis=0))

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Those of the first member."""
        return self.members[0].descriptors(structures)

    def uncertainty(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        """Sample standard deviation of each force component over the members, eV/Å, (N, 3) each."""
        forces = [member.predict(structures).forces for member in self.members]
        return [np.std(of_one, axis=0, ddof=1) for of_one in zip(*forces, strict=True)]

    def in_batches(self, size: int) -> Self:
        """All members taking `size` structures at once if they can."""
        return replace(self, members=tuple(member.in_batches(size) for member in self.members))


class DeltaCalculator(AnsweringCalculator):
    """Sum of a base calculator and its correction: energy [eV], forces [eV/Å], stress [eV/Å³].

    Parameters
    ----------
    base, correction
        ASE calculators; the correction is a MACE.
    """

    def __init__(self, base: Calculator, correction: Calculator) -> None:
        super().__init__()
        self.base, self.correction = base, correction
        stress = ["stress"] if "stress" in base.implemented_properties else []
        self.implemented_properties = ["energy", "free_energy", "forces", *stress]
        self.z_table = getattr(correction, "z_table", None)

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Results of both parts, added."""
        found: dict[str, Any] = {}
        for name in ("energy", "forces", *(["stress"] if "stress" in properties else [])):
            # A base in single precision must not round the energies of whole atoms away.
            parts = [
                np.asarray(part.get_property(name, atoms), dtype=float)
                for part in (self.base, self.correction)
            ]
            if name == "stress":
                # Some calculators, such as CHGNet's, give a full matrix.
                parts = [six_components(part) for part in parts]
            found[name] = parts[0] + parts[1]
        found["energy"] = float(found["energy"])
        return found | {"free_energy": found["energy"]}

    def get_descriptors(self, atoms: Atoms, **options: Any) -> np.ndarray:
        """Descriptors of the base where it has any, else of the correction."""
        part: Any = self.base if hasattr(self.base, "get_descriptors") else self.correction
        return np.asarray(part.get_descriptors(atoms, **options))


class CommitteeCalculator(AnsweringCalculator):
    """Mean of several calculators and their spread.

    `results` holds the mean `energy` [eV], `forces` [eV/Å] and `stress` [eV/Å³], and the sample
    standard deviations over the members: `energy_std` [eV], and `forces_std` [eV/Å], (N,), the
    root mean square over the three components of each atom.

    Parameters
    ----------
    members
        At least two ASE calculators.
    """

    def __init__(self, members: Sequence[Calculator]) -> None:
        super().__init__()
        self.implemented_properties = list(members[0].implemented_properties)
        self.members = list(members)
        self.z_table = getattr(members[0], "z_table", None)

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Mean and spread of the members' results."""
        found: dict[str, Any] = {}
        for name in ("energy", "forces", *(["stress"] if "stress" in properties else [])):
            values = np.array([member.get_property(name, atoms) for member in self.members])
            found[name] = values.mean(axis=0)
            if name == "energy":
                found["energy_std"] = float(values.std(ddof=1))
            elif name == "forces":
                variance = values.var(axis=0, ddof=1).mean(axis=-1)
                found["forces_std"] = np.sqrt(variance)
        found["energy"] = float(found["energy"])
        return found | {"free_energy": found["energy"]}

    def get_descriptors(self, atoms: Atoms, **options: Any) -> np.ndarray:
        """Descriptors of the first member."""
        member: Any = self.members[0]
        return np.asarray(member.get_descriptors(atoms, **options))


def family_of(content: Any, *, device: str, dtype: str | None, origin: Path) -> Family:
    """The model that the content of a `.model` file makes.

    Parameters
    ----------
    content
        A MACE module, or a dictionary of parts.
    device, dtype
        Of the MACE modules in it.
    origin
        The file, for messages.

    Raises
    ------
    UserError
        If it is neither, or the file of a base model is missing or has changed.
    """

    def part(inner: Any) -> Family:
        return family_of(inner, device=device, dtype=dtype, origin=origin)

    kind = content.get(MARK) if isinstance(content, dict) else None
    if kind and content.get("version", _VERSION) > _VERSION:
        raise UserError(
            f"{origin} has layout {content['version']} of a newer distill; this one reads up to "
            f"{_VERSION}"
        )
    if kind == _COMMITTEE:
        return Committee(tuple(part(member) for member in content["members"]))
    if kind != _DELTA:
        return Mace.of_module(checked_model(content, origin), device=device, dtype=dtype)
    base, correction = content["base"], part(content["correction"])
    if not isinstance(base, dict) or MARK in base:
        return Delta(part(base), correction)
    expected = base.get("sha256")
    if expected is not None and sha256(base["path"]) != expected:
        raise UserError(
            f"{origin} corrects {base['path']}, which has changed since (another SHA-256); "
            "restore that file"
        )
    entries = {name: base[name] for name in CalculatorConfig.model_fields if name in base}
    source = CalculatorConfig.model_validate(entries)
    return Delta(load_model(source, device=device, dtype=dtype), correction, source)


def join_files(members: Sequence[Path], path: Path) -> None:
    """Write a committee of the models in several files, as they are there."""
    write_pickle(_parts(_COMMITTEE, members=[read_pickle(member) for member in members]), path)


def _parts(kind: str, **parts: Any) -> dict[str, Any]:
    # The kind comes first, where `marked_kind` finds it.
    return {MARK: kind, "version": _VERSION, **parts}


def _content(model: Family) -> Any:
    """What the file of a model holds."""
    if isinstance(model, Mace):
        return model.module.cpu()
    if isinstance(model, Committee):
        return _parts(_COMMITTEE, members=[_content(member) for member in model.members])
    if isinstance(model, Delta):
        base = _content(model.base) if model.source is None else _described(model.source)
        return _parts(_DELTA, base=base, correction=_content(model.correction))
    raise UserError(
        f"a model of kind {model.kind} cannot be kept inside another one; name it by its file"
    )


def _described(source: CalculatorConfig) -> dict[str, Any]:
    """Where a base model is, and what its file was."""
    path = None if source.path is None else Path(source.path)
    described = source.model_dump(mode="json")
    if path is not None and path.is_file():
        described |= {"path": str(path.resolve()), "sha256": sha256(path)}
    return described


def _shared_elements(parts: Sequence[Family]) -> frozenset[str] | None:
    """Elements that all parts know, of those that say so."""
    known = [part.elements for part in parts if part.elements is not None]
    return frozenset.intersection(*known) if known else None


def _combined(parts: Sequence[Predictions], combine: Any) -> Predictions:
    """One prediction of several, each quantity put through a function of the parts' values."""
    stresses = []
    for sixes in zip(*(part.stresses for part in parts), strict=True):
        stresses.append(None if any(six is None for six in sixes) else combine(list(sixes)))
    return Predictions(
        np.asarray(combine([part.energies for part in parts])),
        [combine(list(forces)) for forces in zip(*(p.forces for p in parts), strict=True)],
        stresses,
    )
