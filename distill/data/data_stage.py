"""The data stage: reference labels, checked, split, and written where the later stages look."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import write_json
from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.data.annotations import respect_annotations
from distill.data.config import DataConfig
from distill.data.duplicates import label_disagreement
from distill.data.isolated_atoms import (
    is_isolated_atom,
    isolated_energies,
    say_nearly_isolated,
    without_isolated,
)
from distill.data.label_checks import say_large_stresses, say_zero_forces
from distill.data.overlap import refuse_overlap, say_near_copies, train_with_copies
from distill.data.own_images import say_own_images
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.repeated_structures import repetitions
from distill.data.splits import hold_out_trajectories, sources_of
from distill.data.structures import (
    config_type,
    elements_of,
    read_structures,
    reference_energy,
    reference_forces,
    write_structures,
)

if TYPE_CHECKING:
    from ase import Atoms

# Energies per atom vary with structure; only gross mistakes stand out by so much.
_FEWEST, _FAR, _FAR_AT_LEAST = 10, 20.0, 5.0


def run(config: DataConfig, *, out: Path, seed: int) -> None:
    """Write `train.xyz`, `test.xyz` and `data.json` (counts and ranges) into `out`.

    Raises
    ------
    UserError
        If a file is unusable, a structure appears twice with different labels, or one of the test
        set is also in the training set.
    """
    given = _read(config, config.train)
    test = _test_set(config, config.test, given) if config.test else []
    # Refuses a set of nothing else.
    without_isolated(given, config.train)
    _refuse_free_atoms_that_differ(given, config.train)
    train, same = without_duplicates(given, "training")
    train, far = without_energy_outliers(train, config.max_energy_deviation)
    say_zero_forces(train, config.train)
    if not config.test:
        kept, held = _split(train, config.test_fraction, seed)
        names = {id(atoms): index for index, atoms in enumerate(given)}
        kept, held = train_with_copies(train, kept, held, [names[id(atoms)] for atoms in train])
        train, test = [train[i] for i in kept], [train[i] for i in held]
    say_near_copies(train, test)
    write_structures(out / "train.xyz", train)
    write_structures(out / "test.xyz", test)
    summary = {"train": summarise(train), "test": summarise(test)}
    left_out = {"duplicates": same, "energy_outliers": far}
    write_json(out / "data.json", {**summary, "left_out": left_out})
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
        "elements": elements_of(structures),
        "config_types": dict(sorted(Counter(map(config_type, structures)).items())),
        "energy_per_atom": [min(energies), max(energies)] if energies else None,
        "largest_force": max((float(np.abs(f).max()) for f in forces), default=0.0),
    }


def without_duplicates(structures: list[Atoms], name: str) -> tuple[list[Atoms], list[int]]:
    """A set with each structure once, and the indices of the repetitions.

    Raises
    ------
    UserError
        If a structure appears again with other labels: two levels of theory, or a mistake.
    """
    repeated = []
    for first, later, order in repetitions(structures):
        if is_isolated_atom(structures[first]):
            continue
        problem = label_disagreement(structures[first], structures[later][order])
        if problem:
            raise UserError(
                f"structures {first} and {later} of the {name} set are the same but {problem}: "
                "expected one level of theory; remove the wrong one"
            )
        repeated.append(later)
    if repeated:
        say(f"{name} set: left out {len(repeated)} repeated structures: {listed(repeated)}")
    dropped = set(repeated)
    return [a for i, a in enumerate(structures) if i not in dropped], repeated


def without_energy_outliers(
    structures: list[Atoms], limit: float | None
) -> tuple[list[Atoms], list[int]]:
    """A set without structures whose energy is far from the rest, and the indices left out.

    Far means further from the best fit of energies to compositions than `limit` (eV/atom). Without
    a limit nothing is left out; structures twenty robust standard deviations away, and at least
    5 eV/atom, are listed for the user to look at.

    Raises
    ------
    UserError
        If every structure is out.
    """
    labelled = [
        i
        for i, a in enumerate(structures)
        if reference_energy(a) is not None and not is_isolated_atom(a)
    ]
    if len(labelled) < _FEWEST:
        return structures, []
    chosen = [structures[i] for i in labelled]
    symbols = [atoms.get_chemical_symbols() for atoms in chosen]
    counts = composition_matrix(symbols, elements_of(chosen))
    energies = np.array([reference_energy(structures[i]) for i in labelled], dtype=float)
    shifts, _ = least_squares_shifts(counts, energies)
    apart = (energies - counts @ shifts) / counts.sum(axis=1)
    apart -= np.median(apart)
    spread = 1.4826 * float(np.median(np.abs(apart)))
    bound = limit if limit is not None else max(_FAR * spread, _FAR_AT_LEAST)
    far = [labelled[i] for i in np.flatnonzero(np.abs(apart) > bound)]
    if not far:
        return structures, []
    shown = listed([f"{labelled[i]} ({apart[i]:+.2f})" for i in np.flatnonzero(abs(apart) > bound)])
    if limit is None:
        say(
            f"{len(far)} structures have energies far from the rest, by index and eV/atom: "
            f"{shown}; look at them, or leave them out with data.max_energy_deviation"
        )
        return structures, []
    say(f"left out {len(far)} structures with energies {limit:g} eV/atom off: {shown}")
    dropped = set(far)
    if len(dropped) == len(labelled):
        raise UserError(
            f"data.max_energy_deviation {limit:g} eV/atom leaves no structure; raise it"
        )
    return [a for i, a in enumerate(structures) if i not in dropped], far


def _read(config: DataConfig, name: str) -> list[Atoms]:
    structures = read_structures(
        name,
        require=() if config.unlabelled else ("energy", "forces"),
        energy_key=config.energy_key,
        forces_key=config.forces_key,
        stress_key=config.stress_key,
        virial_key=config.virial_key,
        max_force=config.max_force,
        min_distance=config.min_distance,
    )
    respect_annotations(structures, name)
    say_own_images(structures, name)
    say_nearly_isolated(structures, name)
    say_large_stresses(structures, name)
    return structures


def _test_set(config: DataConfig, name: str, train: list[Atoms]) -> list[Atoms]:
    """Structures of a test file with an interaction: errors on isolated atoms would mean none."""
    given = _read(config, name)
    refuse_overlap(train, given)
    test, alone = without_isolated(given, Path(name))
    if alone:
        say(f"{name}: left out {len(alone)} isolated atoms, which test nothing but E0")
    say_zero_forces(test, name)
    return test


def _split(structures: list[Atoms], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices that train and that test: isolated atoms train, one trajectory is in one part."""
    alone = [i for i, atoms in enumerate(structures) if is_isolated_atom(atoms)]
    others = [i for i in range(len(structures)) if i not in set(alone)]
    chosen = [structures[i] for i in others]
    types = [config_type(atoms) for atoms in chosen]
    kept, held = hold_out_trajectories(types, sources_of(chosen), fraction, seed)
    return sorted([*alone, *(others[i] for i in kept)]), [others[i] for i in held]


def _refuse_free_atoms_that_differ(structures: list[Atoms], name: str) -> None:
    alone = [i for i, atoms in enumerate(structures) if is_isolated_atom(atoms)]
    try:
        isolated_energies([structures[i] for i in alone])
    except UserError as error:
        raise UserError(f"{name}, among structures {listed(alone)}: {error}") from None
