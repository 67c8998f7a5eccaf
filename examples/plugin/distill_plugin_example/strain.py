"""Strain series: given crystals, stretched and sheared by fixed amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.fingerprint import names_of
from distill.core.input_files import InputFile
from distill.core.quantities import CONFIG_TYPE_KEY, full_matrix
from distill.core.work import Unit
from distill.data.structures import read_structures, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.models.labelling import labelled_copy
from distill.sampling.method import Sampler, SamplingMethod, Visited

Mode = Literal["volume", "xx", "yy", "zz", "yz", "xz", "xy"]
_VOIGT = {"xx": 0, "yy": 1, "zz": 2, "yz": 3, "xz": 4, "xy": 5}
Amount = Annotated[float, Field(gt=-0.5, lt=0.5)]


class StrainConfig(Section):
    """Crystals under homogeneous strain, their atoms moving with the cell."""

    structures: InputFile = Field(description="file read by ASE, or bundled:NAME")
    modes: Annotated[list[Mode], Field(min_length=1)] = Field(
        ["volume", "xx", "xy"], description="components of the strain; volume is xx + yy + zz"
    )
    amounts: Annotated[list[Amount], Field(min_length=1)] = Field(
        [-0.02, -0.01, 0.01, 0.02], description="every one in every mode"
    )


def strained(atoms: Atoms, mode: Mode, amount: float) -> Atoms:
    """A copy whose cell is multiplied by 1 + ε, with the symmetric strain ε of a mode."""
    components = np.zeros(6)
    components[[0, 1, 2] if mode == "volume" else [_VOIGT[mode]]] = amount
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.set_cell(copy.cell.array @ (np.eye(3) + full_matrix(components)), scale_atoms=True)
    return copy


@dataclass(frozen=True)
class StrainUnit(Unit):
    """The labelled series of one structure, in one file."""

    model: ModelSpec
    atoms: Atoms
    modes: tuple[Mode, ...]
    amounts: tuple[float, ...]

    def files(self) -> list[Path]:
        """The labelled structures."""
        return [self.folder / f"{self.name}.xyz"]

    def structures(self) -> list[Atoms]:
        """The labelled structures; each cost one force call."""
        return read_structures(self.files()[0])

    def work(self) -> dict[str, int]:
        """Make, label and write the series."""
        calculator = cached_calculator(self.model)
        stress = "stress" in calculator.implemented_properties
        structures = []
        for mode in self.modes:
            for step, amount in enumerate(self.amounts):
                atoms = strained(self.atoms, mode, amount)
                labelled = labelled_copy(atoms, calculator, index=len(structures), stress=stress)
                labelled.info |= {
                    CONFIG_TYPE_KEY: "strain",
                    "trajectory": f"{self.name}_{mode}",
                    "step": step,
                }
                structures.append(labelled)
        write_structures(self.files()[0], structures)
        return {"structures": len(structures)}


class Strain(SamplingMethod):
    """A series for every structure of a file."""

    Config = StrainConfig

    def units(self, configs: Sequence[StrainConfig], sampler: Sampler) -> list[Unit]:
        """A unit for every structure of a list of options.

        Raises
        ------
        UserError
            If a file is missing or damaged, or holds a structure without a cell to strain.
        """
        work = sampler.work.sub("strain")
        series = [
            (_periodic(atoms, config, index), tuple(config.modes), tuple(config.amounts))
            for config in configs
            for index, atoms in enumerate(read_structures(config.structures, require=()))
        ]
        return [
            StrainUnit(
                work.path,
                f"strain_{name}",
                model=sampler.model,
                atoms=atoms,
                modes=modes,
                amounts=amounts,
            )
            for name, (atoms, modes, amounts) in zip(names_of(series), series, strict=True)
        ]

    def collect(self, units: Sequence[StrainUnit]) -> Visited:
        """The labelled structures; each cost one call."""
        structures = [atoms for unit in units for atoms in unit.structures()]
        return Visited(
            pool=structures,
            endings={atoms.info["trajectory"]: "strain" for atoms in structures},
            calls={"strain": len(structures)},
        )


def _periodic(atoms: Atoms, config: StrainConfig, index: int) -> Atoms:
    if atoms.pbc.all():
        return atoms
    raise UserError(
        f"sampling.strain: {config.structures}: structure {index} has pbc {atoms.pbc.tolist()}, "
        "expected a crystal that is periodic in all directions"
    )
