"""Training of a MACE on labelled structures: what is held out, what learns, from which E0."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint
from distill.core.progress import say
from distill.data.isolated_atoms import isolated_energies, without_isolated
from distill.data.reference_energies import (
    ReferenceEnergies,
    composition_matrix,
    reference_energies,
)
from distill.data.splits import hold_out_trajectories, sources_of
from distill.data.structures import (
    config_type,
    elements_of,
    reference_energy,
    reference_forces,
    reference_stress,
)
from distill.models.base import Job, StructureError
from distill.models.mace import adapter
from distill.models.mace.config import MaceConfig
from distill.models.mace.foundation_store import find_foundation
from distill.models.mace.freezing import Freezing, freezing
from distill.models.mace.rebuild import restrict_elements, select_head
from distill.models.mace.step_cost import step_cost
from distill.models.mace.torch_tools import deterministic, pick_device, precision, threads
from distill.models.mace.training import Place, Training, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from ase import Atoms

_CHECKPOINT = "checkpoint.pt"
# Share of the graphs that are isolated atoms, where there are any.
_ISOLATED_SHARE = 0.05


@dataclass(frozen=True)
class Split:
    """Indices of the structures that train, and of those that validate."""

    kept: list[int]
    held: list[int]


def split(structures: Sequence[Atoms], config: MaceConfig, seed: int) -> Split:
    """Hold out the validation set, by config type and whole trajectories.

    Raises
    ------
    UserError
        If there are too few structures, or stresses are to be learnt and none is labelled.
    """
    types = [config_type(atoms) for atoms in structures]
    kept, held = hold_out_trajectories(
        types, sources_of(structures), config.validation_fraction, seed
    )
    if config.learns_stress and all(reference_stress(structures[i]) is None for i in kept):
        raise UserError(
            "teacher.stress_weight is above zero but no training structure has a stress "
            "(key REF_stress, or data.stress_key); set it to 0, or label stresses"
        )
    return Split(kept, held)


def fit_weights(
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    parts: Split,
    e0: Mapping[str, float],
    config: MaceConfig,
    place: Place,
    *,
    freeze: str | Sequence[str],
    learnable: Sequence[str] | None = None,
    head: str | None = None,
    isolated: Sequence[Atoms] = (),
    extra: Sequence[Any] = (),
) -> tuple[Freezing, Training]:
    """Train a model's weights in place; its own atomic reference energies are zero afterwards.

    Parameters
    ----------
    model
        The model.
    structures, parts
        Labelled structures, and which of them train and validate.
    e0
        Atomic reference energies of the labels, eV by symbol.
    config
        How it is trained.
    place
        Checkpoint, seed and device.
    freeze, learnable
        What stays as it is, and the only parameters that may learn; see `freezing`.
    head
        Head of the model that the structures belong to; its first if None.
    isolated
        Labelled single atoms of the same head. Atomic reference energies alone do not keep a free
        atom's energy, because the readouts add to it, so each trains in as many copies as make them
        a share of 5 %.
    extra
        Further graphs that train, of any head.

    Raises
    ------
    UserError
        If a pattern matches nothing, everything is frozen, a batch needs more memory than there is,
        or training diverges.
    """
    sizes = adapter.parameter_sizes(model)
    plan = freezing(sizes, freeze, config.lr_factors, learnable=learnable)
    say(plan.summary())
    say("parameters that train: " + ", ".join(plan.trainable))
    train_data, valid_data = (
        adapter.make_data([structures[i] for i in chosen], model, e0, head=head)
        for chosen in (parts.kept, parts.held)
    )
    copies = max(round(_ISOLATED_SHARE * len(parts.kept) / max(len(isolated), 1)), 1)
    train_data += copies * adapter.make_data(isolated, model, e0, head=head)
    # The labels are relative to the atomic reference energies, so the model's own are zero here.
    adapter.set_e0(model, dict.fromkeys(adapter.facts(model).elements, 0.0))
    model = model.to(place.device)
    train_data += extra
    if not place.checkpoint.exists():
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in plan.lr_factors)
        cost = step_cost(model, config, place.device, train_data, valid_data)
        say(cost.text(config.epochs))
    training = train(model, plan, config, place, train_data=train_data, valid_data=valid_data)
    return plan, training


def of_elements(isolated: Sequence[Atoms], elements: Collection[str]) -> list[Atoms]:
    """The labelled single atoms among some that are of given elements."""
    return [a for a in isolated if a.symbols[0] in elements and reference_energy(a) is not None]


def fine_tuned(frames: Sequence[Atoms], config: MaceConfig, job: Job) -> torch.nn.Module:
    """A foundation model fine-tuned on structures.

    Parameters
    ----------
    frames
        With REF_ labels. Isolated atoms only fix atomic reference energies.
    config
        Foundation model, what stays frozen, and how the rest is trained.
    job
        Folder of the checkpoint, and seed.

    Raises
    ------
    UserError
        If a label is missing, the foundation model lacks an element, or training diverges.
    """
    device = pick_device(config.device)
    foundation = find_foundation(config.foundation)
    structures, isolated = without_isolated(frames, "the training set")
    for index, atoms in enumerate(frames):
        if reference_energy(atoms) is None or reference_forces(atoms) is None:
            raise StructureError(index, "no energy and forces to learn from (REF_ keys)")
    with threads(config.threads), precision(config.dtype), deterministic():
        import torch

        model = select_head(adapter.load_model(foundation), config.head)
        model = model.to(getattr(torch, config.dtype))
        elements = elements_of(structures)
        # What the model does not know is named here, before anything is cut.
        e0 = _starting_energies(model, structures, isolated, config)
        if not config.keep_elements and elements != adapter.facts(model).elements:
            model = restrict_elements(model, elements, structures[0])
        say(e0.summary())
        settings = {
            "config": config.model_dump(mode="json", exclude={"foundation", "threads", "device"}),
            "foundation": foundation.sha256,
            "frames": list(frames),
        }
        place = Place(job.folder / _CHECKPOINT, fingerprint(settings), job.seed, device)
        parts = split(structures, config, job.seed)
        fit_weights(
            model,
            structures,
            parts,
            e0.values,
            config,
            place,
            freeze=config.freeze,
            isolated=of_elements(isolated, e0.values),
        )
        adapter.set_e0(model, e0.values)
    place.checkpoint.unlink(missing_ok=True)
    return model


def _starting_energies(
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    config: MaceConfig,
) -> ReferenceEnergies:
    """Atomic reference energies that put a foundation model on the energy scale of the data."""

    def energies_of(some: Sequence[Atoms]) -> np.ndarray:
        return adapter.predictions(model, some, batch_size=config.batch_size).energies

    one_body = adapter.facts(model).e0
    elements = elements_of(structures)
    reference = np.array([reference_energy(atoms) for atoms in structures], dtype=float)
    free = isolated_energies(isolated)
    symbols = [atoms.get_chemical_symbols()[0] for atoms in isolated]
    free_by_model = dict(zip(symbols, energies_of(isolated), strict=True))
    found = reference_energies(
        config.e0,
        elements=elements,
        foundation=one_body,
        counts=composition_matrix([a.get_chemical_symbols() for a in structures], elements),
        differences=reference - energies_of(structures),
        isolated={symbol: energy - free_by_model[symbol] for symbol, energy in free.items()},
    )
    return found.with_others(one_body)
