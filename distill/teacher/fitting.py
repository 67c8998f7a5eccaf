"""The strategies that train: fine-tuning, low-rank adaptation, replay, from scratch, delta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import say
from distill.data.reference_energies import ReferenceEnergies
from distill.data.splits import hold_out
from distill.data.structures import config_type, reference_stress
from distill.models.mace.family import Mace
from distill.models.mace.freezing import Freezing, freezing
from distill.teacher.config import TeacherConfig
from distill.teacher.replay import Replay
from distill.teacher.starting_model import Start, combined_labels, starting_energies

if TYPE_CHECKING:
    import torch
    from ase import Atoms

    from distill.teacher.training import Training

_NEW_WEIGHTS = 4


@dataclass(frozen=True)
class Job:
    """What every strategy needs beside its structures.

    Attributes
    ----------
    config
        The `teacher` section.
    checkpoint
        File that training continues from and keeps up to date.
    settings
        Hash of everything that the result depends on.
    seed
        The run's seed.
    device
        Torch device.
    """

    config: TeacherConfig
    checkpoint: Path
    settings: str
    seed: int
    device: str


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
        Further entries of `teacher.json`.
    """

    model: torch.nn.Module
    e0: ReferenceEnergies
    plan: Freezing | None = None
    training: Training | None = None
    held: Sequence[int] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def finetune(
    job: Job,
    start: Start,
    e0: ReferenceEnergies,
    structures: Sequence[Atoms],
    replay: Replay | None,
) -> Fitted:
    """Fine-tune a foundation model: frozen layers, low-rank adaptation, replay, as configured.

    Parameters
    ----------
    job
        Settings.
    start
        The foundation model, cut to the data's elements; it is changed.
    e0
        Atomic reference energies of the data.
    structures
        Labelled structures; some are held out for validation.
    replay
        Pre-training structures, or None.

    Raises
    ------
    UserError
        If the strategy freezes everything, a pattern matches nothing, or training diverges.
    """
    from distill.models.mace import adapter as adapter
    from distill.models.mace.lora import add_low_rank, merge_low_rank
    from distill.models.mace.rebuild import NEW_HEAD, REPLAY_HEAD, select_head, with_replay_head

    config = job.config
    model, own_e0 = start.module, adapter.facts(start.module).e0
    kept, held = _split(job, structures)
    two_heads = replay is not None and config.replay is not None and config.replay.multihead
    head = NEW_HEAD if two_heads else None
    if two_heads:
        model = with_replay_head(model, structures[0])
    learnable = None
    if config.lora is not None:
        learnable = add_low_rank(
            model, rank=config.lora.rank, alpha=config.lora.alpha, seed=_weights_seed(job.seed)
        )
    plan = _plan(config, model, config.freeze, learnable)
    say(e0.summary())
    if note := e0.explanation():
        say(note)
    train_data = adapter.make_data([structures[i] for i in kept], model, e0.values, head=head)
    valid_data = adapter.make_data([structures[i] for i in held], model, e0.values, head=head)
    if replay is not None:
        assert config.replay is not None
        train_data += adapter.make_data(
            replay.structures,
            model,
            own_e0,
            head=REPLAY_HEAD if two_heads else None,
            weight=config.replay.weight,
        )
    training = _train(job, model, plan, train_data, valid_data)
    if config.lora is not None:
        merge_low_rank(model)
    if two_heads:
        model = select_head(model, NEW_HEAD)
    extra: dict[str, Any] = {}
    if config.lora is not None:
        extra["lora"] = config.lora.model_dump()
    if replay is not None:
        extra["replay"] = replay.description
    return Fitted(model, e0, plan, training, held, extra)


