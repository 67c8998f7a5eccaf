"""What a teacher starts from: a foundation model, or any calculator that a delta model corrects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.core.artifacts import hash_of, sha256
from distill.core.errors import UserError
from distill.core.fingerprint import plain
from distill.core.input_files import resolve_file
from distill.core.progress import say
from distill.core.quantities import STRESS_KEY
from distill.data.isolated_atoms import isolated_energies
from distill.data.label_units import refuse_other_units
from distill.data.reference_energies import (
    ReferenceEnergies,
    composition_matrix,
    least_squares_shifts,
    reference_energies,
    refuse_mixed_references,
)
from distill.data.structures import (
    elements_of,
    reference_energy,
    reference_forces,
    reference_stress,
    set_labels,
)
from distill.models.base import Family, StructureError
from distill.models.cached_calculators import cached_model
from distill.models.config import CalculatorConfig
from distill.models.labelling import carry_stress, label_structures
from distill.models.mace.adapter import facts, load_model
from distill.models.mace.family import Mace
from distill.models.mace.foundation_store import find_foundation
from distill.models.mace.rebuild import select_head
from distill.teacher.config import TeacherConfig

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_FREE_BOX = 20.0


@dataclass(frozen=True)
class Start:
    """A model that makes the first prediction.

    Attributes
    ----------
    name, sha256
        Of the model file, or of the calculator's file or import path and arguments.
    model
        The model; where it can be fine-tuned, a `Mace` of one head.
    source
        What the calculator of a delta model was named by; None for a foundation model.
    """

    name: str
    sha256: str
    model: Family
    source: CalculatorConfig | None = None

    @property
    def is_foundation(self) -> bool:
        """Whether it is the foundation model, which a teacher may take over as its own."""
        return self.source is None

    @property
    def module(self) -> torch.nn.Module:
        """Its MACE module.

        Raises
        ------
        UserError
            If it is no MACE.
        """
        if isinstance(self.model, Mace):
            return self.model.single
        raise UserError(f"{self.name} is no MACE model, so it cannot be trained")

    def lacking(self, *sets: Sequence[Atoms]) -> tuple[str, ...]:
        """Chemical symbols of the structures that it is known not to know, by atomic number."""
        known = self.model.elements
        return () if known is None else tuple(e for e in elements_of(*sets) if e not in known)

    def predict(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Copies of structures with its labels; those with a stress label get a predicted one.

        Raises
        ------
        UserError
            If it lacks an element or fails; the message names the structure's index.
        """
        wanted = carry_stress(structures)
        return label_structures(structures, self.model, stress=wanted, label=None)


def open_start(config: TeacherConfig, device: str) -> Start:
    """The foundation model, or the calculator that a delta model corrects.

    Raises
    ------
    UserError
        If it cannot be found, downloaded or read.
    """
    if config.strategy == "delta" and config.delta.base is not None:
        return calculator_start(config.delta.base, config, device)
    return foundation_start(config, device)


def foundation_start(config: TeacherConfig, device: str) -> Start:
    """The foundation model with the head of choice, in its own precision.

    Raises
    ------
    UserError
        If it cannot be found, downloaded or read, or has no such head.
    """
    foundation = find_foundation(config.foundation)
    model = select_head(load_model(foundation), config.head)
    return Start(foundation.name, foundation.sha256, Mace(model, device, config.batch_size))


def calculator_start(source: CalculatorConfig, config: TeacherConfig, device: str) -> Start:
    """Any model by its file or import path.

    Raises
    ------
    UserError
        If it cannot be found or made.
    """
    model = cached_model(source, device=device).in_batches(config.batch_size)
    return Start(source.name, calculator_identity(source), model, source)


def calculator_identity(source: CalculatorConfig) -> str:
    """SHA-256 of a calculator's file, or of its import path and arguments or program."""
    path = Path(str(source.path))
    return sha256(path) if path.is_file() else hash_of(plain(source))


def settings_hash(config: TeacherConfig, start: Start, train: Path, seed: int) -> str:
    """Hash of all that the trained weights depend on."""
    replayed = config.replay.structures if config.replay else None
    return hash_of(
        {
            "config": plain(config.model_copy(update={"threads": None, "engine": "auto"})),
            "start": start.sha256,
            "train": sha256(train),
            "replay": sha256(resolve_file(replayed)) if replayed else None,
            "calculators": {
                role: calculator_identity(spec) for role, spec in config.calculators().items()
            },
            "seed": seed,
        }
    )


