"""Pre-training structures that are replayed while a foundation model is fine-tuned.

They hold the model to what it knew: in a head of their own (multihead replay), or mixed with the
new data in one head, as in the study of Li diffusion in LiF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distill.core.artifacts import sha256
from distill.core.errors import UserError
from distill.core.input_files import resolve_file
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.structures import elements_of, read_structures, reference_energy, reference_forces
from distill.metrics.selection import select
from distill.models.teacher_model import ReplayRecord
from distill.systems.rattled import rattled
from distill.teacher.config import ReplayConfig
from distill.teacher.starting_model import Start

if TYPE_CHECKING:
    from ase import Atoms

REPLAY = 5
CONFIG_TYPE = "replay"
# Displacements and strains of structures made from the training set, as for small cells at 600 K.
_AMPLITUDE, _STRAIN = 0.1, 0.04
_CANDIDATES = 4
_CLOSEST = 0.5
# Labels of a file may differ from the foundation's by its own error, not by another energy scale.
_OTHER_REFERENCE = 0.2


@dataclass(frozen=True)
class Replay:
    """Structures to replay, labelled on the foundation model's energy scale.

    Attributes
    ----------
    structures
        With REF_ labels.
    record
        Where they came from, for `teacher.json`.
    """

    structures: list[Atoms]
    record: ReplayRecord


def choose_replay(
    config: ReplayConfig,
    start: Start,
    training: Sequence[Atoms],
    *,
    seed: int,
) -> Replay:
    """Pre-training structures, chosen and labelled.

    Parameters
    ----------
    config
        File, number, choice and labels.
    start
        The foundation model, which may have been cut down to the data's elements.
    training
        Training structures: what structures are made from where no file is given.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If the file is unusable, no structure is left that the model's elements can describe, there
        are too few, or its labels sit on another energy reference than the foundation model.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, REPLAY]))
    if config.structures is None:
        times = _CANDIDATES if config.choose == "fps" else 1
        candidates, origin = _made_from(training, times * config.count, rng), "training structures"
        left_out = 0
    else:
        candidates, left_out = _from_file(config, start)
        origin = config.structures
    if len(candidates) < config.count:
        raise UserError(
            f"teacher.replay.count is {config.count}, but {origin} gives only {len(candidates)} "
            "usable structures; lower it, or give more"
        )
    if config.choose == "random":
        chosen = np.sort(rng.choice(len(candidates), size=config.count, replace=False))
    else:
        chosen = select(start.model.descriptors(candidates), "fps", config.count, seed)
    structures = [candidates[i] for i in chosen]
    predicted = start.predict(structures)
    if config.labels == "foundation":
        structures = predicted
    else:
        _check_reference(structures, predicted, config)
    for atoms in structures:
        atoms.info[CONFIG_TYPE_KEY] = CONFIG_TYPE
    say(
        f"replay: {len(structures)} structures from {origin}, labels of the {config.labels}, "
        f"{'in a head of their own' if config.multihead else 'in the same head'}"
    )
    return Replay(
        structures,
        ReplayRecord(
            structures=len(structures),
            origin=origin,
            sha256=sha256(resolve_file(config.structures)) if config.structures else None,
            labels=config.labels,
            choose=config.choose,
            indices=chosen.tolist(),
            left_out_for_elements=left_out,
            weight=config.weight,
            multihead=config.multihead,
        ),
    )


def _from_file(config: ReplayConfig, start: Start) -> tuple[list[Atoms], int]:
    """Structures of a file that hold only elements of the model, and how many hold others."""
    assert config.structures is not None
    require = ("energy", "forces") if config.labels == "file" else ()
    found = read_structures(config.structures, require=require, min_distance=_CLOSEST)
    known = set(start.model.elements or ())
    usable = [atoms for atoms in found if known.issuperset(atoms.get_chemical_symbols())]
    left_out = len(found) - len(usable)
    if left_out:
        others = sorted(symbol for symbol in elements_of(found) if symbol not in known)
        message = (
            f"{left_out} of {len(found)} structures in {config.structures} hold elements that the "
            f"model being fine-tuned does not keep ({', '.join(others)}; it has "
            f"{', '.join(sorted(known))})"
        )
        if not usable:
            raise UserError(
                f"teacher.replay.structures: all {message}; give structures of the data's "
                "elements, or set teacher.keep_elements to true if the foundation model knows them"
            )
        say(f"replay: {message} and are left out")
    return usable, left_out


def _made_from(training: Sequence[Atoms], count: int, rng: np.random.Generator) -> list[Atoms]:
    """Strained and rattled copies of structures drawn at random, without close atoms."""
    from ase.neighborlist import neighbor_list

    made: list[Atoms] = []
    for _ in range(20 * count):
        original = training[int(rng.integers(len(training)))]
        copy = rattled(original, rng, amplitude=_AMPLITUDE, strain=_STRAIN)
        if len(neighbor_list("i", copy, _CLOSEST)) == 0:
            made.append(copy)
        if len(made) == count:
            break
    return made


def _check_reference(
    structures: Sequence[Atoms], predicted: Sequence[Atoms], config: ReplayConfig
) -> None:
    """Refuse labels of a file on another energy scale: they would pull the shared layers away."""
    symbols = [atoms.get_chemical_symbols() for atoms in structures]
    counts = composition_matrix(symbols, elements_of(structures))
    pairs = zip(structures, predicted, strict=True)
    apart = np.array([_energy(one) - _energy(other) for one, other in pairs])
    sizes = counts.sum(axis=1)
    shifts, _ = least_squares_shifts(counts, apart)
    before = np.sqrt(np.mean((apart / sizes) ** 2))
    after = np.sqrt(np.mean(((apart - counts @ shifts) / sizes) ** 2))
    if before > max(_OTHER_REFERENCE, 3 * after):
        raise UserError(
            f"teacher.replay: the energies in {config.structures} sit on another reference than "
            f"the foundation model's ({before:.2f} eV/atom apart, {after:.2f} after the best "
            "atomic energies), so they are not its pre-training data; use 'labels: foundation'"
        )


def _energy(atoms: Atoms) -> float:
    energy = reference_energy(atoms)
    assert energy is not None and reference_forces(atoms) is not None
    return energy
