"""Labels by the teacher, in shards that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from distill.calculators import labelled_copy
from distill.sampling.models import ModelSpec, cached_calculator
from distill.structures import STRESS_KEY, read_structures, write_structures

_SHARD = 40


@dataclass(frozen=True)
class LabelUnit:
    """Label some structures; those that carried a stress get one, if the model has stresses."""

    model: ModelSpec
    structures: tuple[Atoms, ...]
    first: int
    path: Path

    @property
    def finished(self) -> bool:
        """Whether the labels are there."""
        return self.path.exists()

    def labelled(self) -> list[Atoms]:
        """The structures with their labels."""
        return read_structures(self.path)

    def run(self) -> None:
        """Label the structures and write them.

        Raises
        ------
        UserError
            If the model lacks an element or fails on a structure, naming its index.
        """
        calculator = cached_calculator(self.model)
        has_stress = "stress" in calculator.implemented_properties
        labelled = []
        for index, atoms in enumerate(self.structures, start=self.first):
            bare = atoms.copy()
            stress = bare.info.pop(STRESS_KEY, None) is not None and has_stress
            labelled.append(labelled_copy(bare, calculator, index=index, stress=stress))
        write_structures(self.path, labelled)


def label_units(
    structures: Sequence[Atoms], *, model: ModelSpec, folder: Path, name: str
) -> list[LabelUnit]:
    """Structures in shards of 40, in their order, to be labelled with a model.

    Parameters
    ----------
    structures
        What to label; not changed, their own labels are replaced.
    model
        What `distill.calculators.load_calculator` takes.
    folder, name
        The shards are kept as `folder/NAME_FIRST.xyz`.
    """
    return [
        LabelUnit(
            model=model,
            structures=tuple(structures[first : first + _SHARD]),
            first=first,
            path=folder / f"{name}_{first:06d}.xyz",
        )
        for first in range(0, len(structures), _SHARD)
    ]