def from_scratch(
    job: Job,
    start: Start,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    elements: Sequence[str],
) -> Fitted:
    """Train new weights in the foundation model's architecture, or in the one configured.

    Parameters
    ----------
    job
        Settings.
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
    from distill.models.mace import adapter as adapter
    from distill.models.mace.rebuild import fresh_model, new_model

    info = adapter.facts(start.module)
    kept, held = _split(job, structures)
    train_set = [structures[i] for i in kept]
    seed = _weights_seed(job.seed)
    if job.config.architecture is None:
        model = fresh_model(start.module, train_set, elements, seed)
    else:
        model = new_model(job.config.architecture, train_set, elements, dtype=info.dtype, seed=seed)
        adapter.set_e0(model, {symbol: info.e0.get(symbol, 0.0) for symbol in elements})
    scratch = Start("scratch", "", Mace(model, job.device, job.config.batch_size))
    e0 = starting_energies(job.config, scratch, structures, isolated)
    plan = _plan(job.config, model, "f0", None)
    say(e0.summary())
    train_data = adapter.make_data(train_set, model, e0.values)
    valid_data = adapter.make_data([structures[i] for i in held], model, e0.values)
    training = _train(job, model, plan, train_data, valid_data)
    architecture = job.config.architecture
    extra = {"architecture": architecture.model_dump()} if architecture else {}
    return Fitted(model, e0, plan, training, held, extra)


def delta(
    job: Job,
    start: Start,
    e0: ReferenceEnergies,
    structures: Sequence[Atoms],
    base: Sequence[Atoms],
    elements: Sequence[str],
) -> Fitted:
    """Train a small MACE on what a frozen base model is off.

    Parameters
    ----------
    job
        Settings.
    start
        The base model; it is not changed.
    e0
        Atomic reference energies of the data; their shifts go to the small model.
    structures, base
        The same structures, with the data's labels and with those of the base model.
    elements
        Chemical symbols of the small model.

    Raises
    ------
    UserError
        If the architecture is not possible, or training diverges.
    """
    from distill.models.mace import adapter as adapter
    from distill.models.mace.rebuild import new_model, silence_readouts

    config = job.config
    apart = combined_labels(structures, base, sign=-1)
    kept, held = _split(job, apart)
    train_set = [apart[i] for i in kept]
    model = new_model(
        config.delta.architecture,
        train_set,
        elements,
        dtype=config.dtype,
        seed=_weights_seed(job.seed),
    )
    silence_readouts(model)
    shifts = {symbol: e0.shifts.get(symbol, 0.0) for symbol in elements}
    plan = _plan(config, model, "f0", None)
    say(e0.summary())
    train_data = adapter.make_data(train_set, model, shifts)
    valid_data = adapter.make_data([apart[i] for i in held], model, shifts)
    training = _train(job, model, plan, train_data, valid_data)
    adapter.set_e0(model, shifts)
    own = adapter.facts(start.module) if start.is_foundation else None
    extra = {
        "delta": {
            "base": {
                "name": start.name,
                "sha256": start.sha256,
                "r_max": own.r_max if own else None,
                "interactions": own.interactions if own else None,
            },
            "architecture": config.delta.architecture.model_dump(),
        }
    }
    return Fitted(model, e0, plan, training, held, extra)


def _split(job: Job, structures: Sequence[Atoms]) -> tuple[list[int], list[int]]:
    types = [config_type(atoms) for atoms in structures]
    kept, held = hold_out(types, job.config.validation_fraction, job.seed)
    two = job.config.stage_two
    if (job.config.stress_weight or (two and two.stress_weight)) and all(
        reference_stress(structures[i]) is None for i in kept
    ):
        raise UserError(
            "teacher.stress_weight is above zero but no training structure has a stress "
            "(key REF_stress, or data.stress_key); set it to 0, or label stresses"
        )
    return kept, held


def _plan(
    config: TeacherConfig,
    model: torch.nn.Module,
    freeze: str | Sequence[str],
    learnable: Sequence[str] | None,
) -> Freezing:
    from distill.models.mace.adapter import parameter_sizes

    plan = freezing(parameter_sizes(model), freeze, config.lr_factors, learnable=learnable)
    say(plan.summary())
    say("parameters that train: " + ", ".join(plan.trainable))
    return plan


def _train(
    job: Job,
    model: torch.nn.Module,
    plan: Freezing,
    train_data: Sequence[Any],
    valid_data: Sequence[Any],
) -> Training:
    from distill.models.mace import adapter as adapter
    from distill.teacher.training import train

    # The labels are relative to the atomic reference energies, so the model's own are zero here.
    adapter.set_e0(model, dict.fromkeys(adapter.facts(model).elements, 0.0))
    return train(
        model.to(job.device),
        plan,
        job.config,
        train_data=train_data,
        valid_data=valid_data,
        checkpoint=job.checkpoint,
        settings=job.settings,
        seed=job.seed,
        device=job.device,
    )


def _weights_seed(seed: int) -> int:
    return int(np.random.SeedSequence([seed, _NEW_WEIGHTS]).generate_state(1)[0])
