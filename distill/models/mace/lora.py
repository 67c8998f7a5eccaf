"""Low-rank adaptation of a MACE model, by mace-torch's own layers.

Beside the weights of every linear layer stands a product of two thin matrices (Hu et al.,
arXiv:2106.09685; equivariant layers keep their symmetry, `mace/modules/lora.py`). Only these learn;
afterwards they are added to the weights, and the model is an ordinary MACE again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.models.mace.adapter import facts
from distill.models.mace.torch_tools import precision, quiet

if TYPE_CHECKING:
    import torch

_MARKS = (".lora_A", ".lora_B")


def add_low_rank(model: torch.nn.Module, *, rank: int, alpha: float, seed: int) -> list[str]:
    """Put low-rank matrices beside a model's linear layers, in place.

    Parameters
    ----------
    model
        A MACE; its predictions stay the same, since one of the two matrices starts at zero.
    rank
        Inner size of the product.
    alpha
        The product is scaled by alpha / rank.
    seed
        Of the other matrix.

    Returns
    -------
    list of str
        Names of the new parameters.

    Raises
    ------
    UserError
        If the model has no layer that can be adapted.
    """
    import torch
    from mace.modules.lora import inject_lora

    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        with precision(facts(model).dtype), quiet():
            inject_lora(model, rank=rank, alpha=alpha)
    finally:
        torch.random.set_rng_state(state)
    names = [n for n, _ in model.named_parameters() if any(mark in n for mark in _MARKS)]
    if not names:
        raise UserError(
            "teacher.lora: the model has no linear layer that can be adapted; leave lora out"
        )
    return names


def merge_low_rank(model: torch.nn.Module) -> None:
    """Add the low-rank products to the weights and take the extra layers out, in place."""
    from mace.modules.lora import merge_lora_weights

    merge_lora_weights(model)
