"""The strategies that train: fine-tuning, low-rank adaptation, replay, from scratch, delta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.progress import say
from distill.data.reference_energies import ReferenceEnergies
from distill.models.base import StructureError
from distill.models.mace import adapter
from distill.models.mace.family import Mace
from distill.models.mace.fine_tuning import fit_weights, of_elements, split
from distill.models.mace.freezing import Freezing
from distill.models.mace.lora import add_low_rank, merge_low_rank
from distill.models.mace.rebuild import (
    NEW_HEAD,
    REPLAY_HEAD,
    fresh_model,
    new_model,
    select_head,
    shift_interaction,
    silence_readouts,
    with_replay_head,
)
from distill.models.mace.training import Place, Training
from distill.models.teacher_model import DeltaRecord, LoraRecord, Origin
from distill.teacher.config import TeacherConfig
from distill.teacher.replay import Replay
from distill.teacher.starting_model import Start, combined_labels, starting_energies

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_NEW_WEIGHTS = 4


@dataclass(frozen=True)
class Fitted:
    """A model that was trained, or taken as it is, and how.

    Attributes
    ----------
    model
        Single-head MACE; its atomic reference energies are still to be set.
    e0
        Those that belong to it.
    plan, training
        What trained, and how it went; None for a model taken as it is.
    held
        Indices of the structures that were kept for validation.
    extra
        Further entries of the `TeacherRecord`.
    """

    model: torch.nn.Module
    e0: ReferenceEnergies
    plan: Freezing | None = None
    training: Training | None = None
    held: Sequence[int] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def finetune(
    config: TeacherConfig,
    place: Place,
    start: Start,
    e0: ReferenceEnergies,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    replay: Replay | None,
) -> Fitted:
    """Fine-tune a foundation model: frozen layers, low-rank adaptation, replay, as configured.

    Parameters
    ----------
    config
        The `teacher` section.
    place
        Checkpoint, seed and device.
    start
        The foundation model, cut to the data's elements; it is changed.
    e0
        Atomic reference energies of the data.
    structures, isolated
        Labelled structures, of which some are held out for validation, and single atoms.
    replay
        Pre-training structures, or None.

    Raises
    ------
    UserError
        If the strategy freezes everything, a pattern matches nothing, or training diverges.
    """
    model, own_e0 = start.module, adapter.facts(start.module).e0
    parts = split(structures, config, place.seed)
    two_heads = replay is not None and config.replay is not None and config.replay.multihead
    if two_heads:
        model = with_replay_head(model, structures[0])
    learnable = None
    if config.lora is not None:
        learnable = add_low_rank(
            model, rank=config.lora.rank, alpha=config.lora.alpha, seed=_weights_seed(place.seed)
        )
    say(e0.summary())
    if note := e0.explanation():
        say(note)
    extra: list[Any] = []
    if replay is not None:
        assert config.replay is not None
        extra = adapter.make_data(
            replay.structures,
            model,
            own_e0,
            head=REPLAY_HEAD if two_heads else None,
            weight=config.replay.weight,
        )
    plan, training = fit_weights(
        model,
        structures,
        parts,
        e0.values,
        config,
        place,
        freeze=config.freeze,
        learnable=learnable,
        head=NEW_HEAD if two_heads else None,
        isolated=of_elements(isolated, adapter.facts(model).elements),
        extra=extra,
    )
    if config.lora is not None:
        merge_low_rank(model)
    if two_heads:
        model = select_head(model, NEW_HEAD)
    lora = LoraRecord(rank=config.lora.rank, alpha=config.lora.alpha) if config.lora else None
    about = {"lora": lora, "replay": replay.record if replay else None}
    return Fitted(model, e0, plan, training, parts.held, about)


def from_scratch(
    config: TeacherConfig,
    place: Place,
    start: Start,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    elements: Sequence[str],
) -> Fitted:
    """Train new weights in the foundation model's architecture, or in the one configured.

    Parameters
    ----------
    config
        The `teacher` section.
    place
        Checkpoint, seed and device.
    start
        The foundation model in the precision of choice; it may lack elements.
    structures, isolated
        Labelled structures and single atoms.
    elements
        Chemical symbols of the new model.

    Raises
    ------
    UserError
        If the architecture is not possible, or training diverges.
    """
    info = adapter.facts(start.module)
    parts = split(structures, config, place.seed)
    train_set = [structures[i] for i in parts.kept]
    seed = _weights_seed(place.seed)
    if config.architecture is None:
        model = fresh_model(start.module, train_set, elements, seed)
    else:
        model = new_model(config.architecture, train_set, elements, dtype=info.dtype, seed=seed)
        adapter.set_e0(model, {symbol: info.e0.get(symbol, 0.0) for symbol in elements})
    scratch = Start("scratch", "", Mace(model, place.device, config.batch_size))
    e0 = starting_energies(config, scratch, structures, isolated)
    say(e0.summary())
    # Free atoms fix the atomic reference energies, and the mean of what binds the atoms is left.
    shift_interaction(model, e0.offset)
    plan, training = fit_weights(
        model,
        structures,
        parts,
        e0.values,
        config,
        place,
        freeze="f0",
        isolated=of_elements(isolated, elements),
    )
    about = {"architecture": config.architecture}
    return Fitted(model, e0, plan, training, parts.held, about)


def delta(
    config: TeacherConfig,
    place: Place,
    start: Start,
    e0: ReferenceEnergies,
    structures: Sequence[Atoms],
    base: Sequence[Atoms],
    isolated: Sequence[Atoms],
    elements: Sequence[str],
) -> Fitted:
    """Train a small MACE on what a frozen base model is off.

    Parameters
    ----------
    config
        The `teacher` section.
    place
        Checkpoint, seed and device.
    start
        The base model; it is not changed.
    e0
        Atomic reference energies of the data; their shifts go to the small model.
    structures, base
        The same structures, with the data's labels and with those of the base model.
    isolated
        Labelled single atoms.
    elements
        Chemical symbols of the small model.

    Raises
    ------
    UserError
        If the architecture is not possible, or training diverges.
    """
    apart = combined_labels(structures, base, sign=-1)
    parts = split(apart, config, place.seed)
    model = new_model(
        config.delta.architecture,
        [apart[i] for i in parts.kept],
        elements,
        dtype=config.dtype,
        seed=_weights_seed(place.seed),
    )
    silence_readouts(model)
    shifts = {symbol: e0.shifts.get(symbol, 0.0) for symbol in elements}
    say(e0.summary())
    plan, training = fit_weights(
        model,
        apart,
        parts,
        shifts,
        config,
        place,
        freeze="f0",
        isolated=of_elements(_apart(isolated, start), elements),
    )
    adapter.set_e0(model, shifts)
    own = adapter.facts(start.module) if start.is_foundation else None
    base_model = Origin(
        name=start.name,
        sha256=start.sha256,
        r_max=own.r_max if own else None,
        interactions=own.interactions if own else None,
    )
    about = {"delta": DeltaRecord(base=base_model, architecture=config.delta.architecture)}
    return Fitted(model, e0, plan, training, parts.held, about)


def _apart(isolated: Sequence[Atoms], start: Start) -> list[Atoms]:
    """Single atoms with what a base model is off; those that it has an answer for."""
    found = []
    for atoms in isolated:
        try:
            found += combined_labels([atoms], start.predict([atoms]), sign=-1)
        except StructureError:
            continue
    return found


def _weights_seed(seed: int) -> int:
    return int(np.random.SeedSequence([seed, _NEW_WEIGHTS]).generate_state(1)[0])
