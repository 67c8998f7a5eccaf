"""The data stage: reference labels, checked, split, and written where the later stages look."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.artifacts import write_json
from distill.config import DataConfig
from distill.errors import UserError
from distill.progress import say
from distill.structures import (
    config_type,
    geometry_key,
    read_structures,
    reference_energy,
    reference_forces,
    write_structures,
)

if TYPE_CHECKING:
    from ase import Atoms


def run(config: DataConfig, *, out: Path, seed: int) -> None:
    """Write `train.xyz`, `test.xyz` and `data.json` (counts and ranges) into `out`.

    Raises
    ------
    UserError
        If a file is unusable, or a structure of the test set is also in the training set.
    """
    train = _read(config, config.train)
    if config.test:
        test = _read(config, config.test)
    else:
        from distill.teacher.splits import hold_out

        kept, held = hold_out([config_type(atoms) for atoms in train], config.test_fraction, seed)
        train, test = [train[i] for i in kept], [train[i] for i in held]
    _refuse_overlap(train, test)
    write_structures(out / "train.xyz", train)
    write_structures(out / "test.xyz", test)
    summary = {"train": summarise(train), "test": summarise(test)}
    write_json(out / "data.json", summary)
    for name, part in summary.items():
        say(
            f"{name}: {part['structures']} structures of {part['atoms'][0]}-{part['atoms'][1]} "
            f"atoms, {', '.join(part['elements'])}; largest force {part['largest_force']:.3g} eV/Å"
        )


def summarise(structures: list[Atoms]) -> dict[str, Any]:
    """Counts and ranges of a set: what a user wants to see before training on it."""
    sizes = [len(atoms) for atoms in structures]
    energies = [
        energy / len(atoms)
        for atoms in structures
        if (energy := reference_energy(atoms)) is not None
    ]
    forces = [f for atoms in structures if (f := reference_forces(atoms)) is not None]
    return {
        "structures": len(structures),
        "atoms": [min(sizes), max(sizes)],
        "elements": sorted({s for atoms in structures for s in atoms.get_chemical_symbols()}),
        "config_types": dict(sorted(Counter(map(config_type, structures)).items())),
        "energy_per_atom": [min(energies), max(energies)] if energies else None,
        "largest_force": max((float(np.abs(f).max()) for f in forces), default=0.0),
    }


def _read(config: DataConfig, name: str) -> list[Atoms]:
    return read_structures(
        name,
        energy_key=config.energy_key,
        forces_key=config.forces_key,
        stress_key=config.stress_key,
        max_force=config.max_force,
        min_distance=config.min_distance,
    )


def _refuse_overlap(train: list[Atoms], test: list[Atoms]) -> None:
    seen = {geometry_key(atoms): index for index, atoms in enumerate(train)}
    for index, atoms in enumerate(test):
        same = seen.get(geometry_key(atoms))
        if same is not None:
            raise UserError(
                f"structure {index} of the test set is structure {same} of the "
                "training set: errors on it would mean nothing; remove it from one of them"
            )
