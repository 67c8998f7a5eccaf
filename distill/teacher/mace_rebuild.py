"""MACE models rebuilt through mace-torch's own classes: one head, fewer elements, new weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.errors import UserError
from distill.structures import ENERGY_KEY, FORCES_KEY
from distill.teacher.mace_adapter import (
    element_table,
    facts,
    make_batches,
    make_data,
    precision,
    predict,
    quiet,
)

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_SAME_ENERGY = 1e-3


def select_head(model: torch.nn.Module, head: str | None) -> torch.nn.Module:
    """A model with one head: the model itself, or one head of a multi-head model.

    Raises
    ------
    UserError
        If the head does not exist, or the model has several and none is named.
    """
    heads = facts(model).heads
    if head is not None and head not in heads:
        raise UserError(f"teacher.head: the model has no head '{head}'; it has {', '.join(heads)}")
    if len(heads) == 1:
        return model
    if head is None:
        raise UserError(
            f"the foundation model has several heads ({', '.join(heads)}); name the level of "
            "theory closest to the data's in teacher.head"
        )
    from mace.tools.scripts_utils import remove_pt_head

    with precision(facts(model).dtype), quiet():
        return remove_pt_head(model, head)


def restrict_elements(
    model: torch.nn.Module, elements: Sequence[str], example: Atoms
) -> torch.nn.Module:
    """A copy of a single-head model that knows only the given elements, with the same weights.

    The model is rebuilt through mace-torch's own classes, which drops the weights of all other
    elements: it is smaller and faster, and nothing is left in it that fine-tuning did not see.

    Parameters
    ----------
    model
        Single-head model.
    elements
        Chemical symbols, all known to the model.
    example
        A structure on which the copy must agree with the model.

    Raises
    ------
    UserError
        If the copy's energy differs: the model's architecture is not one that mace-torch can cut.
    """
    from mace.tools.finetuning_utils import load_foundations_elements

    arguments = _arguments(model, elements)
    with precision(facts(model).dtype), quiet():
        small = type(model)(**arguments)
        load_foundations_elements(
            small,
            model,
            element_table(elements),
            load_readout=True,
            max_L=arguments["hidden_irreps"].lmax,
        )
    before, after = (predict(m, [example], batch_size=1)[0] for m in (model, small))
    difference = abs(before.info[ENERGY_KEY] - after.info[ENERGY_KEY]) / len(example)
    if not difference < _SAME_ENERGY:
        raise UserError(
            "the foundation model cannot be cut down to the data's elements: its energy would "
            f"change by {difference:.3g} eV/atom; set teacher.keep_elements to true"
        )
    return small


def fresh_model(
    model: torch.nn.Module, structures: Sequence[Atoms], elements: Sequence[str], seed: int
) -> torch.nn.Module:
    """A model of the same architecture with new weights, for training from scratch.

    As mace-torch does, the scale of interaction energies is the root mean square of the training
    forces and messages are divided by the mean number of neighbours; the shift is zero.

    Parameters
    ----------
    model
        Single-head model whose architecture is taken.
    structures
        Training structures with forces, eV/Å.
    elements
        Chemical symbols of the new model.
    seed
        Of the weights.
    """
    import torch
    from mace.modules import compute_avg_num_neighbors

    info = facts(model)
    forces = np.concatenate([atoms.arrays[FORCES_KEY] for atoms in structures])
    data = make_data(structures, model, dict.fromkeys(info.elements, 0.0))
    arguments = _arguments(model, elements) | {
        "avg_num_neighbors": compute_avg_num_neighbors(make_batches(data, 16)),
        "atomic_inter_scale": max(float(np.sqrt(np.mean(forces**2))), 1e-3),
        "atomic_inter_shift": 0.0,
    }
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        with precision(info.dtype), quiet():
            return type(model)(**arguments)
    finally:
        torch.random.set_rng_state(generator_state)


def _arguments(model: torch.nn.Module, elements: Sequence[str]) -> dict[str, Any]:
    """Constructor arguments of a model like `model` for other elements."""
    from mace.tools.scripts_utils import extract_config_mace_model

    info = facts(model)
    arguments = extract_config_mace_model(model)
    numbers = element_table(elements).zs
    e0 = np.array([[info.e0[symbol] for symbol in elements]])
    return copy.deepcopy(arguments) | {
        "atomic_numbers": numbers,
        "num_elements": len(numbers),
        "atomic_energies": e0,
        "distance_transform": arguments["distance_transform"] or "None",
    }
