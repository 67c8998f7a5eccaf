"""The one loop that labels structures with a model, and its units of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ase import Atoms

from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint, model_identity
from distill.core.progress import progress
from distill.core.quantities import STRESS_KEY
from distill.core.work import KEPT_NAME, Unit, record_of
from distill.data.structures import (
    read_structures,
    set_labels,
    without_labels,
    write_structures,
)
from distill.models.base import StructureError
from distill.models.cached_calculators import cached_model
from distill.models.calculators import ModelSpec, load_model
from distill.models.config import LabelConfig
from distill.models.foreign_calculators import checked_answer

_SHARD = 40


def label_structures(
    structures: Sequence[Atoms],
    model: ModelSpec,
    *,
    stress: bool | Sequence[bool] = False,
    first: int = 0,
    label: str | None = "labels",
) -> list[Atoms]:
    """Copies of structures carrying a model's energy, forces and, if asked, stress.

    Parameters
    ----------
    structures
        What to label; not changed. Labels that they have are not looked at.
    model
        What `distill.models.calculators.load_model` takes.
    stress
        Whether to label the stress (eV/Å³, Voigt) too, of all structures or of each; where a cell
        has no volume, or the model has no stresses, there is none.
    first
        Index of the first structure, for messages.
    label
        Shown with the progress; None shows nothing.

    Raises
    ------
    UserError
        If the model lacks an element, fails, or gives no usable answer; the message names the
        structure's index.
    """
    family = load_model(model)
    wanted = [stress] * len(structures) if isinstance(stress, bool) else list(stress)
    bare = [without_labels(atoms) for atoms in structures]
    _check_elements(bare, family.elements, first)
    steps = [
        (asked, chosen)
        for asked in (False, True)
        for chosen in _batches([i for i, w in enumerate(wanted) if w == asked], family.batch_size)
    ]
    shown: Iterable[tuple[bool, list[int]]] = steps
    if label is not None:
        unit = "structures" if family.batch_size == 1 else "batches"
        shown = progress(steps, label, unit=unit)
    for asked, chosen in shown:
        try:
            found = family.predict([bare[i] for i in chosen], stress=asked)
        except StructureError as error:
            raise StructureError(first + chosen[error.index], error.problem) from None
        answers = zip(chosen, found.energies, found.forces, found.stresses, strict=True)
        for index, energy, forces, six in answers:
            atoms = bare[index]
            energy, forces, six = checked_answer(
                atoms, energy, forces, six, f"the {family.kind} model", first + index
            )
            set_labels(atoms, energy=energy, forces=forces, stress=six)
    return bare


def labelled_copy(atoms: Atoms, model: ModelSpec, *, index: int, stress: bool = False) -> Atoms:
    """One structure of `label_structures`; `index` names it in messages."""
    return label_structures([atoms], model, stress=stress, first=index, label=None)[0]


def carry_stress(structures: Sequence[Atoms]) -> list[bool]:
    """Which structures carry a stress label."""
    return [atoms.info.get(STRESS_KEY) is not None for atoms in structures]


@dataclass(frozen=True)
class LabelUnit(Unit):
    """Label some structures; those that carried a stress get one, if the model has stresses.

    Attributes
    ----------
    known
        Labelled copies of structures that the model labelled before, by their `structure_keys`.
    """

    model: ModelSpec
    structures: tuple[Atoms, ...]
    first: int
    options: LabelConfig
    known: Mapping[str, Atoms] = field(default_factory=dict)

    unkeyed = Unit.unkeyed | {"options", "first", "known"}

    @cached_property
    def structure_keys(self) -> list[str]:
        """What the labels of each structure depend on."""
        model = model_identity(self.model)
        wanted = carry_stress(self.structures)
        return [
            fingerprint([model, without_labels(atoms), stress])
            for atoms, stress in zip(self.structures, wanted, strict=True)
        ]

    def files(self) -> list[Path]:
        """The labelled structures."""
        return [self.folder / f"{self.name}.xyz"]

    def labelled(self) -> list[Atoms]:
        """The structures with their labels."""
        return read_structures(self.files()[0])

    def work(self) -> dict[str, Any]:
        """Label the structures that are not known, and write all.

        Raises
        ------
        UserError
            If the model lacks an element or fails on a structure, naming its index.
        """
        from distill.models.mace.torch_tools import pick_device

        keys = self.structure_keys
        labelled = [self.known.get(key) for key in keys]
        new = [index for index, found in enumerate(labelled) if found is None]
        if new:
            device = pick_device(self.options.device, "sampling.labels.device")
            model = cached_model(self.model, device=device).in_batches(self.options.batch_size)
            wanted = carry_stress(self.structures)
            try:
                made = label_structures(
                    [self.structures[index] for index in new],
                    model,
                    stress=[wanted[index] for index in new],
                    label=None,
                )
            except StructureError as error:
                raise StructureError(self.first + new[error.index], error.problem) from None
            for index, atoms in zip(new, made, strict=True):
                labelled[index] = atoms
        write_structures(self.files()[0], [atoms for atoms in labelled if atoms is not None])
        return {"structures": len(labelled), "keys": keys}


def label_units(
    structures: Sequence[Atoms],
    *,
    model: ModelSpec,
    folder: Path,
    name: str,
    options: LabelConfig,
) -> list[LabelUnit]:
    """Structures in shards of 40, in their order, to be labelled with a model.

    Those that the model labelled before, in whatever shard in the folder, are not labelled again.

    Parameters
    ----------
    structures
        What to label; not changed, their own labels are replaced.
    model
        What `distill.models.calculators.load_model` takes.
    folder, name
        The shards are kept as `folder/NAME_FIRST.xyz`.
    options
        Batches and device of a MACE model.
    """
    units = [
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
    waiting = {unit.name: unit.structure_keys for unit in units if not unit.finished}
    known = _known(folder, {key for keys in waiting.values() for key in keys})
    return [
        replace(unit, known={k: known[k] for k in waiting.get(unit.name, ()) if k in known})
        for unit in units
    ]


def _known(folder: Path, wanted: Set[str]) -> dict[str, Atoms]:
    """Labelled structures in a folder's shards, those of other settings too, by their keys."""
    found: dict[str, Atoms] = {}
    for record in [*folder.glob("*.json"), *folder.glob(f"{KEPT_NAME}/*/*.json")] if wanted else []:
        try:
            numbers = record_of(record.parent, record.stem)["numbers"]
            keys = numbers["keys"]
            if wanted & set(keys) - found.keys():
                labelled = read_structures(record.with_suffix(".xyz"))
                found |= dict(zip(keys, labelled, strict=True))
        except (UserError, KeyError, TypeError, ValueError):
            # No finished shard, or one that is no longer whole: it is made again.
            continue
    return found


def _batches(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[k : k + size]) for k in range(0, len(indices), size)]


def _check_elements(structures: Sequence[Atoms], known: frozenset[str] | None, first: int) -> None:
    if known is None:
        return
    for index, atoms in enumerate(structures, start=first):
        missing = sorted(set(atoms.get_chemical_symbols()) - known)
        if missing:
            raise StructureError(
                index,
                f"element {', '.join(missing)} is not in the model (it knows "
                f"{', '.join(sorted(known))})",
            )