def starting_energies(
    config: TeacherConfig,
    start: Start,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    *,
    check: bool = False,
    predicted: Sequence[Atoms] | None = None,
) -> ReferenceEnergies:
    """Atomic reference energies that put a starting model on the energy scale of the data.

    Parameters
    ----------
    config
        `e0` says how.
    start
        The model.
    structures, isolated
        Labelled structures, and labelled single atoms.
    check
        Refuse labels in other units, and a set that mixes energy references.
    predicted
        The structures with the model's labels, where they are there already.

    Raises
    ------
    UserError
        If labels are in other units, the set mixes references, or a value that the method needs
        is missing.
    """
    if predicted is None:
        predicted = start.predict(structures)
    symbols = [atoms.get_chemical_symbols() for atoms in structures]
    present = elements_of(structures)
    counts = composition_matrix(symbols, present)
    differences = _differences(structures, predicted)
    if check:
        refuse_other_units(structures, predicted, present)
        refuse_mixed_references(counts, differences)
    one_body = _one_body(start, present, counts, predicted)
    free = isolated_energies(isolated)
    free_by_model, _ = free_atom_energies(start.model, tuple(free))
    found = reference_energies(
        config.e0,
        elements=present,
        foundation=one_body,
        counts=counts,
        differences=differences,
        isolated={
            symbol: energy - free_by_model.get(symbol, one_body[symbol])
            for symbol, energy in free.items()
            if symbol in one_body
        },
    )
    return found.with_others(one_body)


def _one_body(
    start: Start, elements: Sequence[str], counts: np.ndarray, predicted: Sequence[Atoms]
) -> dict[str, float]:
    """Energy of a free atom of each element, eV, as the model has it."""
    if start.is_foundation:
        return facts(start.module).e0
    found, problems = free_atom_energies(start.model, elements)
    if not problems:
        return found
    # Any scale will do for a model that has no answer for an atom without neighbours.
    element, problem = next(iter(problems.items()))
    say(
        f"{start.name} gives no energy of a free {element} atom ({problem}): its atomic reference "
        "energies are taken by least squares from its energies of the training set"
    )
    values, _ = least_squares_shifts(counts, _energies(predicted))
    return {e: float(v) for e, v in zip(elements, values, strict=True)}


def free_atom_energies(
    model: Family, elements: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Energy of an atom without neighbours, eV by symbol; and what is wrong where there is none."""
    from ase import Atoms

    found, problems = {}, {}
    for element in elements:
        free = Atoms(element, cell=[_FREE_BOX] * 3, positions=[[_FREE_BOX / 2] * 3])
        try:
            energy = reference_energy(label_structures([free], model, label=None)[0])
        except StructureError as error:
            problems[element] = error.problem
            continue
        assert energy is not None
        found[element] = energy
    return found, problems


def _differences(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> np.ndarray:
    return _energies(reference) - _energies(predicted)


def _energies(structures: Sequence[Atoms]) -> np.ndarray:
    found = [reference_energy(atoms) for atoms in structures]
    return np.array([energy for energy in found if energy is not None])


def combined_labels(one: Sequence[Atoms], other: Sequence[Atoms], *, sign: int) -> list[Atoms]:
    """Structures labelled with the sum (sign 1) or difference (-1) of two sets of labels.

    Parameters
    ----------
    one, other
        The same structures with the labels of two levels: energy [eV], forces [eV/Å], stress
        [eV/Å³]; a stress that only one of them has is left out.
    sign
        Of the second.
    """
    combined = []
    for first, second in zip(one, other, strict=True):
        energy, second_energy = reference_energy(first), reference_energy(second)
        forces, second_forces = reference_forces(first), reference_forces(second)
        stress, second_stress = reference_stress(first), reference_stress(second)
        assert energy is not None and second_energy is not None
        assert forces is not None and second_forces is not None
        copy = first.copy()
        copy.info.pop(STRESS_KEY, None)
        if stress is not None and second_stress is not None:
            set_labels(copy, stress=stress + sign * second_stress)
        combined.append(
            set_labels(
                copy, energy=energy + sign * second_energy, forces=forces + sign * second_forces
            )
        )
    return combined
