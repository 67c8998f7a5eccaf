"""What the teacher labels before a student can sample: a first training set, and the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.core.sections import asked, map_sections, sections_in
from distill.core.work import Unit
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.structures import read_structures
from distill.metrics.selection import distinct
from distill.models.cached_calculators import ModelSpec
from distill.models.kept_calls import KeptCalls
from distill.sampling.config import DrivenConfig, SamplingBase, SelectionConfig
from distill.sampling.descriptors import structure_descriptors
from distill.sampling.method import SAMPLING_METHODS
from distill.sampling.selection import select
from distill.simulation.rovibrational import molecule_at
from distill.systems.config import SlabConfig
from distill.systems.slabs import LATTICE_CONSTANT_CALLS, lattice_constant

MOLECULE_TYPE = "molecule"
# Of the molecule's bond, in units of the sum of covalent radii: from its wall to apart.
_CURVE_RANGE = (0.65, 5.0)


def seed_structures(
    config: SamplingBase, driven: DrivenConfig, train: Path, seed: int
) -> list[Atoms]:
    """Structures of the first student, to be labelled by the teacher.

    Isolated atoms of the training set, the farthest points among its other structures, and the
    scattering molecule at several bond lengths.

    Parameters
    ----------
    config
        The sampling section.
    driven
        How many.
    train
        Reference training structures.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If the training set is not to be used, so that there is nothing to begin with.
    """
    if not config.include_training:
        raise UserError(
            "sampling.driven begins with structures of the training set: set "
            "sampling.include_training to true"
        )
    training = read_structures(train, require=())
    rcut = driven.student.rcut
    cutoff = max(rcut.values()) if isinstance(rcut, dict) else rcut
    isolated = [is_isolated_atom(atoms, cutoff) for atoms in training]
    atoms_alone = [atoms for atoms, alone in zip(training, isolated, strict=True) if alone]
    others = [atoms for atoms, alone in zip(training, isolated, strict=True) if not alone]
    chosen = _diverse(others, driven.seed_structures, seed)
    molecules = []
    if scattering := getattr(config, "scattering", None):
        molecules = _molecules(scattering.molecule, driven.curve_points)
    say(
        f"student-driven sampling begins with {len(chosen)} of {len(others)} training structures, "
        f"{len(atoms_alone)} isolated atoms and {len(molecules)} bond lengths"
    )
    return [*atoms_alone, *chosen, *molecules]


def _diverse(structures: Sequence[Atoms], count: int, seed: int) -> list[Atoms]:
    if len(structures) <= count:
        return list(structures)
    descriptors = structure_descriptors(structures, "ace", "")
    config = SelectionConfig(method="fps", count=1)
    unique = distinct(descriptors, config.duplicate_tolerance)
    config = config.model_copy(update={"count": min(count, len(unique))})
    return [structures[unique[index]] for index in select(descriptors[unique], config, seed)]


def _molecules(molecule: str, points: int) -> list[Atoms]:
    structures = []
    for reach in np.geomspace(*_CURVE_RANGE, points):
        atoms = molecule_at(molecule, float(reach))
        atoms.info[CONFIG_TYPE_KEY] = MOLECULE_TYPE
        structures.append(atoms)
    return structures


@dataclass(frozen=True)
class _LatticeUnit(Unit):
    """Measure the lattice constants (Å) of elements by a model's energy-volume curves."""

    model: ModelSpec
    elements: tuple[str, ...]

    def work(self) -> dict[str, float]:
        calculator = KeptCalls(self.model, self.parts)
        return {element: lattice_constant(element, calculator) for element in self.elements}


def with_lattice_constants(
    config: SamplingBase, teacher: Path, folder: Path
) -> tuple[SamplingBase, int]:
    """The config with the teacher's lattice constants where none is given, and the calls made.

    Parameters
    ----------
    config
        The sampling section.
    teacher
        Its energy-volume curves give the lattice constants (Å) of the slabs' elements.
    folder
        Of `lattice_constants.json`, which keeps them.
    """
    options = asked(config, SAMPLING_METHODS)
    slabs = [
        s for some in options.values() for entry in some for s in sections_in(entry, SlabConfig)
    ]
    elements = sorted({slab.element for slab in slabs if _wanting(slab)})
    unit = _LatticeUnit(folder, "lattice_constants", str(teacher), tuple(elements))
    if not unit.finished:
        unit.run()
    found: dict[str, float] = unit.numbers()

    def given(slab: SlabConfig) -> SlabConfig:
        if not _wanting(slab):
            return slab
        return slab.model_copy(update={"lattice_constant": found[slab.element]})

    changed = {name: map_sections(getattr(config, name), SlabConfig, given) for name in options}
    return config.model_copy(update=changed), LATTICE_CONSTANT_CALLS * len(found)


def _wanting(slab: SlabConfig) -> bool:
    return slab.file is None and slab.lattice_constant is None
