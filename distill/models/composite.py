"""Teachers of several parts in one `.model` file: a base and its correction, or a committee.

Such a file holds a plain dictionary: `distill` says which kind it is, and the parts are whole MACE
modules or, for a base that is another calculator, its import path or file with arguments and
SHA-256. `distill.models.calculators.load_calculator` makes one ASE calculator of it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from distill.core.artifacts import atomic_path, sha256
from distill.core.errors import UserError
from distill.core.quantities import six_components
from distill.models.config import CalculatorConfig

if TYPE_CHECKING:
    import torch
    from ase import Atoms

KIND = "distill"
DELTA, COMMITTEE = "delta", "committee"


class DeltaCalculator(Calculator):
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

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Results of both parts, added."""
        super().calculate(atoms, properties, system_changes)
        for name in ("energy", "forces", *(["stress"] if "stress" in properties else [])):
            # A base in single precision must not round the energies of whole atoms away.
            parts = [
                np.asarray(part.get_property(name, self.atoms), dtype=float)
                for part in (self.base, self.correction)
            ]
            if name == "stress":
                # Some calculators, such as CHGNet's, give a full matrix.
                parts = [six_components(part) for part in parts]
            self.results[name] = parts[0] + parts[1]
        self.results["energy"] = float(self.results["energy"])
        self.results["free_energy"] = self.results["energy"]

    def get_descriptors(self, atoms: Atoms, **options: Any) -> np.ndarray:
        """Descriptors of the base where it has any, else of the correction."""
        part: Any = self.base if hasattr(self.base, "get_descriptors") else self.correction
        return np.asarray(part.get_descriptors(atoms, **options))


class CommitteeCalculator(Calculator):
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

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Mean and spread of the members' results."""
        super().calculate(atoms, properties, system_changes)
        for name in ("energy", "forces", *(["stress"] if "stress" in properties else [])):
            values = np.array([member.get_property(name, self.atoms) for member in self.members])
            self.results[name] = values.mean(axis=0)
            if name == "energy":
                self.results["energy_std"] = float(values.std(ddof=1))
            elif name == "forces":
                variance = values.var(axis=0, ddof=1).mean(axis=-1)
                self.results["forces_std"] = np.sqrt(variance)
        self.results["energy"] = float(self.results["energy"])
        self.results["free_energy"] = self.results["energy"]

    def get_descriptors(self, atoms: Atoms, **options: Any) -> np.ndarray:
        """Descriptors of the first member."""
        member: Any = self.members[0]
        return np.asarray(member.get_descriptors(atoms, **options))


def delta_parts(
    base: torch.nn.Module | CalculatorConfig, correction: torch.nn.Module
) -> dict[str, Any]:
    """What a delta teacher's file holds."""
    if not isinstance(base, CalculatorConfig):
        return {KIND: DELTA, "base": base.cpu(), "correction": correction.cpu()}
    path = Path(base.path)
    described = base.model_dump(mode="json")
    if path.is_file():
        described |= {"path": str(path.resolve()), "sha256": sha256(path)}
    return {KIND: DELTA, "base": described, "correction": correction.cpu()}


def committee_parts(members: Sequence[Any]) -> dict[str, Any]:
    """What a committee's file holds, from the contents of its members' files."""
    return {KIND: COMMITTEE, "members": list(members)}


def save_parts(parts: dict[str, Any], path: Path) -> None:
    """Write a teacher of several parts atomically."""
    import torch

    buffer = io.BytesIO()
    torch.save(parts, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def is_composite(content: Any) -> bool:
    """Whether the content of a `.model` file is one of several parts."""
    return isinstance(content, dict) and content.get(KIND) in (DELTA, COMMITTEE)


def composite_calculator(content: dict[str, Any], make: Any, *, origin: Path) -> Calculator:
    """One ASE calculator from the content of a `.model` file.

    Parameters
    ----------
    content
        As it was saved.
    make
        Makes a calculator of a MACE module or of a `CalculatorConfig`.
    origin
        The file, for messages.

    Raises
    ------
    UserError
        If the file of a base model is missing or has changed.
    """
    if content[KIND] == COMMITTEE:
        members = [
            composite_calculator(member, make, origin=origin)
            if is_composite(member)
            else make(member)
            for member in content["members"]
        ]
        return CommitteeCalculator(members)
    base = content["base"]
    if isinstance(base, dict):
        expected = base.get("sha256")
        if expected is not None and sha256(base["path"]) != expected:
            raise UserError(
                f"{origin} corrects {base['path']}, which has changed since (another SHA-256); "
                "restore that file"
            )
        base = CalculatorConfig(path=base["path"], args=base["args"])
    return DeltaCalculator(make(base), make(content["correction"]))
