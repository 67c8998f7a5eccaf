"""Rattled and strained copies of given structures, relaxed a few steps where asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from distill.core.config import Count, CountOrNone, Section
from distill.core.input_files import InputFile
from distill.core.random_streams import stream
from distill.models.kept_calls import KeptCalls
from distill.sampling.methods.per_structure import PerStructure, StructureUnit, labelled_by
from distill.systems.rattled import rattled

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


class RattleUnit(StructureUnit):
    """Labelled copies of one structure."""

    config: RattleConfig

    @property
    def calls(self) -> int:
        """One for each copy and step."""
        return int(self.numbers()["structures"])

    def work(self) -> dict[str, int]:
        """Make, label and write the copies."""
        calculator, config = KeptCalls(self.model, self.parts), self.config
        made = []
        for number in range(config.copies):
            generator = stream(self.seed, "rattle", self.name, number)
            start = rattled(self.atoms, generator, amplitude=config.amplitude, strain=config.strain)
            for step, atoms in enumerate(_relaxation(start, calculator, config.relax_steps)):
                made.append((labelled_by(calculator, atoms, number), number, {"step": step}))
        self.write("rattle", made)
        return {"structures": len(made)}


class Rattle(PerStructure):
    """Copies of every structure of a file."""

    Config = RattleConfig
    unit_type = RattleUnit
    name = "rattle"

    def calls_of(self, config: RattleConfig) -> int:
        """One for each copy, and for each step of its relaxation."""
        return config.copies * (1 + config.relax_steps)


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
