"""A tree of rattled and partly relaxed children of each structure.

Dynamics spends its calls on neighbours in time, which are alike; a rattled copy costs one call, but
most of what it shows is too high in energy to matter. Here each child is a rattled copy of an
earlier structure of the tree, relaxed only until its energy is one that a temperature allows, so
that it is both far from its parent and of use. The idea of a family tree by rattling, relaxing and
repeating is that of the package augment-atoms, made for synthetic distillation sets.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from pydantic import Field

from distill.core.config import Count, CountOrNone, NonNegative, Positive, Section
from distill.core.input_files import InputFile
from distill.core.random_streams import stream
from distill.data.structures import reference_energy, reference_forces
from distill.models.kept_calls import KeptCalls
from distill.sampling.methods.per_structure import PerStructure, StructureUnit, labelled_by
from distill.systems.rattled import rattled


class AugmentConfig(Section):
    """A tree of rattled and partly relaxed children of given structures."""

    structures: InputFile = Field(description="file read by ASE, or bundled:NAME")
    children: Count = Field(20, description="of each structure")
    amplitude: Positive = Field(
        0.2, description="largest standard deviation of a child's displacements, Å; drawn below it"
    )
    strain: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.03, description="largest entry of a child's random strain"
    )
    temperature: Positive = Field(
        600.0,
        description="a child is relaxed until its energy above the first structure is at most what "
        "it draws at this temperature, K",
    )
    relax_steps: CountOrNone = Field(5, description="steps of a relaxation at most; each is a call")
    depth_bias: NonNegative = Field(
        0.5,
        description="0 takes parents alike; larger values prefer those of many generations",
    )


class AugmentUnit(StructureUnit):
    """The labelled tree of one structure: the first one and its descendants."""

    config: AugmentConfig

    @property
    def calls(self) -> int:
        """One for each structure and step of its relaxation."""
        return int(self.numbers()["calls"])

    def work(self) -> dict[str, int]:
        """Grow the tree and write it; the number of calls."""
        calculator = KeptCalls(self.model, self.parts)
        config, generator = self.config, stream(self.seed, "augment", self.name)
        root = _labelled(self.atoms, calculator, 0)
        tree, generations, branches, calls = [root], [0], [0], 1
        allowed = 0.5 * _degrees_of_freedom(root) * units.kB * config.temperature
        for number in range(1, config.children + 1):
            weights = np.exp(config.depth_bias * (np.array(generations) - max(generations)))
            parent = int(generator.choice(len(tree), p=weights / weights.sum()))
            start = rattled(
                tree[parent],
                generator,
                amplitude=config.amplitude * (1.0 - generator.random()),
                strain=config.strain,
            )
            # Energies of a harmonic system at a temperature are gamma-distributed.
            drawn = allowed * generator.gamma(shape=2.0, scale=0.5)
            child, steps = _partly_relaxed(start, calculator, root, drawn, config, number)
            calls += steps
            tree.append(child)
            generations.append(generations[parent] + 1)
            branches.append(branches[parent] or number)
        # What descends from one child of the first structure is alike.
        found = zip(tree, branches, generations, strict=True)
        self.write("augment", [(a, branch, {"generation": n}) for a, branch, n in found])
        return {"structures": len(tree), "calls": calls}


class Augment(PerStructure):
    """A tree for every structure of a file."""

    Config = AugmentConfig
    unit_type = AugmentUnit
    name = "augment"

    def calls_of(self, config: AugmentConfig) -> int:
        """One for the structure, each child, and each step of its relaxation."""
        return 1 + config.children * (1 + config.relax_steps)


def _labelled(atoms: Atoms, calculator: Calculator, index: int) -> Atoms:
    bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return labelled_by(calculator, bare, index)


def _degrees_of_freedom(atoms: Atoms) -> int:
    return max(3 * len(atoms) - 3, 1)


def _partly_relaxed(
    start: Atoms,
    calculator: Calculator,
    root: Atoms,
    allowed: float,
    config: AugmentConfig,
    number: int,
) -> tuple[Atoms, int]:
    """A structure moved along its forces until its energy is allowed, and the calls it took.

    The largest displacement of step k is that of the Robbins-Monro series, amplitude / (k + 1), so
    that steps get shorter whatever the stiffness (Robbins & Monro, Ann. Math. Stat. 22, 400
    (1951)).
    """
    labelled = _labelled(start, calculator, number)
    base = reference_energy(root)
    for step in range(config.relax_steps):
        energy, forces = reference_energy(labelled), reference_forces(labelled)
        assert energy is not None and base is not None and forces is not None
        largest = float(np.linalg.norm(forces, axis=1).max())
        if energy - base <= allowed or largest == 0.0:
            return labelled, step + 1
        moved = labelled.copy()
        moved.positions += config.amplitude / (step + 1) * forces / largest
        labelled = _labelled(moved, calculator, number)
    return labelled, config.relax_steps + 1
