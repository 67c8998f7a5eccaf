"""Labels by the teacher, in shards that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.core.quantities import STRESS_KEY
from distill.core.work import Unit
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_forces,
    write_structures,
)
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.models.calculators import labelled_copy
from distill.models.config import LabelConfig

_SHARD = 40


@dataclass(frozen=True)
class LabelUnit(Unit):
    """Label some structures; those that carried a stress get one, if the model has stresses."""

    model: ModelSpec
    structures: tuple[Atoms, ...]
    first: int
    options: LabelConfig

    unkeyed = Unit.unkeyed | {"options", "first"}

    def files(self) -> list[Path]:
        """The labelled structures."""
        return [self.folder / f"{self.name}.xyz"]

    def labelled(self) -> list[Atoms]:
        """The structures with their labels."""
        return read_structures(self.files()[0])

    def work(self) -> dict[str, int]:
        """Label the structures and write them.

        Raises
        ------
        UserError
            If the model lacks an element or fails on a structure, naming its index.
        """
        device = _device(self.options.device)
        calculator = cached_calculator(self.model, device=device)
        if _is_one_mace(calculator) and self.options.batch_size > 1:
            labelled = self._in_batches(calculator, device)
        else:
            labelled = self._one_by_one(calculator)
        write_structures(self.files()[0], labelled)
        return {"structures": len(labelled)}

    def _one_by_one(self, calculator: Calculator) -> list[Atoms]:
        has_stress = "stress" in calculator.implemented_properties
        labelled = []
        for index, atoms in enumerate(self.structures, start=self.first):
            bare = atoms.copy()
            stress = bare.info.pop(STRESS_KEY, None) is not None and has_stress
            labelled.append(labelled_copy(bare, calculator, index=index, stress=stress))
        return labelled

    def _in_batches(self, calculator: Any, device: str) -> list[Atoms]:
        from distill.models.mace.adapter import predict

        labelled = predict(
            calculator.models[0],
            self.structures,
            batch_size=self.options.batch_size,
            device=device,
        )
        for index, atoms in enumerate(labelled, start=self.first):
            energy, forces = reference_energy(atoms), reference_forces(atoms)
            assert energy is not None and forces is not None
            if not (np.isfinite(energy) and np.isfinite(forces).all()):
                raise UserError(f"structure {index}: the model returned NaN or infinity")
        return labelled


def _device(name: str) -> str:
    if name == "cpu":
        return name
    from distill.models.mace.adapter import pick_device

    try:
        return pick_device(name)
    except UserError:
        raise UserError(
            "sampling.labels.device: 'cuda' was asked for but torch finds no CUDA device; use "
            "'auto' or 'cpu'"
        ) from None


def _is_one_mace(calculator: Any) -> bool:
    """Whether a calculator is one MACE with one head, which takes many structures at once."""
    models = getattr(calculator, "models", None)
    if type(calculator).__name__ != "MACECalculator" or models is None or len(models) != 1:
        return False
    return len(getattr(models[0], "heads", [None])) == 1


def label_units(
    structures: Sequence[Atoms],
    *,
    model: ModelSpec,
    folder: Path,
    name: str,
    options: LabelConfig,
) -> list[LabelUnit]:
    """Structures in shards of 40, in their order, to be labelled with a model.

    Parameters
    ----------
    structures
        What to label; not changed, their own labels are replaced.
    model
        What `distill.models.calculators.load_calculator` takes.
    folder, name
        The shards are kept as `folder/NAME_FIRST.xyz`.
    options
        Batches and device of a MACE model.
    """
    return [
        LabelUnit(
            folder,
            f"{name}_{first:06d}",
            model=model,
            structures=tuple(structures[first : first + _SHARD]),
            first=first,
            options=options,
        )
        for first in range(0, len(structures), _SHARD)
    ]
