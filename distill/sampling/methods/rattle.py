"""Rattled and strained copies of given structures, relaxed a few steps where asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from distill.core.config import Count, CountOrNone, Section
from distill.core.input_files import InputFile
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.core.random_streams import stream
from distill.core.work import Unit
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.structures import read_structures, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.models.labelling import labelled_copy
from distill.sampling.method import Sampler, SamplingMethod, Visited
from distill.systems.rattled import rattled

CONFIG_TYPE = "rattle"
_RELAX_FMAX = 0.01


class RattleConfig(Section):
    """Random displacements and strains of given structures."""

    structures: InputFile = Field(description="file read by ASE, or bundled:NAME")
    copies: Count = Field(5, description="rattled copies of each")
    amplitude: Annotated[float, Field(ge=0, le=10)] = Field(
        0.1, description="standard deviation of displacements, Å"
    )
    strain: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.02, description="largest entry of the random strain"
    )
    relax_steps: CountOrNone = Field(
        0, description="optimiser steps after each rattling; every structure on the way is kept"
    )


@dataclass(frozen=True)
class RattleUnit(Unit):
    """Labelled copies of one structure, in one file."""

    model: ModelSpec
    config: RattleConfig
    atoms: Atoms
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its model, structure and amounts; not the name of the file that it is from."""
        config = {n: getattr(self.config, n) for n in RattleConfig.model_fields}
        return {**super().settings(), "config": config | {"structures": ""}, "stream": self.name}

    def files(self) -> list[Path]:
        """The labelled copies."""
        return [self.folder / f"{self.name}.xyz"]

    def structures(self) -> list[Atoms]:
        """The labelled copies; each cost one force call."""
        return read_structures(self.files()[0])

    def work(self) -> dict[str, int]:
        """Make, label and write the copies."""
        calculator = cached_calculator(self.model)
        structures = []
        for number in range(self.config.copies):
            generator = stream(self.seed, "rattle", self.name, number)
            start = rattled(
                self.atoms,
                generator,
                amplitude=self.config.amplitude,
                strain=self.config.strain,
            )
            for step, atoms in enumerate(_relaxation(start, calculator, self.config.relax_steps)):
                stress = atoms.pbc.all() and "stress" in calculator.implemented_properties
                labelled = labelled_copy(atoms, calculator, index=number, stress=bool(stress))
                labelled.info.update(
                    {
                        CONFIG_TYPE_KEY: CONFIG_TYPE,
                        "trajectory": f"{self.name}_{number:03d}",
                        "step": step,
                    }
                )
                structures.append(labelled)
        write_structures(self.files()[0], structures)
        return {"structures": len(structures)}


class Rattle(SamplingMethod):
    """Copies of every structure of a file."""

    Config = RattleConfig

    def refuse(self, configs: Sequence[RattleConfig]) -> None:
        """Refuse a file that cannot be read."""
        for config in configs:
            read_structures(config.structures, require=())

    def units(self, configs: Sequence[RattleConfig], sampler: Sampler) -> list[Unit]:
        """A unit for every structure of a list of options; isolated atoms have nothing to show.

        Raises
        ------
        UserError
            If a file is missing or damaged.
        """
        work = sampler.work.sub("rattle")
        return [
            RattleUnit(
                work.path,
                f"rattle_{number:02d}_{index:05d}",
                model=sampler.model,
                config=config,
                atoms=atoms,
                seed=work.seed,
            )
            for number, config in enumerate(configs)
            for index, atoms in enumerate(read_structures(config.structures, require=()))
            if not is_isolated_atom(atoms)
        ]

    def collect(self, units: Sequence[RattleUnit]) -> Visited:
        """The labelled copies; each cost one call."""
        structures = [atoms for unit in units for atoms in unit.structures()]
        return Visited(
            pool=structures,
            endings={atoms.info["trajectory"]: "rattle" for atoms in structures},
            calls={"rattle": len(structures)},
        )


def _relaxation(start: Atoms, calculator: Calculator, steps: int) -> Iterator[Atoms]:
    """The start and the structure after each relaxation step, while the calculator knows it."""
    from ase.optimize import BFGS

    if steps == 0:
        yield start
        return
    moving = start.copy()
    moving.calc = calculator
    optimiser = BFGS(moving, logfile=os.devnull)
    for _ in optimiser.irun(fmax=_RELAX_FMAX, steps=steps):
        yield moving.copy()
